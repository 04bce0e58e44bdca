"""What must be in committed rows before it is told or used, and offsets that are committed before their effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.oracle.of_run import step_of
from harness.checkers.view import RunView, views
from harness.history import Event, History
from harness.oracle.plan import Plan
from harness.oracle.references import references_in
from harness.verdict import Finding

_AT_LEAST: Mapping[str, frozenset[str]] = {
    "RUNNING": frozenset(("RUNNING", "COMPLETED", "FAILED", "CANCELLED")),
    "COMPLETED": frozenset(("COMPLETED",)),
    "FAILED": frozenset(("FAILED",)),
}


def _before_dispatch(history: History) -> list[Finding]:
    """A task was seen, and a snapshot of the database that was begun after that lacks an output that the task needs.

    Sound because the snapshot is newer than the message: what was committed before the publication must be in it. A task is
    taken for a step's only when it can be no other's; in loops, where rows cannot be told apart, completed rows are counted
    against tasks. After a retry one completed row, seen at any time, is enough.
    """
    found = []
    for run, plan in views(history).of_plans():
        snapshots = {event["because"]: event for event in run.snapshots}
        of_step: dict[str, int] = {}
        for task in run.tasks:
            step = step_of(run, plan, task)
            if step is None:
                continue
            of_step[step] = of_step.get(step, 0) + 1
            snapshot = snapshots.get(task.first.seq)
            if snapshot is None:
                continue
            for needed in _needed(plan, step):
                done = sum(_was_completed(row.seen, snapshot.seq) for row in run.rows_of(needed))
                in_same_loop = plan.loops_around(needed) == plan.loops_around(step)
                wanted = of_step[step] if in_same_loop and not run.is_retried else 1
                if done < wanted:
                    explanation = (
                        f"a task for step {step} was published before step {needed}, which it uses, was COMPLETED"
                    )
                    events = (task.first.seq, snapshot.seq)
                    found.append(
                        Finding("before_dispatch", "CMP-09", "output not durable", explanation, events, run.id)
                    )
                    break
    return found


def _needed(plan: Plan, step: str) -> list[str]:
    """Agent steps whose outputs the step's mapping uses whenever it runs.

    Sources of a branch or of a policy that absorbs may have no output; their use then fails the step, and no task is seen.
    """
    mapping = plan.steps[step].get("input_mapping") or {}
    names = {reference.name for reference in references_in(mapping, plan.steps) if reference.source == "step"}
    return sorted(name for name in names if plan.kind(name) == "agent")


def _was_completed(seen: tuple[tuple[int, Mapping[str, Any]], ...], until: int) -> bool:
    return any(row.get("status") == "COMPLETED" and seq <= until for seq, row in seen)


def _before_update(history: History) -> list[Finding]:
    """An update of an agent step was seen, and a snapshot that was begun after that has no row in the status it tells of.

    Sound because the snapshot is newer than the update. A step of a loop has several rows and updates that the contract's
    columns do not tell apart: there are at least as many rows as different updates. Runs that may have been retried, whose
    rows may have been taken up anew by then, are left out, and so are composites, whose rows are a SHOULD.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.is_retried:
            continue
        snapshots = {event["because"]: event for event in run.snapshots}
        different: dict[tuple[str, str], set[str]] = {}
        for event in run.updates:
            value = event["value"] if isinstance(event["value"], Mapping) else {}
            step, status = str(value.get("step_id")), str(value.get("status"))
            if event["by"] == "harness" or status not in _AT_LEAST or step not in plan.agents:
                continue
            told = different.setdefault((step, status), set())
            told.add(run.texts_of_updates[event.seq])
            snapshot = snapshots.get(event.seq)
            if snapshot is None:
                continue
            rows = [row for row in snapshot["step_rows"] or () if row.get("step_id") == step]
            done = sum(row.get("status") in _AT_LEAST[status] for row in rows)
            if done < (len(told) if plan.loops_around(step) else 1):
                explanation = f"an update said that step {step} is {status}, and the rows read after it did not say so"
                found.append(
                    Finding("before_update", "OBS-04", "told too early", explanation, (event.seq, snapshot.seq), run.id)
                )
                break
    return found


