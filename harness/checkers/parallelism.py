"""max_parallelism holds, and what is sequential is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.oracle.of_run import contexts_of, oracle, steps_of
from harness.checkers.view import Row, RunView, Task, Views, views
from harness.history import Event, History
from harness.oracle.plan import Plan
from harness.oracle.values import canonical
from harness.verdict import Finding

Place = Callable[[str], str | None]
"""Leaf step → what it counts as; None when it is no part of the composite."""


def _limits(plan: Plan) -> Iterator[tuple[str, int, str]]:
    """(composite, how many parts may be open, clause) of every composite with a limit that can be counted from outside.

    Left out: what stands in a parallel loop, where several instances of the composite are open at once; and loop bodies that
    open several steps in one iteration, whose tasks cannot be told apart by iteration.
    """
    for step in plan.steps:
        data = plan.steps[step]
        if any(_is_parallel_loop(plan, loop) for loop in plan.loops_around(step)):
            continue
        if plan.kind(step) == "parallel" and data.get("max_parallelism"):
            yield step, int(data["max_parallelism"]), "PAR-03"
        elif plan.kind(step) == "loop":
            inner = {plan.kind(name) for name in plan.inside(step) if name != step}
            if inner & {"parallel", "fork_join", "loop"}:
                continue
            config = data["loop_config"]
            if not _is_parallel_loop(plan, step):
                yield step, 1, "LOP-04"
            elif config.get("max_parallelism"):
                yield step, int(config["max_parallelism"]), "LOP-05"


def _is_parallel_loop(plan: Plan, loop: str) -> bool:
    return bool(plan.steps[loop]["loop_config"].get("execution_mode") == "parallel")


def _open_rows(history: History) -> list[Finding]:
    """A snapshot in which more parts of a composite are RUNNING than may be open.

    Sound because a snapshot is one moment of the database: the executor itself says that they are open at once. A part that is a
    composite counts once, by its open agent steps. Runs that may have been retried are left out, since a row that was
    in flight before may stand beside them.
    """
    found = []
    for run, plan in views(history).of_plans():
        limits = [] if run.is_retried else list(_limits(plan))
        for composite, most, clause in limits:
            leaves = set(plan.leaves(composite))
            for snapshot in run.snapshots:
                rows = [row for row in snapshot["step_rows"] or () if row.get("step_id") in leaves]
                running = [row for row in rows if row.get("status") == "RUNNING"]
                number = len({_part(plan, composite, str(row["step_id"]), row.get("id")) for row in running})
                if number > most:
                    explanation = f"{number} parts of {composite} are RUNNING at once, where {most} may be"
                    events = (snapshot["because"], snapshot.seq)
                    found.append(Finding("open_rows", clause, "too many open", explanation, events, run.id))
                    break
    return found


def _part(plan: Plan, composite: str, leaf: str, execution: Any) -> Any:
    """What an open leaf counts as: the step of parallel_steps that it is in, or its own execution in a loop."""
    if plan.kind(composite) == "loop":
        return execution
    return next(step for step in [leaf, *plan.above(leaf)] if plan.slots[step].parent == composite)


def _open_tasks(history: History) -> list[Finding]:
    """More tasks of a composite's parts were certainly open at one moment than may be.

    A task is open from its publication, which is before it was seen, until its result is published, which is after its agent
    answered: so between these two events it was open for certain, if it was called once, answered with 200, and its result is a
    SUCCESS that came from there. Only histories in which nothing was disturbed and runs that nobody asked to retry are
    judged, and composites without time-outs; a task counts when all steps that it can be of are in one part.
    """
    found = []
    seen = views(history)
    if not seen.is_calm():
        return []
    for run, plan in seen.of_plans():
        limits = [] if run.is_retried else list(_limits(plan))
        windows = {task.task_id: _window(seen, run, task) for task in run.tasks} if limits else {}
        for composite, most, clause in limits:
            if any(plan.kind(step) == "fork_join" for step in plan.inside(composite)):
                continue
            placed: list[tuple[int, int, Any]] = []
            for task in run.tasks:
                window, part = windows[task.task_id], _part_of_task(run, plan, composite, task)
                if window is not None and part is not None:
                    placed.append((*window, part))
            for begun, _, _ in placed:
                together = [one for one in placed if one[0] <= begun < one[1]]
                if len({part for _, _, part in together}) > most:
                    explanation = f"{len(together)} tasks of {composite} were open at once, where {most} parts may be"
                    events = tuple(sorted(one[0] for one in together)[: most + 1])
                    found.append(Finding("open_tasks", clause, "too many open", explanation, events, run.id))
                    break
    return found


def _window(seen: Views, run: RunView, task: Task) -> tuple[int, int] | None:
    calls = seen.calls_of_task.get(task.task_id, [])
    if len(calls) != 1 or calls[0][1] is None or calls[0][1]["status"] != 200:
        return None
    results = run.results_of_task.get(task.task_id, [])
    if not results or any(event["by"] == "harness" or event["value"].get("status") != "SUCCESS" for event in results):
        return None
    return task.first.seq, calls[0][1].seq


def _part_of_task(run: RunView, plan: Plan, composite: str, task: Task) -> Any:
    leaves = set(plan.leaves(composite))
    steps = steps_of(run, plan, task)
    if not steps or not all(step in leaves for step in steps):
        return None
    if plan.kind(composite) == "loop":
        return task.task_id
    parts = {_part(plan, composite, step, None) for step in steps}
    return parts.pop() if len(parts) == 1 else None


def _in_index_order(history: History) -> list[Finding]:
    """In a sequential loop a later item's task is before an earlier one's, in one partition.

    Order is by offsets, so it is the order of publication. Judged for loops that stand in no other loop, for the first step of
    the body, for tasks whose input only one iteration can have, and for runs that nobody asked to retry.
    """
    found = []
    for run, plan in views(history).of_plans():
        for loop in plan.steps:
            if plan.kind(loop) != "loop" or _is_parallel_loop(plan, loop) or plan.loops_around(loop) or run.is_retried:
                continue
            first = plan.steps[loop]["loop_config"]["loop_body"][0]
            if plan.kind(first) != "agent":
                continue
            highest: dict[Any, tuple[int, Event]] = {}
            for task in sorted(run.tasks, key=lambda task: task.first["offset"] or 0):
                if steps_of(run, plan, task) != [first]:
                    continue
                places = contexts_of(run, plan, first, task.input)
                if places is None or len(places) != 1:
                    continue
                index, before = places[0][0][1], highest.get(task.first["partition"])
                if before is not None and index < before[0]:
                    explanation = f"loop {loop} is sequential, and item {index} was dispatched after item {before[0]}"
                    events = (before[1].seq, task.first.seq)
                    found.append(Finding("in_index_order", "LOP-04", "items out of order", explanation, events, run.id))
                    break
                highest[task.first["partition"]] = (index, task.first)
    return found


def _items_once(history: History) -> list[Finding]:
    """A loop that ran to its end without some of its items, or with other rows than its items give.

    Judged in runs that COMPLETED, whose rows are all known, that nobody asked to retry, for loops in no other composite: the
    inputs of the first body step's rows are, as a multiset, those of the items.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.final != "COMPLETED" or run.is_retried or not run.is_complete:
            continue
        for loop in plan.chain:
            if plan.kind(loop) != "loop":
                continue
            first = plan.steps[loop]["loop_config"]["loop_body"][0]
            items = oracle(run, plan).items(loop, ()) or None
            if plan.kind(first) != "agent" or items is None:
                continue
            rows = run.rows_of(first)
            if len(rows) != len(items):
                many = plan.steps[loop]["loop_config"].get("max_iterations")
                clause = "LOP-09" if many and len(rows) > len(items) else "LOP-01"
                explanation = f"loop {loop} has {len(items)} items to run, and step {first} has {len(rows)} rows"
                events = (*run.seqs, *(row.last_seq for row in rows[:3]))
                found.append(Finding("items_once", clause, "iterations miscounted", explanation, events, run.id))
                continue
            grouped: dict[str, list[Row]] = {}
            for row in rows:
                grouped.setdefault(canonical(row.latest.get("input_data")), []).append(row)
            for alike in grouped.values():
                places = contexts_of(run, plan, first, alike[0].latest.get("input_data"))
                if places and len(alike) > len(places):
                    explanation = (
                        f"{len(alike)} iterations of loop {loop} have the input that {len(places)} of its items give"
                    )
                    events = tuple(one.last_seq for one in alike[:3])
                    found.append(Finding("items_once", "LOP-01", "item run twice", explanation, events, run.id))
                    break
    return found


CHECKERS = (
    Checker(
        "open_rows",
        "No more parts of a composite are RUNNING at one moment than max_parallelism, or than one in a sequential loop.",
        ("PAR-03", "LOP-04", "LOP-05"),
        _open_rows,
        ("database",),
    ),
    Checker(
        "open_tasks",
        "No more tasks of a composite's parts are open at one moment than may be.",
        ("PAR-03", "LOP-04", "LOP-05"),
        _open_tasks,
        ("kafka", "agent"),
    ),
    Checker(
        "in_index_order",
        "A sequential loop dispatches its items in their order.",
        ("LOP-04",),
        _in_index_order,
        ("kafka",),
    ),
    Checker(
        "items_once",
        "A loop that completed ran its body once for each item.",
        ("LOP-01", "LOP-09"),
        _items_once,
        ("database",),
    ),
)
