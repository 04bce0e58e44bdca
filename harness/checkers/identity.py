"""Task ids: one for an attempt, of one run and one piece of work; completed steps are not dispatched again."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from harness.checkers.checker import Checker
from harness.checkers.oracle.of_run import contexts_of, step_of
from harness.checkers.view import LAG_SECONDS, TERMINAL, RunView, Task, Views, views
from harness.history import Event, History
from harness.oracle.plan import Plan
from harness.oracle.values import same
from harness.verdict import Finding


def _shared_ids(history: History) -> list[Finding]:
    """One task_id in the tasks of two runs.

    Sound in any order and whatever died: ids are unique over all runs (MSG-13). Tasks that the harness published are left out.
    """
    found = []
    owner: dict[str, tuple[str, Event]] = {}
    for run in views(history).runs.values():
        for task in run.tasks:
            other, event = owner.setdefault(task.task_id, (run.id, task.first))
            if other != run.id:
                explanation = f"runs {other} and {run.id} both have a task {task.task_id}"
                events = (event.seq, task.first.seq)
                found.append(Finding("shared_ids", "MSG-13", "shared task id", explanation, events, run.id))
    return found


def _unequal_copies(history: History) -> list[Finding]:
    """Two messages with one task_id, for different agents or with different inputs.

    Sound in any order and whatever died: copies are equal in both (MSG-14), and different work has different ids (MSG-13).
    """
    found = []
    for run in views(history).runs.values():
        for task in run.tasks:
            for copy in task.messages[1:]:
                agent, given = str(copy["value"].get("agent_name")), copy["value"].get("input_data")
                if agent == task.agent and same(given, task.input):
                    continue
                clause = "MSG-14" if agent == task.agent else "MSG-13"
                explanation = (
                    f"task {task.task_id} was published for agent {task.agent}, and for {agent} or with another input"
                )
                events = (task.first.seq, copy.seq)
                found.append(Finding("unequal_copies", clause, "one id, different work", explanation, events, run.id))
                break
    return found


def _too_many_ids(history: History) -> list[Finding]:
    """More different task_ids for one agent and input than there are attempts of steps that can have them.

    Independent of time and order, so it holds whatever was killed: an attempt keeps its id for ever. The executions that can
    have the agent and input are counted by the oracle; each has one attempt, and one more for each retry that may have been
    accepted, unless the step was seen COMPLETED before the first retry and no retry named a step at or before it.
    Where the oracle does not know an input, nothing is said.
    """
    found = []
    seen = views(history)
    for run, plan in seen.of_plans():
        grouped: dict[str, list[Task]] = {}
        for task in run.tasks:
            grouped.setdefault(task.key, []).append(task)
        for tasks in grouped.values():
            most = _most_ids(run, plan, tasks[0])
            if most is None or most == 0 or len(tasks) <= most:
                continue
            clause, why = _why(seen, run, plan, tasks[0])
            explanation = (
                f"{len(tasks)} task ids for agent {tasks[0].agent} with one input, where {most} can be explained: {why}"
            )
            events = tuple(task.first.seq for task in tasks[: most + 1])
            found.append(Finding("too_many_ids", clause, "same work, new task id", explanation, events, run.id))
    return found


def _most_ids(run: RunView, plan: Plan, task: Task) -> int | None:
    most = 0
    for step in plan.agents:
        if plan.steps[step].get("agent_name") != task.agent:
            continue
        places = contexts_of(run, plan, step, task.input)
        if places is None:
            if plan.loops_around(step):
                return None
            places = [()]
        attempts = 1 if not run.is_retried or _stays_completed(run, plan, step) else 1 + len(run.retry_asks)
        most += len(places) * attempts
    return most


def _stays_completed(run: RunView, plan: Plan, step: str) -> bool:
    """Whether the step was seen COMPLETED before anything was retried, and no retry starts at or before it."""
    if plan.loops_around(step):
        return False
    first_life = _end_of_first_life(run)
    sights = [row.first_seen("COMPLETED") for row in run.rows_of(step)]
    if not any(seq is not None and seq < first_life for seq in sights):
        return False
    place = plan.chain.index(plan.top(step))
    starts = [plan.chain.index(name) for name in run.resumes_from if name in plan.chain]
    return len(starts) == len(run.resumes_from) and all(start > place for start in starts)


def _end_of_first_life(run: RunView) -> int:
    """A seq before which nothing was retried. A request is noted before it is sent; an act after it was done, so there
    the first end that was read counts, if an end was seen before each of the retries."""
    if all(ask.kind == "request" for ask in run.retry_asks):
        return min(ask.seq for ask in run.retry_asks)
    polled = [read for read in run.reads if read.reader == "poll"]
    ways_back = sum(one.status in TERMINAL and two.status not in TERMINAL for one, two in pairwise(polled))
    ended = next((read for read in run.reads if read.status in TERMINAL), None)
    return ended.seq if ended is not None and ways_back >= len(run.retry_asks) else 0


def _why(seen: Views, run: RunView, plan: Plan, task: Task) -> tuple[str, str]:
    step = step_of(run, plan, task)
    if run.is_retried:
        if step is not None and _stays_completed(run, plan, step):
            return ("RES-06" if run.resumes_from else "RES-02"), f"step {step} was COMPLETED before the retry"
        return "RES-08", "each retry makes one new attempt at most"
    if not seen.is_calm():
        return "RES-09", "work that was in flight when a process died keeps its id"
    if len([event for event in run.requests if event["by"] == "harness"]) > 1:
        return "DEL-01", "a copy of the execution request changes nothing"
    return "CMP-08", "nothing was disturbed and nothing retried"


def _completed_again(history: History) -> list[Finding]:
    """A copy of a task behind a task that could only be published after the first one's step had COMPLETED.

    Order is by offsets within one partition, so it is the order of publication. Judged only in histories in which nothing was
    disturbed, since what a dead process left may surface late (RES-15), and without resume_from_step; both steps are known
    without doubt, and no loop holds them.
    """
    found = []
    seen = views(history)
    if not seen.is_calm():
        return []
    for run, plan in seen.of_plans():
        if run.resumes_from:
            continue
        placed = [(task, step) for task in run.tasks if (step := step_of(run, plan, task)) in plan.chain]
        for task, step in placed:
            for copy in task.messages[1:]:
                later = next(
                    (o for o, s in placed if s is not None and _is_between(plan, step, s, task, o, copy)), None
                )
                if later is None:
                    continue
                clause = "RES-02" if run.is_retried else _of_copies(run)
                explanation = (
                    f"step {step} was COMPLETED, since {step_of(run, plan, later)} had begun, and its task came again"
                )
                events = (task.first.seq, later.first.seq, copy.seq)
                found.append(
                    Finding("completed_again", clause, "completed step dispatched", explanation, events, run.id)
                )
                break
    return found


def _is_between(plan: Plan, step: str | None, other: str, task: Task, later: Task, copy: Event) -> bool:
    if step is None or plan.chain.index(other) <= plan.chain.index(step):
        return False
    partition = {task.first["partition"], later.first["partition"], copy["partition"]}
    return len(partition) == 1 and task.first["offset"] < later.first["offset"] < copy["offset"]


def _of_copies(run: RunView) -> str:
    by_harness = [event["topic"] for event in (*run.requests, *run.results) if event["by"] == "harness"]
    if by_harness.count("requests") > 1:
        return "DEL-01"
    return "DEL-02" if "results" in by_harness else "CMP-08"


def _old_ids(history: History) -> list[Finding]:
    """A task whose attempt had FAILED by a result was published again under its id after a retry.

    Judged by time: the copy was seen more than `LAG_SECONDS` after the retry was asked for over REST, nothing
    was disturbed, and the failure was seen before it was asked for; so the copy is the retry's own.
    """
    found = []
    seen = views(history)
    if not seen.is_calm() or not seen.plays("consumer"):
        return []
    for run in seen.runs.values():
        if run.cancel_asks or run.cancellations:
            # A failure that came after a cancellation ended nothing: that attempt goes on under its id (RES-09).
            continue
        asks = [event for event in run.retry_asks if event.kind == "request"]
        for event in run.results:
            value = event["value"] if isinstance(event["value"], Mapping) else {}
            ask = next((one for one in asks if one.seq > event.seq), None)
            task = next((one for one in run.tasks if one.task_id == value.get("task_id")), None)
            if value.get("status") != "FAILURE" or ask is None or task is None or value.get("run_id") != run.id:
                continue
            copy = next((one for one in task.messages[1:] if one.at > ask.at + LAG_SECONDS), None)
            if copy is not None:
                explanation = (
                    f"the attempt {task.task_id} had FAILED, and the retry asks for it again under the same id"
                )
                events = (event.seq, ask.seq, copy.seq)
                found.append(Finding("old_ids", "RES-08", "ended attempt again", explanation, events, run.id))
    return found


CHECKERS = (
    Checker("shared_ids", "No two runs share a task_id.", ("MSG-13",), _shared_ids, ("kafka",)),
    Checker(
        "unequal_copies",
        "All messages with one task_id ask one agent for one input.",
        ("MSG-13", "MSG-14"),
        _unequal_copies,
        ("kafka",),
    ),
    Checker(
        "too_many_ids",
        "The same work has the same task_id: as many ids as attempts, and no new one for a completed step.",
        ("CMP-08", "RES-02", "RES-06", "RES-08", "RES-09", "DEL-01"),
        _too_many_ids,
        ("kafka", "database"),
    ),
    Checker(
        "completed_again",
        "The task of a completed step is not published again, when nothing was disturbed.",
        ("CMP-08", "RES-02", "DEL-01", "DEL-02"),
        _completed_again,
        ("kafka",),
    ),
    Checker(
        "old_ids",
        "A retry makes new attempts: a failed one is not published again.",
        ("RES-08",),
        _old_ids,
        ("kafka", "rest"),
    ),
)
