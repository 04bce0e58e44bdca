"""A report as its HTML and Markdown show it: standings of clauses by subject, and scenarios with what failed first."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import contract
from harness.report import timeline
from harness.report.model import Entry, Report, SubjectReport, Told
from harness.runner import standing
from harness.verdict import Finding, Outcome, Verdict

_OF_EXPECTATION: Final = re.compile(r"(?P<place>\S+:\d+:\d+): (?P<expected>.*?); found: (?P<found>.*)", re.DOTALL)

RANKS: Final[Mapping[Verdict, int]] = {"failed": 0, "unknown": 1, "passed": 2, "not supported": 3}


@dataclass(frozen=True, slots=True)
class SubjectView:
    """A subject's numbers. `level` is the one reached, 0 for none; `untested` how many MUST clauses no scenario bound."""

    subject: SubjectReport
    counts: Mapping[str, int]
    standings: Mapping[str, standing.ClauseStanding]
    level: int
    untested: int
    is_green: bool

    @property
    def level_name(self) -> str:
        """Such as "2 crash-safe", or "none"."""
        return f"{self.level} {contract.CONFORMANCE_LEVELS[self.level]}" if self.level else "none"

    @property
    def lacking(self) -> dict[str, list[str]]:
        """What keeps the subject from the next level: standing → ids of clauses."""
        found: dict[str, list[str]] = {}
        for one in self.standings.values():
            is_demanded = one.clause.level == "MUST" and one.clause.conformance_level == self.level + 1
            if is_demanded and one.standing not in ("passed", "not bound"):
                found.setdefault(one.standing, []).append(one.clause.id)
        return found


@dataclass(frozen=True, slots=True)
class ClauseView:
    """A clause and how each subject stands, in the order of the subjects."""

    clause: contract.Clause
    standings: tuple[standing.ClauseStanding, ...]

    @property
    def worst(self) -> str:
        """The standing that is shown for the clause where there is room for one."""
        order = ("failed", "unknown", "passed", "not supported", "untested", "not bound")
        return min((one.standing for one in self.standings), key=order.index)


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding with the scenario's names in the place of run_ids. Of an expectation, `place` says where it stands in the
    scenario's file, and `expected` and `found` are told apart; of others, `found` is the whole explanation."""

    finding: Finding
    found: str
    place: str = ""
    expected: str = ""

    @property
    def line(self) -> str:
        """In one line."""
        return f"{self.finding.anomaly}: {' '.join(self.found.split())}"


@dataclass(frozen=True, slots=True)
class ScenarioView:
    """One scenario of one subject; `number` tells it from all others of the page."""

    number: int
    subject: str
    entry: Entry
    is_red: bool
    clauses: tuple[tuple[str, str], ...]
    drawing: timeline.Drawing | None
    whole: timeline.Drawing | None
    ticks: Sequence[timeline.Tick]
    seconds: float
    witnesses: frozenset[int]
    findings_of: Mapping[int, tuple[int, ...]]
    findings: tuple[FindingView, ...]

    @property
    def outcome(self) -> Outcome:
        """What came of it."""
        return self.entry.outcome

    @property
    def reason(self) -> str:
        """Why it is not passed, or passed against what is known; empty for what is simply passed."""
        if self.outcome.verdict == "passed" and self.outcome.known_failure is not None:
            return f"It passed, though the subject's file lists it as a known failure: {self.outcome.known_failure}."
        return self.outcome.reason or ""

    @property
    def relevant(self) -> list[Told]:
        """The events that are shown without being asked for."""
        return [event for event in self.entry.excerpt.events if event.is_relevant] if self.entry.excerpt else []

    def packed(self) -> list[list[Any]]:
        """All events for the page's script: seq, at, lane, text, detail."""
        events = self.entry.excerpt.events if self.entry.excerpt else ()
        return [[one.seq, one.at, one.lane, one.text, one.detail] for one in events]


def subject_view(subject: SubjectReport) -> SubjectView:
    """The numbers of a subject."""
    found = standing.standings(subject.outcomes, subject.roles)
    return SubjectView(
        subject,
        standing.counts(subject.outcomes),
        {one.clause.id: one for one in found},
        standing.level_reached(found),
        sum(one.clause.level == "MUST" and one.standing == "untested" for one in found),
        standing.is_green(subject.outcomes),
    )


def clause_views(subjects: Sequence[SubjectView]) -> list[ClauseView]:
    """Every clause of the contract, in its order."""
    return [ClauseView(one, tuple(each.standings[one.id] for each in subjects)) for one in contract.clauses()]


def scenario_views(report: Report) -> list[ScenarioView]:
    """Every scenario of every subject: failed ones first, then unknown, passed and not supported ones, each by id."""
    pairs = [(subject.name, entry) for subject in report.subjects for entry in subject.entries]
    pairs.sort(
        key=lambda pair: (not _is_red(pair[1]), RANKS[pair[1].outcome.verdict], pair[1].outcome.scenario, pair[0])
    )
    return [_scenario_view(number, name, entry) for number, (name, entry) in enumerate(pairs)]


def readable(detail: str) -> str:
    """An event's JSON with line breaks, when it is whole."""
    try:
        return json.dumps(json.loads(detail), indent=2, ensure_ascii=False)
    except ValueError:
        return detail


def _is_red(entry: Entry) -> bool:
    return not standing.is_green([entry.outcome])


def _scenario_view(number: int, subject: str, entry: Entry) -> ScenarioView:
    titles = {clause.id: clause.title for clause in contract.clauses()}
    outcome, excerpt = entry.outcome, entry.excerpt
    findings_of: dict[int, tuple[int, ...]] = {}
    for index, finding in enumerate(outcome.findings, 1):
        for seq in finding.events:
            findings_of[seq] = (*findings_of.get(seq, ()), index)
    findings = tuple(_finding_view(one, excerpt.runs if excerpt is not None else {}) for one in outcome.findings)
    drawing = whole = None
    ticks: list[timeline.Tick] = []
    seconds = 0.0
    if excerpt is not None and excerpt.events:
        relevant = [event for event in excerpt.events if event.is_relevant]
        words = [one.line for one in findings]
        drawing = timeline.draw(relevant, outcome.findings, words)
        whole = timeline.draw(excerpt.events, outcome.findings, words) if len(relevant) < len(excerpt.events) else None
        ticks, seconds = timeline.strip(excerpt, frozenset(findings_of))
    return ScenarioView(
        number=number,
        subject=subject,
        entry=entry,
        is_red=_is_red(entry),
        clauses=tuple((clause, titles.get(clause, "")) for clause in outcome.clauses),
        drawing=drawing,
        whole=whole,
        ticks=ticks,
        seconds=seconds,
        witnesses=frozenset(findings_of),
        findings_of=findings_of,
        findings=findings,
    )


def _finding_view(finding: Finding, runs: Mapping[str, str]) -> FindingView:
    explanation = finding.explanation
    if runs:
        explanation = re.sub("|".join(map(re.escape, runs)), lambda found: runs[found.group()], explanation)
    of_expectation = _OF_EXPECTATION.fullmatch(explanation)
    if of_expectation is None:
        return FindingView(finding, explanation)
    return FindingView(finding, **of_expectation.groupdict())