def _row_before_request(history: History) -> list[Finding]:
    """An execution request of the subject's API was seen, and the run had no row in a snapshot that was begun after that.

    Sound because the snapshot is newer than the request; requests that the harness published in the API's place are left out.
    """
    found = []
    seen = views(history)
    if not seen.plays("api"):
        return []
    for run in seen.runs.values():
        snapshots = {event["because"]: event for event in run.snapshots}
        for request in run.requests:
            snapshot = snapshots.get(request.seq)
            if request["by"] == "subject" and snapshot is not None and snapshot["run_row"] is None:
                explanation = f"the execution request of run {run.id} was published before the run had a committed row"
                events = (request.seq, snapshot.seq)
                found.append(Finding("row_before_request", "MSG-11", "request before row", explanation, events, run.id))
    return found


def _offsets(history: History) -> list[Finding]:
    """A message whose offset was committed, and whose effect never came, though the scenario waited for it to the last.

    A commit alone proves nothing: an executor may keep what it has read in tables of its own. But when the process died
    after the commit and the run stood still from then on, nobody will read that message again, and its effect is lost.
    """
    found = []
    seen = views(history)
    commits = list(history.of("committed"))
    deaths = [event for event in seen.disturbances if event.kind in ("killed", "exited")]
    for run in seen.runs.values():
        if not deaths or not seen.plays("consumer") or not seen.was_waited_for(run.id) or run.final is not None:
            continue
        for event in (*run.requests, *run.results):
            commit = next((one for one in commits if _covers(one, event)), None)
            if commit is None:
                continue
            death = next((one for one in deaths if one.seq > commit.seq), None)
            if death is None or not _has_no_effect(run, event):
                continue
            what = "execution request" if event["topic"] == "requests" else "result"
            explanation = (
                f"the offset of run {run.id}'s {what} was committed, the process died, and its effect never came"
            )
            clause = "RES-14" if event["topic"] == "requests" else "RES-16"
            events = (event.seq, commit.seq, death.seq)
            found.append(Finding("offsets", clause, "offset ahead of its effect", explanation, events, run.id))
            break
    return found


def _covers(commit: Event, message: Event) -> bool:
    names = {"requests": "workflow.execution.requests", "results": "results.topic"}
    topic = message["topic"]
    same = commit["topic"] in (topic, names[topic]) and commit["partition"] == message["partition"]
    return bool(same and commit["offset"] > message["offset"])


def _has_no_effect(run: RunView, message: Event) -> bool:
    if message["topic"] == "requests":
        return run.last is None or run.last.status == "PENDING"
    value = message["value"] if isinstance(message["value"], Mapping) else {}
    task = next((one for one in run.tasks if one.task_id == value.get("task_id")), None)
    if task is None or value.get("run_id") != run.id:
        return False
    same_work = [
        row
        for row in run.rows
        if row.latest.get("input_data") == task.input and row.latest.get("agent_name") == task.agent
    ]
    return bool(same_work) and all(row.latest.get("status") == "RUNNING" for row in same_work)


CHECKERS = (
    Checker(
        "before_dispatch",
        "The outputs that a task needs are in committed rows when it is published.",
        ("CMP-09",),
        _before_dispatch,
        ("kafka", "database"),
    ),
    Checker(
        "before_update",
        "The row that an update tells of is committed when the update is published.",
        ("OBS-04",),
        _before_update,
        ("kafka", "database"),
    ),
    Checker(
        "row_before_request",
        "A run's row is committed when the API publishes its execution request.",
        ("MSG-11",),
        _row_before_request,
        ("kafka", "database", "rest"),
    ),
    Checker(
        "offsets",
        "No offset is committed ahead of its message's effect: nothing is lost when the process dies after the commit.",
        ("RES-14", "RES-16"),
        _offsets,
        ("kafka", "database"),
    ),
)
