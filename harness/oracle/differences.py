"""What was observed of a run, held against all that is allowed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.oracle.allowed import Allowed
from harness.oracle.rounds import Execution, Path, shown_path
from harness.oracle.values import canonical
from harness.oracle.wildcards import fits, is_fixed, shown

_MOST_SHOWN = 300
_CLAUSE_OF_OUTPUT = {
    "agent": "CMP-07",
    "parallel": "PAR-01",
    "conditional": "CON-02",
    "loop": "LOP-06",
    "fork_join": "FJN-03",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of step_executions at the end."""

    step: str
    status: str
    input: Any = None
    output: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task, whatever number of copies there were: its id, the agent's name in the scenario, and its input."""

    task_id: str
    agent: str
    input: Any


@dataclass(frozen=True)
class Observed:
    """A run at its end. `status` None: it has not ended in time."""

    status: str | None
    error: str | None
    rows: Sequence[Row] = field(default_factory=tuple)
    tasks: Sequence[Task] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that none of the allowed outcomes has. `step` None is about the run; `what` is one of status, error, row,
    input, output, tasks."""

    clause: str
    step: str | None
    what: str
    explanation: str


def differences(allowed: Allowed, observed: Observed) -> list[Difference]:
    """All that cannot be; empty when the run is one of those that are allowed."""
    found = [*_of_status(allowed, observed)]
    if not found or observed.status is not None:
        found += _of_rows(allowed, observed)
        found += _of_tasks(allowed, observed)
    return found


def _of_status(allowed: Allowed, observed: Observed) -> Iterator[Difference]:
    expected = " or ".join(sorted(allowed.statuses))
    if observed.status is None:
        yield Difference("CMP-01", None, "status", f"the run has not ended, expected {expected}")
        return
    if observed.status not in allowed.statuses:
        clause = {"COMPLETED": "CMP-02", "FAILED": "FAI-01", "CANCELLED": "CAN-01"}[min(allowed.statuses)]
        told = f" with {observed.error!r:.200}" if observed.error else ""
        yield Difference(clause, None, "status", f"the run ended {observed.status}{told}, expected {expected}")
        return
    if observed.status == "COMPLETED" and observed.error is not None:
        yield Difference(
            "FAI-05",
            None,
            "error",
            f"the run is COMPLETED with the error_message {observed.error!r:.200}, expected null",
        )
    if observed.status == "FAILED":
        yield from _of_error(allowed, observed.error)


def _of_error(allowed: Allowed, error: str | None) -> Iterator[Difference]:
    if not error:
        yield Difference("FAI-02", None, "error", "the run is FAILED without an error_message")
        return
    causes = allowed.final.causes
    told = [(step, said) for step, said in causes if said in error]
    if causes and not told:
        wanted = " or ".join(repr(said) for _, said in causes)
        yield Difference("FAI-02", None, "error", f"the run's error_message {error!r:.300} does not hold {wanted}")
    if causes and not any(step in error for step, _ in told or causes):
        wanted = " or ".join(repr(step) for step, _ in told or causes)
        yield Difference("FAI-03", None, "error", f"the run's error_message {error!r:.300} does not name {wanted}")


def _of_rows(allowed: Allowed, observed: Observed) -> Iterator[Difference]:
    of_step: dict[str, list[Row]] = {}
    for row in observed.rows:
        of_step.setdefault(row.step, []).append(row)
    executions: dict[str, list[Execution]] = {}
    for one in allowed.final.executions.values():
        executions.setdefault(one.step, []).append(one)
    for step in dict.fromkeys((*executions, *of_step)):
        yield from _of_step(allowed, step, executions.get(step, []), of_step.get(step, []), observed.status)


def _of_step(
    allowed: Allowed, step: str, expected: list[Execution], rows: list[Row], ended: str | None
) -> Iterator[Difference]:
    is_cut = allowed.is_cut and ended == "CANCELLED"
    past = [one for round_ in allowed.earlier for one in round_.executions.values() if one.step == step]
    unmatched, leftover = _matched(expected, rows, is_cut)
    # Rows of before a retry may stand beside the newer ones (TBL-07).
    leftover = [
        row
        for row in leftover
        if not any(_explains(one, row, is_cut=allowed.was_cut) for one in past)
        and not (allowed.was_cut and any(_explains(one, row, is_cut=True) for one in expected))
    ]
    kind = allowed.plan.kind(step) if step in allowed.plan.steps else "agent"
    is_demanded = kind == "agent"
    for one in unmatched:
        near = next((row for row in leftover if row.status in one.statuses), None) or next(iter(leftover), None)
        if near is not None:
            leftover.remove(near)
            yield _between(one, near, kind)
        elif not is_cut and not one.may_be_absent and is_demanded:
            yield Difference(
                "TBL-04", step, "row", f"step {shown_path(one.path)} has no row, expected one that is {_told(one)}"
            )
    for row in leftover:
        yield Difference(
            "CMP-08" if expected else "CMP-03",
            step,
            "row",
            f"step {step} has a row {row.status} that nothing explains, with the input {_short(row.input)}; "
            f"expected {len(expected) or 'no'} execution{'' if len(expected) == 1 else 's'} of it",
        )


def _matched(expected: list[Execution], rows: list[Row], is_cut: bool) -> tuple[list[Execution], list[Row]]:
    """Executions without a row and rows without an execution, when as many as can be are paired: sure executions first."""
    order = sorted(range(len(expected)), key=lambda index: expected[index].may_be_absent)
    row_of: dict[int, int] = {}

    def place(index: int, tried: set[int]) -> bool:
        for number, row in enumerate(rows):
            if number in tried or not _explains(expected[index], row, is_cut=is_cut):
                continue
            tried.add(number)
            holder = next((other for other, taken in row_of.items() if taken == number), None)
            if holder is None or place(holder, tried):
                row_of[index] = number
                return True
        return False

    unmatched = [expected[index] for index in order if not place(index, set())]
    taken = set(row_of.values())
    return unmatched, [row for number, row in enumerate(rows) if number not in taken]


def _explains(one: Execution, row: Row, *, is_cut: bool) -> bool:
    if is_cut and row.status in ("CANCELLED", "RUNNING", "PENDING", "SKIPPED"):
        return row.input is None or fits(one.input, row.input)
    if is_cut and row.status == "FAILED" and "COMPLETED" in one.statuses and not one.is_asked:
        # A composite that a cancellation left open has no status of its own in the contract.
        return True
    return row.status in one.statuses and not _wrong(one, row)


def _wrong(one: Execution, row: Row) -> str | None:
    """What of a row in an expected status is not as expected: input, output or error."""
    is_unbegun = one.may_be_absent and not one.is_asked and one.input is None
    if not is_unbegun and not fits(one.input, row.input):
        return "input"
    if row.status == "COMPLETED" and not fits(one.output, row.output):
        return "output"
    if row.status == "FAILED" and (not row.error or one.said not in row.error):
        return "error"
    return None


def _between(one: Execution, row: Row, kind: str) -> Difference:
    name = f"step {shown_path(one.path)}"
    if row.status not in one.statuses:
        told = f" ({row.error!r:.200})" if row.error else ""
        clause = "FAI-01" if "FAILED" in one.statuses else "CMP-03"
        return Difference(clause, one.step, "status", f"{name} is {row.status}{told}, expected {_told(one)}")
    match _wrong(one, row):
        case "output":
            text = f"{name} has the output {_short(row.output)}, expected {_short(shown(one.output))}"
            return Difference(_CLAUSE_OF_OUTPUT[kind], one.step, "output", text)
        case "error":
            text = f"{name} has the error_message {row.error!r:.200}, expected one that holds {one.said!r}"
            return Difference("FAI-02", one.step, "error", text)
        case _:
            text = f"{name} has the input {_short(row.input)}, expected {_short(shown(one.input))}"
            return Difference("CMP-04", one.step, "input", text)


def tasks_asked(allowed: Allowed, step: str | None = None) -> list[tuple[Execution, bool]]:
    """(execution, whether it is sure) of each task that may be published, with an id of its own: for one step, or all of them."""
    found: list[tuple[Execution, bool]] = []
    known: dict[Path, Execution] = {}
    for index, round_ in enumerate(allowed.rounds):
        is_last = index == len(allowed.rounds) - 1
        is_open = (allowed.is_cut and is_last) or (allowed.was_cut and not is_last)
        for one in round_.executions.values():
            if not one.is_asked or one.is_kept or step not in (None, one.step):
                continue
            # A round after a cut one takes up what that one has done, which is not known.
            sure = not one.may_be_absent and not is_open and not (allowed.was_cut and is_last)
            before = known.setdefault(one.path, one)
            if before is one or not allowed.keeps_ids or not _is_one_attempt(before, one):
                found.append((one, sure))
    return found


def _of_tasks(allowed: Allowed, observed: Observed) -> Iterator[Difference]:
    asked: dict[str, list[tuple[Execution, bool]]] = {}
    for one, sure in tasks_asked(allowed):
        asked.setdefault(str(allowed.plan.steps[one.step].get("agent_name")), []).append((one, sure))
    of_agent: dict[str, list[Task]] = {}
    for task in {task.task_id: task for task in observed.tasks}.values():
        of_agent.setdefault(task.agent, []).append(task)
    for agent in dict.fromkeys((*asked, *of_agent)):
        yield from _of_agent(agent, asked.get(agent, []), of_agent.get(agent, []))


def _is_one_attempt(before: Execution, again: Execution) -> bool:
    """Whether what is asked for again was in flight when the run was cancelled, since it had not failed: its id stays
    (RES-09)."""
    return (
        before.statuses == {"COMPLETED"}
        and is_fixed(before.input)
        and is_fixed(again.input)
        and canonical(before.input) == canonical(again.input)
    )


def _of_agent(agent: str, asked: list[tuple[Execution, bool]], tasks: list[Task]) -> Iterator[Difference]:
    if not all(is_fixed(one.input) for one, _ in asked):
        if len(tasks) > len(asked):
            yield Difference(
                "CMP-08",
                None,
                "tasks",
                f"{agent} was asked {len(tasks)} different tasks, expected {len(asked)} at most",
            )
        return
    most = Counter(canonical(one.input) for one, _ in asked)
    least = Counter(canonical(one.input) for one, sure in asked if sure)
    found = Counter(canonical(task.input) for task in tasks)
    step_of = {canonical(one.input): one.step for one, _ in asked}
    for key in dict.fromkeys((*found, *most)):
        if least[key] <= found[key] <= most[key]:
            continue
        wanted = str(most[key]) if least[key] == most[key] else f"{least[key]} to {most[key]}"
        clause = "CMP-08" if most[key] else "CMP-04" if asked else "CMP-03"
        text = f"{agent} was asked {found[key]} different tasks with the input {key[:_MOST_SHOWN]}, expected {wanted}"
        yield Difference(clause, step_of.get(key), "tasks", text)


def _told(one: Execution) -> str:
    return " or ".join(sorted(one.statuses))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
