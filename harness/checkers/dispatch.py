"""Nothing is dispatched after a run has ended, or once a cancellation has taken hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from harness.checkers.checker import Checker
from harness.checkers.oracle.of_run import step_of
from harness.checkers.view import LAG_SECONDS, RunView, Task, Views, views
from harness.history import Event, History
from harness.oracle.plan import Plan
from harness.verdict import Finding

_OF_END = {"COMPLETED": "CMP-02", "FAILED": "FAI-04", "CANCELLED": "CAN-02"}
_SURELY_SEEN_SECONDS = 5.0
"""After so long, an executor that nothing disturbs has read a cancellation request."""


def _after_end(history: History) -> list[Finding]:
    """A new task was seen well after the run's terminal status had been read.

    A message may be seen later than it was published, so only a distance beyond `LAG_SECONDS` counts, and none at all when
    the broker had the message before the status was read; only in histories in
    which nothing was killed, paused or taken away until then (what a dead process left behind may surface late), only the
    first message with its task_id, and only in runs that nobody asked to retry. After CANCELLED, which the API may have
    written, `_SURELY_SEEN_SECONDS` more are granted for the executor to hear of it.
    """
    found = []
    seen = views(history)
    if not seen.plays("consumer"):
        return []
    for run in seen.runs.values():
        ended = run.first_read("COMPLETED", "FAILED", "CANCELLED")
        if ended is None or run.is_retried:
            continue
        ended_at = _moment(history.events[ended.seq].wall)
        grace = LAG_SECONDS + (_SURELY_SEEN_SECONDS if ended.status == "CANCELLED" else 0.0)
        for task in run.tasks:
            if task.first.at > ended.at + grace and not _was_there(task.first, ended_at) and seen.is_calm(task.first):
                explanation = (
                    f"run {run.id} was {ended.status}, and a task for agent {task.agent} was published after that"
                )
                events = (ended.seq, task.first.seq)
                found.append(
                    Finding("after_end", _OF_END[ended.status], "task after the end", explanation, events, run.id)
                )
                break
    return found


def _was_there(message: Event, moment: datetime | None) -> bool:
    """Whether the broker took a message before a moment of the harness's clock, where the topic notes that."""
    appended = _moment(message["appended"])
    return appended is not None and moment is not None and appended <= moment


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _after_cancellation(history: History) -> list[Finding]:
    """A new task of a run whose cancellation the executor had seen, proved by what the task had to wait for.

    That the executor has seen a cancellation shows in its own words: an update that the run is CANCELLED, a committed
    offset behind the request, or a row CANCELLED that nobody else can have written, the API being played or not asked.
    The new task is of a step behind another one whose agent answered only after that sign. An agent's answer is noted
    before it leaves, so the result, and what it led to, came later still. Whatever else comes after a cancellation may have
    been on its way; it cannot be told from outside.
    """
    found = []
    seen = views(history)
    for run, plan in seen.of_plans():
        sign = _taken_hold(run)
        if sign is None or run.is_retried:
            continue
        placed = [(task, step) for task in run.tasks if (step := step_of(run, plan, task)) is not None]
        late = [
            (task, step, answer) for task, step in placed if (answer := _answered_after(seen, task, sign)) is not None
        ]
        for task, step in placed:
            for _, before, answer in late:
                if _follows(plan, before, step):
                    explanation = (
                        f"the executor had seen the cancellation of run {run.id}; step {before} was answered after that, "
                        f"and then a task for step {step} was published"
                    )
                    events = (sign.seq, answer.seq, task.first.seq)
                    found.append(
                        Finding("after_cancellation", "CAN-02", "task after cancellation", explanation, events, run.id)
                    )
                    break
            else:
                continue
            break
    return found


