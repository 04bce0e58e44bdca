"""Every accepted run ends, and every task is answered."""

from __future__ import annotations

from collections.abc import Mapping

from harness.checkers.checker import Checker
from harness.checkers.view import RunView, Task, Views, views
from harness.history import Event, History
from harness.verdict import Finding

_LIVES = frozenset(("started", "ready", "resumed"))
_DIES = frozenset(("killed", "stopped", "paused", "exited"))


def _ends(history: History) -> list[Finding]:
    """A run that was waited for and has no terminal status is lost.

    Sound because the history's end names the runs that were waited for to the last; because a part that was stopped and
    not started again excuses everyone; and because the executor is accused only when every task of the run that was seen
    has a result: an open task is the bridge's, or the agent's, to end.
    """
    found = []
    seen = views(history)
    if not _all_alive(seen):
        return []
    for run in seen.runs.values():
        if not seen.was_waited_for(run.id) or run.final is not None or not _was_asked_for(run):
            continue
        open_tasks = [task for task in run.all_tasks if not _is_answered(run, task)]
        if open_tasks:
            found += _unanswered(seen, run, open_tasks)
        elif seen.plays("consumer"):
            found.append(_lost(seen, run))
    return found


def _lost(seen: Views, run: RunView) -> Finding:
    killed = [event for event in seen.disturbances if event.kind in ("killed", "paused", "stopped", "exited")]
    status = "has no row" if run.last is None else f"is {run.last.status}"
    events = [*run.seqs, *(event.seq for event in run.requests[-1:])]
    clause, why = "CMP-01", "all of its tasks are answered"
    blocking = _behind_bad(seen, run)
    committed = _committed_request(run)
    if blocking is not None:
        clause, why = blocking[0], f"its message stands behind one that is not valid (event {blocking[1].seq})"
        events.append(blocking[1].seq)
    elif killed:
        clause, why = "RES-14", "a process died or stood still while it was at work"
        events.append(killed[-1].seq)
    elif run.is_retried:
        clause, why = "RES-01", "it was retried"
        events.append(run.retry_asks[-1].seq)
    if committed is not None and (run.last is None or run.last.status == "PENDING"):
        why += "; the offset of its execution request is committed, so nobody will take it up"
        events.append(committed.seq)
    return Finding("runs_end", clause, "lost run", f"run {run.id} {status} at the end: {why}", tuple(events), run.id)


def _behind_bad(seen: Views, run: RunView) -> tuple[str, Event] | None:
    """The bad message in front of a message of this run in its partition, with the clause, if there is one."""
    own = [*run.requests, *run.results, *run.cancellations]
    for event in seen.history.of("message"):
        if event["by"] != "harness" or event["topic"] not in ("requests", "results", "cancellations"):
            continue
        not_json = not isinstance(event["value"], Mapping)
        if not not_json and event.run is not None:
            continue
        for message in own:
            if (
                all(message[name] == event[name] for name in ("topic", "partition"))
                and message["offset"] > event["offset"]
            ):
                return ("DEL-09" if not_json else "DEL-10"), event
    return None


def _committed_request(run: RunView) -> Event | None:
    """The commit that covers the run's newest execution request."""
    if not run.requests:
        return None
    request = run.requests[-1]
    for event in run.history.of("committed"):
        is_same = event["topic"] == "requests" and event["partition"] == request["partition"]
        if is_same and event["offset"] > request["offset"]:
            return event
    return None


def _unanswered(seen: Views, run: RunView, tasks: list[Task]) -> list[Finding]:
    """AGT-22, of a bridge of the subject's: the task was seen, and no call for it is still open at its agent."""
    if not seen.plays("bridge"):
        return []
    found = []
    for task in tasks:
        calls = seen.calls_of_task.get(task.task_id, [])
        if any(answer is None for _, answer in calls):
            continue
        explanation = (
            f"task {task.task_id} of agent {task.agent} never got a result; {len(calls)} calls were made for it"
        )
        events = (task.first.seq, *(call.seq for call, _ in calls[-2:]))
        found.append(Finding("runs_end", "AGT-22", "unanswered task", explanation, events, run.id))
    return found


def _is_answered(run: RunView, task: Task) -> bool:
    return any(isinstance(e["value"], Mapping) and e["value"].get("task_id") == task.task_id for e in run.results)


def _was_asked_for(run: RunView) -> bool:
    return bool(run.requests) or (run.made is not None and run.made["via"] in ("rest", None))


def _all_alive(seen: Views) -> bool:
    """Whether of every part that was seen to stop, one at least runs at the end."""
    alive: dict[str, bool] = {}
    for event in seen.history:
        if event.source == "process" and event.kind in _LIVES | _DIES:
            alive[str(event["process"])] = event.kind in _LIVES
    parts: dict[str, list[bool]] = {}
    for process, is_alive in alive.items():
        parts.setdefault(process.rsplit("-", 1)[0], []).append(is_alive)
    return all(any(states) for states in parts.values())


CHECKERS = (
    Checker(
        "runs_end",
        "Every accepted run ends, and every task gets a result, when the scenario waited for it and nothing it needs "
        "is stopped for good.",
        ("CMP-01", "RES-01", "RES-14", "AGT-22", "DEL-09", "DEL-10"),
        _ends,
        ("database",),
    ),
)
