"""Events of a history in a few words, with the scenario's own names in the place of ids."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from harness.history import Event, History
from harness.report.model import Lane

_MOST_SHOWN: Final = 160
_MOST_STEPS: Final = 12
_OBJECTS: Final = ("method", "path", "workflow", "role", "group", "run", "agent", "step", "topic")
_DONE: Final = ("done", "held", "released", "published")
_UUID: Final = re.compile(r"\b([0-9a-fA-F]{8})-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b")

_LANES: Final[Mapping[str, Lane]] = {
    "rest": "api",
    "kafka": "kafka",
    "database": "executor",
    "agent": "agents",
    "process": "processes",
    "harness": "scenario",
}


def lane(event: Event) -> Lane:
    """Where an event is drawn."""
    return "processes" if event.kind in ("gap", "gap_ended", "fault") else _LANES[event.source]


class Wording:
    """Knows the names of one history: runs by alias, agents by their name in the scenario, tasks by their beginning."""

    def __init__(self, history: History) -> None:
        begin = history.begin
        agents = begin["agents"] if begin is not None else None
        self._names: dict[str, str] = {}
        self.runs: dict[str, str] = {}
        if isinstance(agents, Mapping):
            self._names |= {world: name for name, world in agents.items() if isinstance(world, str)}
        for run, made in history.runs.items():
            alias, plan = made["alias"], made["plan"]
            if isinstance(alias, str):
                self._names[run] = self.runs[run] = alias
            if isinstance(plan, Mapping) and isinstance(plan.get("name"), str) and isinstance(made["workflow"], str):
                self._names[plan["name"]] = made["workflow"]
        # Longer names first, so that none is replaced within another.
        known = sorted(filter(None, self._names), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._requests = {event["request"]: event for event in history.of("request")}
        self._kinds: Mapping[str, Callable[[Event], str]] = {
            "begin": lambda event: f"scenario {event['scenario']} begins{_drawn(event)}",
            "end": lambda event: f"the scenario ends: {event['reason']}",
            "run": lambda event: f"{self._run(event)} of workflow {event['workflow']}, via {event['via']}",
            "act": _act,
            "agent": lambda event: f"agent {event['agent']}{'' if event['registered'] else ', not registered'}",
            "expectation": _expectation,
            "fault": _fault,
            "gap": lambda event: f"not watched: {event['of']} ({event['reason']})",
            "gap_ended": lambda event: f"watched again: {event['of']}",
            "request": lambda event: f"{event['method']} {event['path']}",
            "message": self._message,
            "committed": lambda event: (
                f"{event['group']} committed {event['topic']}[{event['partition']}] at {event['offset']}"
            ),
            "run_row": lambda event: f"{self._run(event)}: {_status(event['row'])}",
            "step_row": self._step_row,
            "snapshot": self._snapshot,
            "call": lambda event: f"call {event['agent']}, task {event['task_id']}",
        }

    def __call__(self, event: Event) -> str:
        """The event in a few words, of at most 160 characters, on one line."""
        if event.kind == "answer":
            told = self._agents_answer(event) if event.source == "agent" else self._rest_answer(event)
        elif event.source == "process":
            code = event["exit_code"]
            told = f"{event['process']} {event.kind}{f' with {code}' if code is not None else ''}"
        elif event.kind in self._kinds:
            told = self._kinds[event.kind](event)
        else:
            told = f"{event.kind} {_short(event.data)}"
        return self.shortened(told)

    def named(self, text: str) -> str:
        """A text with names in the place of the ids that the scenario knows, and other ids cut to their beginning."""
        if self._known is not None:
            text = self._known.sub(lambda found: self._names[found.group()], text)
        return _UUID.sub(r"\1…", text)

    def shortened(self, text: str) -> str:
        """A text on one line, named, and bounded."""
        return _cut(" ".join(self.named(text).split()))

    def _run(self, event: Event) -> str:
        name = self.runs.get(event.run or "")
        return f"run {name}" if name is not None else str(event.run)

    def _message(self, event: Event) -> str:
        value, topic = event["value"], event["topic"]
        by = " (sent by the harness)" if event["by"] == "harness" else ""
        if not isinstance(value, Mapping):
            return f"{topic}: no object, {event['raw']!r}{by}"
        if topic == "tasks":
            told = f"task {value.get('task_id')} for {value.get('agent_name')}"
        elif topic == "results":
            told = f"{value.get('status')} of task {value.get('task_id')}"
        elif topic == "updates":
            is_run = value.get("step_id") == value.get("run_id")
            told = f"update: {'run' if is_run else 'step'} {value.get('step_id')} {value.get('status')}"
        elif topic == "requests":
            resume = value.get("resume_from_step")
            told = f"execution request for {value.get('run_id')}{f', from step {resume}' if resume is not None else ''}"
        elif topic == "cancellations":
            told = f"cancellation of {value.get('run_id')}"
        else:
            told = f"{topic}: from {event['from_topic']}, {_short(value)}"
        return f"{told}{by}"

    def _step_row(self, event: Event) -> str:
        row = event["row"]
        if not isinstance(row, Mapping):
            return f"step {event['step_id']} of {self._run(event)}: its row vanished"
        error = row.get("error_message")
        return f"step {row.get('step_id')}: {row.get('status')}{f' ({error})' if error else ''}"

    def _snapshot(self, event: Event) -> str:
        rows = [row for row in event["step_rows"] or () if isinstance(row, Mapping)]
        steps = ", ".join(f"{row.get('step_id')} {row.get('status')}" for row in rows[:_MOST_STEPS])
        more = f" and {len(rows) - _MOST_STEPS} more" if len(rows) > _MOST_STEPS else ""
        return f"as read after #{event['because']}: {self._run(event)} {_status(event['run_row'])}; {steps or 'no step'}{more}"

    def _rest_answer(self, event: Event) -> str:
        asked = self._requests.get(event["request"])
        path = f" to {asked['method']} {asked['path']}" if asked is not None else ""
        body = event["body"]
        status = (
            f", status {body['status']}" if isinstance(body, Mapping) and isinstance(body.get("status"), str) else ""
        )
        return f"{event['status'] if event['status'] is not None else 'no answer'}{path}{status}"

    def _agents_answer(self, event: Event) -> str:
        if event["ending"] != "answered":
            return f"{event['agent']}: {event['ending']}, task {event['task_id']}"
        came = f"error {_short(event['error'])}" if event["error"] is not None else _short(event["output"])
        return f"{event['agent']} answers {event['status']}: {came}"


def _act(event: Event) -> str:
    arguments, outcome = event["arguments"], event["outcome"]
    # What an act is about goes first, as people say it: kill consumer, cancel r.
    names: list[str] = []
    rest: Any = arguments
    if isinstance(arguments, Mapping):
        names = [str(arguments[name]) for name in _OBJECTS if isinstance(arguments.get(name), str)]
        rest = {name: value for name, value in arguments.items() if name not in _OBJECTS and value not in (None, {})}
    came = f" → {_short(outcome)}" if outcome not in (None, event["act"], *_DONE) else ""
    return " ".join(filter(None, (str(event["act"]), *names, f"({_short(rest)})" if rest else ""))) + came


def _fault(event: Event) -> str:
    names = f" ({', '.join(map(str, event['names']))})" if event["names"] else ""
    return f"fault {event['state']}: {event['do']} of {event['process']} at {event['at_point']}{names}"


def _expectation(event: Event) -> str:
    return f"{event['mode']} {event['state']}: {_short(event['expectation'])}; found {_short(event['found'])}"


def _drawn(event: Event) -> str:
    return f" with {_short(event['drawn'])}" if event["drawn"] else ""


def _status(row: Any) -> str:
    if not isinstance(row, Mapping):
        return "no row"
    error = row.get("error_message")
    return f"{row.get('status')}{f' ({error})' if error else ''}"


def _short(value: Any) -> str:
    """A value as people write it: `a: 1, b: [2, 3]`."""
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, Mapping) and value:
        return _cut(", ".join(f"{name}: {_inner(one)}" for name, one in value.items()))
    return _inner(value)


def _inner(value: Any) -> str:
    if isinstance(value, str):
        return _cut(value)
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
