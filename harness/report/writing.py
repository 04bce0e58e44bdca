"""Writes a report's files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import contract
from harness.report.excerpt import Excerpts
from harness.report.junit import junit
from harness.report.markdown import markdown
from harness.report.model import Entry, Report, SubjectReport, read, to_json
from harness.report.page import badge, html
from harness.runner import standing
from harness.subject import Subject
from harness.verdict import Outcome

FILES: Final = ("report.html", "report.json", "junit.xml", "summary.md", "badge.svg")


def write(
    outcomes: Sequence[Outcome],
    subject: Subject | str,
    directory: Path,
    *,
    again: Callable[[Outcome], str] | None = None,
    made: str | None = None,
) -> None:
    """Write `report.html`, `report.json`, `junit.xml`, `summary.md` and `badge.svg` about one subject.

    Args:
        outcomes: what came of each scenario; histories are read where they were kept.
        subject: the subject, or its name.
        directory: where to; it is made when it is missing.
        again: the command that carries a scenario out again, where not `plumbline check`.
        made: when, ISO 8601; now by default.

    Raises:
        OSError: a file cannot be written.
    """
    excerpts = Excerpts()
    known = subject if isinstance(subject, Subject) else None
    name = known.name if known is not None else str(subject)
    file = known.description.path if known is not None else None
    command = again or (lambda outcome: command_for(outcome, file))
    # What is red has the first claim on the room.
    in_order = sorted(range(len(outcomes)), key=lambda index: standing.is_green([outcomes[index]]))
    taken = {index: excerpts.of(outcomes[index]) for index in in_order}
    about = SubjectReport(
        name=name,
        made=made or now(),
        entries=tuple(Entry(outcome, command(outcome), taken[index]) for index, outcome in enumerate(outcomes)),
        description=known.description.description if known is not None else "",
        file=shown(file) if file is not None else None,
        **({"roles": tuple(known.roles)} if known is not None else {}),
    )
    write_report(Report((about,), contract.VERSION), directory)


def write_report(report: Report, directory: Path) -> None:
    """Write the files of a report; raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.html": html(report),
        "report.json": json.dumps(to_json(report)) + "\n",
        "junit.xml": junit(report),
        "summary.md": markdown(report),
        "badge.svg": badge(report),
    }
    for name in FILES:
        # Histories can hold halves of surrogate pairs, which no file in UTF-8 can.
        directory.joinpath(name).write_text(texts[name], encoding="utf-8", errors="backslashreplace")


def load(path: Path) -> Report:
    """The report of a `report.json`, or of a folder that has one, or of the lines of an `outcomes.jsonl`, whose histories
    are read where they still are.

    Raises:
        ReportError: it is neither.
        OSError: it cannot be read.
    """
    if path.is_dir():
        inside = path / "report.json"
        path = inside if inside.exists() else path / "outcomes.jsonl"
    made = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    report = read(path, made)
    excerpts = Excerpts()
    return Report(tuple(_completed(subject, excerpts) for subject in report.subjects), report.contract)


def command_for(outcome: Outcome, subject_file: Path | None) -> str:
    """The command line that carries one scenario out again."""
    words = ["plumbline", "check", shown(subject_file) if subject_file is not None else "SUBJECT.yaml"]
    if outcome.scenario_file is not None:
        words += ["--scenarios", shown(outcome.scenario_file)]
    if not set(" ()") & set(outcome.scenario):
        # One word of an expression; an id that is more is one of the few of its file.
        words += ["-k", outcome.scenario]
    return shlex.join([*words, "--seed", str(outcome.seed)])


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def shown(path: Path) -> str:
    """A path as people write it where they stand."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _completed(subject: SubjectReport, excerpts: Excerpts) -> SubjectReport:
    entries = tuple(
        entry if entry.again else Entry(entry.outcome, command_for(entry.outcome, None), excerpts.of(entry.outcome))
        for entry in subject.entries
    )
    return SubjectReport(subject.name, subject.made, entries, subject.description, subject.file, subject.roles)
