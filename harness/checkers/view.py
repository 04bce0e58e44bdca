"""What the checkers look at: the events of a history, put in order run by run. Pure; made once per history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from harness.checkers.run_view import ENDED, LAG_SECONDS, TERMINAL, Read, Row, RunView, Task
from harness.history import Event, History
from harness.oracle.plan import Plan

__all__ = ["ENDED", "LAG_SECONDS", "TERMINAL", "Read", "Row", "RunView", "Task", "Views", "views"]

_DISTURBING = frozenset(("started", "killed", "stopped", "paused", "resumed", "exited"))
"""One that starts joins a group: partitions change hands, and what is under way may be done once more."""

_DISTURBING_ACTS = frozenset((
    "kill", "stop", "start", "restart", "pause", "resume", "add", "remove", "redeliver", "fault", "cut", "join",
    "exhaust", "fill",
))  # fmt: skip
_SOURCE_VIEWS = "_views_of_the_checkers"


class Views:
    """A history put in order."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.runs: dict[str, RunView] = {run: RunView(run, history, event) for run, event in history.runs.items()}
        self._aliases = {str(event["alias"]): run for run, event in history.runs.items()}
        self.disturbances: list[Event] = []
        self.requests: dict[Any, Event] = {}
        self.answers: dict[Any, Event] = {}
        self._acts: list[Event] = []
        self._asked_by_rest: set[tuple[str, str]] = set()
        for event in history:
            self._sort(event)
        for event in self._acts:
            self._sort_act(event)

    def _sort(self, event: Event) -> None:
        if (
            (event.source == "process" and event.kind in _DISTURBING)
            or (event.kind == "act" and event["act"] in _DISTURBING_ACTS)
            or event.kind in ("gap", "fault")
        ):
            self.disturbances.append(event)
        elif event.source == "rest":
            (self.requests if event.kind == "request" else self.answers)[event["request"]] = event
            self._sort_rest(event)
        elif event.kind == "act" and event["act"] in ("retry", "cancel"):
            self._acts.append(event)
        elif event.run in self.runs:
            self._sort_of_run(event, self.runs[event.run])

    def _sort_act(self, event: Event) -> None:
        """A retry or cancellation that was made over REST is known by its request, and counts as that one alone."""
        arguments = event["arguments"] if isinstance(event["arguments"], Mapping) else {"run": event["arguments"]}
        name = str(arguments.get("run"))
        run = self.runs.get(event.run or self._aliases.get(name, name))
        via = arguments.get("via")
        if run is None or (via in (None, "rest") and (run.id, event["act"]) in self._asked_by_rest):
            return
        (run.retry_asks if event["act"] == "retry" else run.cancel_asks).append(event)

    def _sort_of_run(self, event: Event, run: RunView) -> None:
        if event.kind == "run_row":
            row = event["row"]
            if row is not None:
                run.reads.append(Read(row, "poll", event.seq, event.at, None, event.at - LAG_SECONDS))
        elif event.kind == "step_row":
            if event["row"] is not None:
                run.see_step(event.seq, event["row"])
        elif event.kind == "snapshot":
            run.snapshots.append(event)
            because = event["because"]
            if event["run_row"] is not None and isinstance(because, int) and 0 <= because < event.seq:
                since = self.history.events[because].at
                run.reads.append(Read(event["run_row"], "snapshot", event.seq, event.at, because, since))
            for row in event["step_rows"] or ():
                run.see_step(event.seq, row)
        elif event.kind == "message":
            kept = {
                "tasks": run.task_messages,
                "results": run.results,
                "updates": run.updates,
                "requests": run.requests,
                "cancellations": run.cancellations,
            }.get(event["topic"])
            if kept is not None:
                kept.append(event)

    def _sort_rest(self, event: Event) -> None:
        request = self.requests.get(event["request"])
        if request is None:
            return
        run, _, rest = str(request["path"]).partition("?")[0].partition("/runs/")[2].partition("/")
        view = self.runs.get(run)
        if view is None:
            return
        word = (request["method"], rest.rstrip("/"))
        if event.kind == "request":
            if word in (("POST", "retry"), ("POST", "cancel")):
                self._asked_by_rest.add((run, word[1]))
                (view.retry_asks if word[1] == "retry" else view.cancel_asks).append(event)
            return
        if 400 <= int(event["status"] or 0) < 500 and word in (("POST", "retry"), ("POST", "cancel")):
            # What was refused did nothing. Whatever was not answered, or with 5xx, may have been done.
            asks = view.retry_asks if word[1] == "retry" else view.cancel_asks
            asks[:] = [ask for ask in asks if ask is not request]
        elif word == ("GET", "") and event["status"] == 200 and isinstance(event["body"], Mapping):
            view.reads.append(Read(event["body"], "rest", event.seq, event.at, request.seq, request.at))
        elif word == ("GET", "steps") and event["status"] == 200:
            view.rest_steps.append(event)
        elif word == ("GET", "logs") and event["status"] == 200:
            view.rest_logs.append(event)

    def plays(self, role: str) -> bool:
        """Whether the subject has this role. `begin` names the subject's roles; without it, all are taken for its own."""
        begin = self.history.begin
        roles = None if begin is None else begin["roles"]
        return roles is None or role in roles

    def is_calm(self, before: Event | None = None) -> bool:
        """Whether nothing was started, killed, stopped, paused or taken away, up to an event or ever."""
        return not self.disturbances or (before is not None and before.seq < self.disturbances[0].seq)

    @cached_property
    def end(self) -> Event | None:
        return next(self.history.of("end"), None)

    def was_waited_for(self, run: str) -> bool:
        """Whether the history says that this run was waited for to the last: its end names the run in `waited`, or an
        expectation that it ends was given its whole deadline and timed out."""
        waited = None if self.end is None else self.end["waited"]
        if waited is True or (isinstance(waited, list | tuple) and run in waited):
            return True
        return run in self._timed_out

    @cached_property
    def _timed_out(self) -> frozenset[str]:
        found = set()
        for event in self.history.of("expectation"):
            what = event["expectation"] if isinstance(event["expectation"], Mapping) else {}
            if event["state"] == "timed out" and what.get("is") in TERMINAL and "step" not in what:
                found.add(self._aliases.get(str(what.get("run")), ""))
        return frozenset(found)

    @property
    def is_drained(self) -> bool:
        """Whether all topics were read to their ends once the rows had come to rest, so that absence is proof: the end
        of the history says so in `drained`."""
        return self.end is not None and self.end["drained"] is True

    @cached_property
    def agent_records(self) -> Mapping[str, Mapping[str, Any]]:
        """The agents' records by their names in the world, as far as the history tells them."""
        begin = self.history.begin
        told = None if begin is None else begin["agent_records"]
        found: dict[str, Mapping[str, Any]] = dict(told) if isinstance(told, Mapping) else {}
        for event in self.history.of("agent"):
            if isinstance(event["record"], Mapping) and event["registered"]:
                found[str(event["record"].get("name"))] = event["record"]
        return found

    def of_plans(self) -> Iterator[tuple[RunView, Plan]]:
        """Runs with a sound plan, when the subject has the executor."""
        if self.plays("consumer"):
            for run in self.runs.values():
                if run.plan is not None:
                    yield run, run.plan

    @cached_property
    def calls(self) -> list[tuple[Event, Event | None]]:
        """Calls of agents, each with its answer."""
        answers = {event["call"]: event for event in self.history if event.source == "agent" and event.kind == "answer"}
        return [(event, answers.get(event["call"])) for event in self.history.of("call")]

    @cached_property
    def calls_of_task(self) -> dict[str, list[tuple[Event, Event | None]]]:
        found: dict[str, list[tuple[Event, Event | None]]] = {}
        for call, answer in self.calls:
            found.setdefault(str(call["task_id"]), []).append((call, answer))
        return found

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Every task, by whomever, by its id; the first run that used it."""
        found: dict[str, Task] = {}
        for run in self.runs.values():
            for task in run.all_tasks:
                found.setdefault(task.task_id, task)
        return found


def views(history: History) -> Views:
    """The views of a history. They are kept beside its own cached views, since every checker asks for them."""
    kept = history.__dict__.get(_SOURCE_VIEWS)
    if kept is None:
        kept = Views(history)
        history.__dict__[_SOURCE_VIEWS] = kept
    assert isinstance(kept, Views)
    return kept