def _late_results(history: History) -> list[Finding]:
    """A result that came after a cancellation had taken hold changed its step.

    The sign that it has taken hold, and that the agent answered after it, are as in `after_cancellation`; the step's row is
    known by step, agent and input, and no other task can be its own.
    """
    found = []
    seen = views(history)
    for run, plan in seen.of_plans():
        sign = _taken_hold(run)
        if sign is None or run.is_retried:
            continue
        for task in run.tasks:
            step = step_of(run, plan, task)
            answer = _answered_after(seen, task, sign)
            if step is None or answer is None or plan.loops_around(step):
                continue
            row = next((row for row in run.rows_of(step) if row.latest.get("status") == "COMPLETED"), None)
            if row is not None:
                explanation = (
                    f"step {step} was answered after the cancellation had taken hold, and its row is COMPLETED"
                )
                events = (sign.seq, answer.seq, row.last_seq)
                found.append(Finding("late_results", "CAN-03", "late result applied", explanation, events, run.id))
    return found


def _taken_hold(run: RunView) -> Event | None:
    """The first event that shows that the executor has seen the run's cancellation."""
    if run.final != "CANCELLED" or run.first_read("COMPLETED", "FAILED") is not None:
        return None
    signs: list[Event] = []
    for event in run.updates:
        value = event["value"] if isinstance(event["value"], Mapping) else {}
        if event["by"] != "harness" and value.get("step_id") == run.id and value.get("status") == "CANCELLED":
            signs.append(event)
    # Whatever else was sent to that topic under the run's key asks for nothing.
    asked = [request for request in run.cancellations if isinstance(request["value"], Mapping)]
    for request in asked:
        for event in run.history.of("committed"):
            names = ("cancellations", "workflow.cancellation.requests")
            if (
                event["topic"] in names
                and event["partition"] == request["partition"]
                and event["offset"] > request["offset"]
            ):
                signs.append(event)
                break
    by_message = asked and all(_is_by_message(ask) for ask in run.cancel_asks)
    read = run.first_read("CANCELLED")
    if by_message and read is not None:
        signs.append(run.history.events[read.seq])
    return min(signs, key=lambda event: event.seq, default=None)


def _is_by_message(ask: Event) -> bool:
    arguments = ask["arguments"]
    return ask.kind == "act" and isinstance(arguments, Mapping) and arguments.get("via") == "message"


def _answered_after(seen: Views, task: Task, sign: Event) -> Event | None:
    """The first answer to the task, when there was none and no result before the sign."""
    answers = [answer for _, answer in seen.calls_of_task.get(task.task_id, ()) if answer is not None]
    if not answers or min(answer.seq for answer in answers) < sign.seq:
        return None
    for event in seen.history.of("message"):
        value = event["value"]
        is_early = event["topic"] == "results" and (event["by"] == "harness" or event.seq < sign.seq)
        if is_early and isinstance(value, Mapping) and value.get("task_id") == task.task_id:
            return None
    return answers[0]


def _follows(plan: Plan, before: str, after: str) -> bool:
    """Whether the second step can only start once the first has ended. What stands in a branch that may time out can be
    left behind unanswered."""
    if plan.may_time_out(before):
        return False
    top_before, top_after = plan.top(before), plan.top(after)
    if top_before != top_after:
        return plan.chain.index(top_before) < plan.chain.index(top_after)
    one, two = plan.slots.get(before), plan.slots.get(after)
    if one is None or two is None or one.parent != two.parent or plan.loops_around(before):
        return False
    return plan.kind(one.parent) == "fork_join" and one.name == two.name and one.position < two.position


CHECKERS = (
    Checker(
        "after_end",
        "No new task is published after a run has ended.",
        ("CMP-02", "FAI-04", "CAN-02"),
        _after_end,
        ("kafka", "database"),
    ),
    Checker(
        "after_cancellation",
        "No new task is published once the executor has seen the run's cancellation.",
        ("CAN-02",),
        _after_cancellation,
        ("kafka", "agent"),
    ),
    Checker(
        "late_results",
        "A result after a cancellation changes no step.",
        ("CAN-03",),
        _late_results,
        ("kafka", "agent", "database"),
    ),
)
