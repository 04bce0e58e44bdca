"""Rows, REST and updates agree, in order, for every transition of a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.view import ENDED, RunView, views
from harness.history import Event, History
from harness.oracle.plan import Plan
from harness.verdict import Finding

_TOLD = ("RUNNING", "COMPLETED", "FAILED")


def _updates(run: RunView, plan: Plan) -> list[tuple[Event, str, str]]:
    """(event, step, status) of the subject's updates of agent steps; of equal copies the first (OBS-06)."""
    found, copies = [], set()
    for event in sorted(run.updates, key=lambda event: (event["partition"] or 0, event["offset"] or 0)):
        value = event["value"] if isinstance(event["value"], Mapping) else {}
        step, status = str(value.get("step_id")), str(value.get("status"))
        key = run.texts_of_updates[event.seq]
        if event["by"] != "harness" and step in plan.agents and status in _TOLD and key not in copies:
            copies.add(key)
            found.append((event, step, status))
    return found


def _in_order(history: History) -> list[Finding]:
    """An end of a step told before its RUNNING, or a step's RUNNING told before the end of the one that led to it (OBS-03).

    Order is by offsets in one partition, and equal copies count once, where they were first. Only agent steps outside of
    loops and only runs that may not have been retried are judged, since executions of one step are not told apart by the
    contract's fields. Updates of a run have one key, so an end that is not there when the next RUNNING is was not told (OBS-01).
    A RUNNING that is not there at all is not this checker's: a step may fail before it starts.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.is_retried:
            continue
        first: dict[tuple[str, str], Event] = {}
        for event, step, status in _updates(run, plan):
            first.setdefault((step, status), event)
        for step in plan.agents:
            if plan.loops_around(step):
                continue
            running = first.get((step, "RUNNING"))
            follower = _agent_behind(plan, step)
            end = first.get((step, "COMPLETED")) or first.get((step, "FAILED"))
            next_running = first.get((follower, "RUNNING")) if follower else None
            if running is not None and end is not None and _is_after(running, end):
                explanation = f"the end of step {step} was told before its RUNNING"
                found.append(
                    Finding(
                        "updates_in_order",
                        "OBS-03",
                        "updates out of order",
                        explanation,
                        (end.seq, running.seq),
                        run.id,
                    )
                )
            elif end is None and next_running is not None and next_running["key"] == run.id and run.rows_of(step):
                explanation = (
                    f"step {follower} was told to be RUNNING, and the end of step {step}, which led to it, was not told"
                )
                found.append(
                    Finding(
                        "updates_in_order", "OBS-01", "transition not told", explanation, (next_running.seq,), run.id
                    )
                )
            elif end is not None and next_running is not None and _is_after(end, next_running):
                explanation = f"the RUNNING of step {follower} was told before the end of step {step}, which led to it"
                found.append(
                    Finding(
                        "updates_in_order",
                        "OBS-03",
                        "updates out of order",
                        explanation,
                        (next_running.seq, end.seq),
                        run.id,
                    )
                )
    return found


def _agent_behind(plan: Plan, step: str) -> str | None:
    """The agent step that the end of this one leads to, in the chain or in its branch."""
    if step in plan.chain:
        behind = plan.steps[step].get("next_step")
    else:
        slot = plan.slots[step]
        lists = [steps for name, steps in plan.children(slot.parent) if name == slot.name]
        is_list = plan.kind(slot.parent) == "fork_join" and slot.position + 1 < len(lists[0])
        behind = lists[0][slot.position + 1] if is_list else None
    return behind if behind is not None and plan.kind(behind) == "agent" else None


def _is_after(one: Event, two: Event) -> bool:
    return bool(one["partition"] == two["partition"] and one["offset"] > two["offset"])


def _all_told(history: History) -> list[Finding]:
    """A transition that the rows show and no update tells of (OBS-01), or a last update that contradicts its row (OBS-02).

    Absence is judged only when the history says that all topics were read to their ends after the rows had come to rest. A step
    of a loop has at least as many updates of an end as rows with it, as far as updates differ; equal ones are taken for
    copies, so that only a step without any is accused there. Contradictions are judged for agent steps outside of loops. Runs
    that may have been retried are left out of both.
    """
    found = []
    seen = views(history)
    for run, plan in seen.of_plans():
        if run.is_retried or not run.is_complete:
            continue
        told = _updates(run, plan)
        for step in plan.agents:
            rows = run.rows_of(step)
            ends = [row for row in rows if row.latest.get("status") in ("COMPLETED", "FAILED")]
            if not ends:
                continue
            of_step = [(event, status) for event, name, status in told if name == step]
            last = next(((e, s) for e, s in reversed(of_step) if s != "RUNNING"), None)
            statuses = {row.latest.get("status") for row in ends}
            if seen.is_drained and last is None:
                explanation = f"step {step} has ended, and no update tells of it"
                found.append(
                    Finding("all_told", "OBS-01", "transition not told", explanation, (ends[0].last_seq,), run.id)
                )
            elif seen.is_drained and "COMPLETED" in statuses and not any(status == "RUNNING" for _, status in of_step):
                explanation = f"step {step} was COMPLETED, and no update told of its RUNNING"
                found.append(
                    Finding("all_told", "OBS-01", "transition not told", explanation, (ends[0].last_seq,), run.id)
                )
            elif last is not None and last[1] not in statuses and not plan.loops_around(step):
                explanation = (
                    f"the last update of step {step} says {last[1]}, and its row {ends[0].latest.get('status')}"
                )
                events = (last[0].seq, ends[0].last_seq)
                found.append(Finding("all_told", "OBS-02", "row and update disagree", explanation, events, run.id))
    return found


def _nothing_new(history: History) -> list[Finding]:
    """An update of a step's RUNNING or end behind the update of the run's end, in one partition (OBS-07).

    Updates of the run are an extension: without one, nothing is said. Order is by offsets, equal copies count once,
    where they were first, and only histories in which nothing was disturbed are judged.
    """
    found = []
    seen = views(history)
    if not seen.is_calm():
        return []
    for run, plan in seen.of_plans():
        if run.is_retried:
            continue
        ends = [event for event in run.updates if _is_end_of_run(run, event)]
        for event, step, status in _updates(run, plan):
            before = next((end for end in ends if _is_after(event, end)), None)
            if before is not None:
                explanation = f"run {run.id} was told to have ended, and then that step {step} is {status}"
                found.append(
                    Finding(
                        "nothing_new", "OBS-07", "update after the end", explanation, (before.seq, event.seq), run.id
                    )
                )
                break
    return found


def _is_end_of_run(run: RunView, event: Event) -> bool:
    value = event["value"] if isinstance(event["value"], Mapping) else {}
    is_end = value.get("status") in ("COMPLETED", "FAILED", "CANCELLED")
    return bool(event["by"] != "harness" and value.get("step_id") == run.id and is_end)


def _rest_steps(history: History) -> list[Finding]:
    """A reader over REST saw another end of a step than the rows have (OBS-05).

    An end is final without a retry, so the moment does not matter: an agent step outside of loops that REST showed COMPLETED or
    FAILED, and whose row ended otherwise, was shown in a status that was undone. A step that REST shows running after its end
    was read is judged only when the request was made after the end was seen.
    """
    found = []
    seen = views(history)
    if not seen.plays("api"):
        return []
    for run, plan in seen.of_plans():
        for answer in () if run.is_retried else run.rest_steps:
            items = answer["body"].get("items") if isinstance(answer["body"], Mapping) else None
            request = seen.requests[answer["request"]]
            for item in items if isinstance(items, list) else ():
                conflict = _conflict(run, plan, item, request)
                if conflict is not None:
                    explanation, seq = conflict
                    found.append(
                        Finding("rest_steps", "OBS-05", "readers disagree", explanation, (seq, answer.seq), run.id)
                    )
                    break
    return found


def _conflict(run: RunView, plan: Plan, item: Any, request: Event) -> tuple[str, int] | None:
    if (
        not isinstance(item, Mapping)
        or item.get("step_id") not in plan.agents
        or plan.loops_around(str(item["step_id"]))
    ):
        return None
    step, shown = str(item["step_id"]), item.get("status")
    rows = run.rows_of(step)
    if len(rows) != 1 or rows[0].latest.get("status") not in ENDED:
        return None
    status = rows[0].latest["status"]
    ended = next(seq for seq, row in rows[0].seen if row.get("status") in ENDED)
    if shown in ENDED and shown != status:
        return f"REST showed step {step} {shown}, and its row ended {status}", rows[0].last_seq
    if shown not in ENDED and ended < request.seq:
        return f"step {step} had ended {status}, and REST showed it {shown} after that", ended
    return None


CHECKERS = (
    Checker(
        "updates_in_order", "Updates come in the order of what happened.", ("OBS-01", "OBS-03"), _in_order, ("kafka",)
    ),
    Checker(
        "all_told",
        "Every transition in the rows has its update, and the last one agrees with the row.",
        ("OBS-01", "OBS-02"),
        _all_told,
        ("kafka", "database"),
    ),
    Checker("nothing_new", "No update of a step follows the end of its run.", ("OBS-07",), _nothing_new, ("kafka",)),
    Checker(
        "rest_steps",
        "REST shows no status of a step that is undone later.",
        ("OBS-05",),
        _rest_steps,
        ("rest", "database"),
    ),
)
