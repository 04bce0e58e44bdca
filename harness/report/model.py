"""What a report holds, as values and as JSON: subjects, what came of each scenario, and excerpts of histories."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from harness.runner import records
from harness.verdict import Outcome

FORMAT: Final = "plumbline-report-1"
"""The value of `format` in a report's JSON; another one says that the shape is another."""

Lane = Literal["scenario", "api", "kafka", "executor", "agents", "processes"]
_ROLES: Final = ("api", "consumer", "bridge")


class ReportError(ValueError):
    """A file that is neither a report nor lines of outcomes; says where and why."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event as a report tells it: `at` in seconds since the history began, `text` in a few words, `detail` the event's
    JSON (perhaps cut); `is_relevant` marks those that are shown without being asked for."""

    seq: int
    at: float
    lane: Lane
    text: str
    detail: str
    is_relevant: bool


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Events of one history, in its order. `total` is how many the history has; `note` says what is not here, and
    why; `runs` gives the scenario's name of each run_id that has one."""

    events: tuple[Told, ...]
    total: int
    note: str | None = None
    runs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """What came of one scenario, the command that carries it out again, and what its history shows."""

    outcome: Outcome
    again: str
    excerpt: Excerpt | None = None


@dataclass(frozen=True, slots=True)
class SubjectReport:
    """One subject and its outcomes. `made` is when, ISO 8601 in UTC; `roles` are those that the subject plays."""

    name: str
    made: str
    entries: tuple[Entry, ...]
    description: str = ""
    file: str | None = None
    roles: tuple[str, ...] = _ROLES

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes alone."""
        return [entry.outcome for entry in self.entries]


@dataclass(frozen=True, slots=True)
class Report:
    """One or more subjects, each with a name of its own."""

    subjects: tuple[SubjectReport, ...]
    contract: str = field(default="1")


def join(reports: Iterable[Report]) -> Report:
    """All subjects in one report. Of subjects with the same name, the second is called `name (2)`, and so on.

    Raises:
        ReportError: there is none, or they speak of different versions of the contract.
    """
    reports = list(reports)
    versions = sorted({report.contract for report in reports})
    if len(versions) != 1:
        found = f"of versions {', '.join(versions)}" if versions else "none"
        raise ReportError(f"expected reports of one version of the contract, found {found}")
    subjects: list[SubjectReport] = []
    taken: set[str] = set()
    for subject in (subject for report in reports for subject in report.subjects):
        name, number = subject.name, 1
        while name in taken:
            number += 1
            name = f"{subject.name} ({number})"
        taken.add(name)
        subjects.append(replace(subject, name=name))
    return Report(tuple(subjects), versions[0])


def to_json(report: Report) -> dict[str, Any]:
    """A report as a JSON object that `from_json` reads."""
    return {
        "format": FORMAT,
        "contract": report.contract,
        "subjects": [
            {
                "name": subject.name,
                "description": subject.description,
                "file": subject.file,
                "roles": list(subject.roles),
                "made": subject.made,
                "scenarios": [_entry_to_json(entry) for entry in subject.entries],
            }
            for subject in report.subjects
        ],
    }


def from_json(data: Mapping[str, Any]) -> Report:
    """The report that `to_json` made this of. Raises :class:`ReportError`."""
    if data.get("format") != FORMAT:
        raise ReportError(f"expected a report with format {FORMAT!r}, found {data.get('format')!r}")
    try:
        subjects = tuple(_subject_from_json(one) for one in data["subjects"])
        return Report(subjects, data["contract"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ReportError(f"a report of format {FORMAT} that lacks or mistakes a field: {error!r}") from error


def read(path: Path, made: str) -> Report:
    """A report's JSON, or lines of outcomes, of a file; `made` dates outcomes, which do not say when they came about.

    Raises:
        ReportError: the file is neither.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ReportError(f"{path}: expected a report or outcomes in UTF-8: {error}") from None
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    try:
        if isinstance(data, Mapping) and "format" in data:
            return from_json(data)
        # Only a newline ends a line: texts may hold what else counts as one.
        outcomes = [records.from_json(json.loads(line)) for line in text.split("\n") if line.strip()]
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReportError(
            f"{path}: expected a report.json or an outcomes.jsonl that `plumbline check` wrote: {error!r}"
        ) from None
    if not outcomes:
        raise ReportError(f"{path}: expected at least one outcome, found none")
    return Report(tuple(_by_subject(outcomes, made)))


def _by_subject(outcomes: Sequence[Outcome], made: str) -> list[SubjectReport]:
    names = dict.fromkeys(outcome.subject for outcome in outcomes)
    return [
        SubjectReport(name, made, tuple(Entry(one, "") for one in outcomes if one.subject == name)) for name in names
    ]


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    excerpt = asdict(entry.excerpt) if entry.excerpt is not None else None
    return {**records.to_json(entry.outcome), "again": entry.again, "excerpt": excerpt}


def _subject_from_json(data: Mapping[str, Any]) -> SubjectReport:
    return SubjectReport(
        name=data["name"],
        made=data["made"],
        entries=tuple(_entry_from_json(one) for one in data["scenarios"]),
        description=data["description"],
        file=data["file"],
        roles=tuple(data["roles"]),
    )


def _entry_from_json(data: Mapping[str, Any]) -> Entry:
    outcome = records.from_json({name: value for name, value in data.items() if name not in ("again", "excerpt")})
    excerpt = data["excerpt"]
    if excerpt is None:
        return Entry(outcome, data["again"])
    events = tuple(Told(**one) for one in excerpt["events"])
    return Entry(outcome, data["again"], Excerpt(events, excerpt["total"], excerpt["note"], excerpt["runs"]))
