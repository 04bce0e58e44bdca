"""A grid as a page: rows and columns of trials, each cell a verdict that leads to its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from markupsafe import Markup

import contract
from harness.report import page, timeline, view
from harness.report.excerpt import Excerpts
from harness.report.model import Entry, Report, SubjectReport
from harness.verdict import Outcome

_MOST_RED: Final = 60
"""Of so many trials that did not pass, the histories are on the page itself; those of the rest are files beside it."""


@dataclass(frozen=True, slots=True)
class GridTrial:
    """A trial in a cell: `label` tells it from the others of its cell, `note` is added to its verdict, `again` is the command
    that repeats it."""

    label: str
    outcome: Outcome
    again: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class GridRow:
    """One row, of a group of rows that stand together: column → its trials; no entry where there is nothing to try."""

    group: str
    name: str
    cells: Mapping[str, Sequence[GridTrial]]


@dataclass(frozen=True, slots=True)
class GridTable:
    """A table of one grid; `columns` gives each its meaning in a sentence."""

    title: str
    columns: Mapping[str, str]
    rows: Sequence[GridRow]
    notes: Sequence[str] = field(default=())

    @property
    def trials(self) -> list[GridTrial]:
        """All of them, row by row."""
        return [trial for row in self.rows for trials in row.cells.values() for trial in trials]


def html(title: str, subject: SubjectReport, tables: Sequence[GridTable], directory: Path) -> str:
    """The page; histories are linked relative to `directory`, where it is going to stand."""
    trials = [trial for table in tables for trial in table.trials]
    excerpts = Excerpts()
    red = [trial for trial in trials if trial.outcome.verdict not in ("passed", "not supported")]
    red.sort(key=lambda trial: view.RANKS[trial.outcome.verdict])
    entries = [Entry(one.outcome, one.again, excerpts.of(one.outcome)) for one in red[:_MOST_RED]]
    report = Report((SubjectReport(subject.name, subject.made, tuple(entries)),), contract.VERSION)
    scenarios = view.scenario_views(report)
    shown = {one.outcome.scenario: f"#s{one.number}" for one in scenarios}
    named = {clause for entry in entries for clause in entry.outcome.clauses}
    named |= {finding.clause for entry in entries for finding in entry.outcome.findings}
    style, script = page.part("report.css"), page.part("report.js")
    return (
        page.templates()
        .get_template("grid.html.j2")
        .render(
            title=title,
            subject=subject,
            tables=tables,
            counts=_counts(trials),
            link=lambda trial: shown.get(trial.outcome.scenario) or _path(trial.outcome.history, directory),
            scenarios=scenarios,
            left_out=len(red) - len(entries),
            clauses=[clause for clause in contract.clauses() if clause.id in named],
            readable=view.readable,
            timeline=timeline,
            style=Markup(style),
            script=Markup(script),
            style_hash=page.hash_of(style),
            script_hash=page.hash_of(script),
        )
    )


def _counts(trials: Sequence[GridTrial]) -> dict[str, int]:
    counts = {"passed": 0, "failed": 0, "unknown": 0}
    for trial in trials:
        counts[trial.outcome.verdict] = counts.get(trial.outcome.verdict, 0) + 1
    return counts


def _path(history: Path | None, directory: Path) -> str:
    if history is None:
        return ""
    try:
        return history.resolve().relative_to(directory.resolve()).as_posix()
    except ValueError:
        return history.resolve().as_uri()
