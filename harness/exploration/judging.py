"""What came of a generated run, judged by the oracle and by every checker. Pure; runs in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import contract
from harness.checkers import check_all
from harness.generation import Case
from harness.generation.over_rest import clause_of_misuse
from harness.history import Event, History
from harness.oracle import Difference, Observed, Row, Task, Undecided, differences
from harness.oracle.acts import ENDS
from harness.verdict import Finding

CHECKER = "oracle"
LEFT_BEHIND = "it was refused, and yet there is a row of it in workflow_definitions"
_REFUSALS = (400, 422)
_DEMANDED = frozenset(clause.id for clause in contract.clauses() if clause.level == "MUST")
WISHED = frozenset(clause.id for clause in contract.clauses() if clause.level == "SHOULD")
"""Clauses that nobody is held to who does not ask for it."""


@dataclass(frozen=True)
class Judged:
    """`findings` are about what is demanded (MUST, and what else counts); `undecided` says why the oracle said nothing;
    `crashes` of checkers."""

    findings: tuple[Finding, ...]
    differences: tuple[Difference, ...]
    undecided: str | None
    crashes: tuple[str, ...]
    clauses: frozenset[str] = frozenset()


def judge(
    key: str,
    status: str | None,
    events: Sequence[Event],
    refusal: str | None = None,
    *,
    is_disturbed: bool = False,
    also: frozenset[str] = frozenset(),
) -> Judged:
    """Judge a run by its case (`Case.key`), its last status (None: it did not end in time), and its history. `refusal` is
    what of its timeline could not be done because of the subject. `is_disturbed`: processes of the subject were ended or
    added meanwhile, so that calls may have been repeated, and time-outs be over before a process was back. `also` are clauses
    that count though they are a SHOULD."""
    history = History(tuple(events))
    case = Case.of_key(key)
    found: list[Difference] = []
    undecided: str | None = None
    demanded = _DEMANDED | also
    if case.flaw is not None:
        return _of_a_flaw(case, history, status, refusal, demanded)
    told: list[Finding] = []
    try:
        found = differences(case.allowed(is_disturbed=is_disturbed), observed(history, status))
        told += [_finding(one, history) for one in found]
        for name, run_id in _others(case, history):
            of_other = case.allowed(is_disturbed=is_disturbed, run=name)
            seen = observed(history, _end_of(history, run_id), run_id)
            told += [_finding(one, history, run_id) for one in differences(of_other, seen)]
    except Undecided as error:
        undecided = str(error)
    findings, crashes = check_all(history)
    # Where it is not known how the run may end, an act may have been in vain for a good reason.
    if refusal is not None and undecided is None:
        told.append(Finding("timeline", _clause_of_refusal(case, found), "act not possible", refusal))
    told += [one for one in findings if one.clause in demanded]
    return Judged(tuple(told), tuple(found), undecided, tuple(crash.traceback for crash in crashes))


def _clause_of_refusal(case: Case, found: Sequence[Difference]) -> str:
    misused = [clause for act in case.timeline if (clause := clause_of_misuse(act)) is not None]
    return next(iter((*misused, *(one.clause for one in found))), "CMP-01")


def _others(case: Case, history: History) -> Iterator[tuple[str, str]]:
    """(name, run_id) of the runs beside the first one that were made."""
    ids = {event["alias"]: event.run for event in history.of("run") if event.run is not None}
    for name in case.others:
        if name in ids:
            yield name, ids[name]


def _end_of(history: History, run_id: str) -> str | None:
    status = (history.last_run_row(run_id) or {}).get("status")
    return status if status in ENDS else None


def _of_a_flaw(
    case: Case, history: History, status: str | None, refusal: str | None, demanded: frozenset[str]
) -> Judged:
    """What is wrong with how an invalid definition was dealt with: refused over REST with the place named (DEF-16), and else
    the run's failure (FAI-06)."""
    flaw: Mapping[str, str] = case.flaw or {}
    found: list[Difference] = []
    if case.is_refused:
        answers = [event["status"] for event in history.of("answer") if event.source == "rest"]
        clause = "DEF-16" if answers and answers[-1] in _REFUSALS and refusal != LEFT_BEHIND else flaw["clause"]
        if refusal is not None:
            found.append(Difference(clause, None, "refusal", f"{flaw['way']} at {flaw['place']!r}: {refusal}"))
    else:
        found += _of_an_invalid_plan(flaw, observed(history, status))
    findings, crashes = check_all(history)
    told = [_finding(one, history) for one in found] + [one for one in findings if one.clause in demanded]
    return Judged(tuple(told), tuple(found), None, tuple(crash.traceback for crash in crashes))


def _of_an_invalid_plan(flaw: Mapping[str, str], seen: Observed) -> Iterator[Difference]:
    of = f"of a plan with {flaw['way']} at {flaw['place']!r} ({flaw['clause']})"
    if seen.status != "FAILED":
        yield Difference("FAI-06", None, "status", f"the run {of} is {seen.status or 'not ended'}, expected FAILED")
    elif not seen.error:
        yield Difference("FAI-06", None, "error", f"the run {of} is FAILED without a reason")
    if seen.tasks:
        yield Difference("FAI-06", None, "tasks", f"the run {of} asked {len(seen.tasks)} tasks, expected none")


def observed(history: History, status: str | None, run_id: str | None = None) -> Observed:
    """A run of a history as the oracle looks at it: the first one, where nothing is said."""
    run_id = run_id or next(iter(history.runs), None)
    if run_id is None:
        return Observed(status, None)
    row = history.last_run_row(run_id) or {}
    rows = [
        Row(
            str(one["step_id"]),
            str(one["status"]),
            one.get("input_data"),
            one.get("output_data"),
            one.get("error_message"),
        )
        for one in history.last_step_rows(run_id)
    ]
    return Observed(status, row.get("error_message"), rows, list(_tasks(history, run_id)))


def _tasks(history: History, run_id: str) -> Iterator[Task]:
    begin = history.begin
    names: Mapping[str, str] = {} if begin is None else {world: name for name, world in begin["agents"].items()}
    for event in history.messages("tasks", run_id, by="subject"):
        value: Any = event["value"]
        if isinstance(value, Mapping):
            agent = str(value.get("agent_name"))
            yield Task(str(value.get("task_id")), names.get(agent, agent), value.get("input_data"))


def _finding(one: Difference, history: History, run_id: str | None = None) -> Finding:
    run_id = run_id or next(iter(history.runs), None)
    last = max((event.seq for event in history if event.kind in ("run_row", "step_row", "snapshot")), default=0)
    return Finding(CHECKER, one.clause, f"not allowed: {one.what}", one.explanation, (last,), run_id)
