"""A report as a summary in Markdown, such as a pull request shows it."""

from __future__ import annotations

import re
from typing import Final

import contract
from harness.report import view
from harness.report.model import Report

_MOST_LINES: Final = 50
_MOST_CHARACTERS: Final = 300
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+!|<>~&@])")


def markdown(report: Report) -> str:
    """Verdicts, the level reached, the clauses broken and the scenarios that are red, for each subject."""
    lines = ["# Conformance"]
    for subject in map(view.subject_view, report.subjects):
        lines += ["", *_subject(subject)]
    red = [one for one in view.scenario_views(report) if one.is_red]
    if red:
        lines += [
            "",
            "## What is red",
            "",
            "| scenario | subject | verdict | clauses | why |",
            "| --- | --- | --- | --- | --- |",
        ]
        for one in red[:_MOST_LINES]:
            first = one.findings[0].line if one.findings else one.reason
            cells = (one.outcome.scenario, one.subject, one.outcome.verdict, ", ".join(one.outcome.clauses), first)
            lines.append(f"| {' | '.join(_plain(cell) for cell in cells)} |")
        if len(red) > _MOST_LINES:
            lines += ["", f"… and {len(red) - _MOST_LINES} more."]
    return "\n".join(lines) + "\n"


def _subject(subject: view.SubjectView) -> list[str]:
    lines = [f"## {_plain(subject.subject.name)}", ""]
    lines.append(", ".join(f"{count} {verdict}" for verdict, count in subject.counts.items() if count) + ".")
    lines += ["", f"Level reached: **{subject.level_name}** (of {max(contract.CONFORMANCE_LEVELS)})."]
    if subject.untested:
        lines[-1] += f" {subject.untested} MUST clauses were not tested, so that a higher level may be within reach."
    broken = [one for one in subject.standings.values() if one.standing == "failed"]
    if broken:
        lines += ["", "| clause broken | | level |", "| --- | --- | --- |"]
        lines += [
            f"| {one.clause.id} | {_plain(one.clause.title)} | {one.clause.level}, {one.clause.conformance_level} |"
            for one in broken
        ]
    return lines


def _plain(text: str) -> str:
    """A text on one line that Markdown takes for nothing but text."""
    line = " ".join(text.split())
    line = line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…"
    return _SPECIAL.sub(r"\\\1", line)
