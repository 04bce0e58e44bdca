"""The present state of a scenario's history, kept up to date event by event, so that conditions are judged fast."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.history import Event


@dataclass
class RunView:
    """What has been seen of one run."""

    run_id: str
    plan: Mapping[str, Any] = field(default_factory=dict)
    row: Mapping[str, Any] | None = None
    steps: dict[Any, Mapping[str, Any]] = field(default_factory=dict)
    """id → the row as it was last seen, in the order of first appearance."""

    tasks: dict[str, Event] = field(default_factory=dict)
    """task_id → the first message that asked it."""

    updates: list[Event] = field(default_factory=list)
    rest_status: str | None = None

    def rows_of(self, step: str) -> list[Mapping[str, Any]]:
        """The step's rows in the order in which they began."""
        found = [row for row in self.steps.values() if row["step_id"] == step]
        return sorted(found, key=began)

    def began(self) -> list[str]:
        """The ids of the steps in the order in which their executions began."""
        rows = [row for row in self.steps.values() if row.get("started_at") is not None]
        return [row["step_id"] for row in sorted(rows, key=began)]


@dataclass
class AgentView:
    """What has been seen of one agent."""

    inputs: list[Any] = field(default_factory=list)
    open_calls: dict[int, Event] = field(default_factory=dict)
    answered: int = 0
    most_at_once: int = 0
    keys: dict[Any, set[Any]] = field(default_factory=lambda: defaultdict(set))


class View:
    """Fed by a history's writer; judged under `changed`, which is notified at every event."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.runs: dict[str, RunView] = {}
        self.agents: dict[str, AgentView] = defaultdict(AgentView)
        self.messages: dict[str, list[Event]] = defaultdict(list)
        self.committed: dict[tuple[str, int], int] = {}
        """(topic, partition) → the highest offset that a group of the subject has committed, as far as it was seen."""

        self.about_runs = 0
        """How many messages, rows and calls of the runs there were."""

        self.row_changes = 0
        """How often a row was seen changed."""

        self.count = 0
        self._requests: dict[int, Event] = {}

    def hear(self, event: Event) -> None:
        """Take in an event; called in the order of the history."""
        with self.changed:
            self.count += 1
            if event.source in ("kafka", "database", "agent") and event.run is not None and event.kind != "snapshot":
                self.about_runs += 1
            self.row_changes += event.kind in ("run_row", "step_row")
            take = getattr(self, f"_take_{event.kind}", None)
            if take is not None:
                take(event)
            self.changed.notify_all()

    def run(self, run_id: str) -> RunView:
        """What has been seen of a run; empty for one of which nothing was seen."""
        return self.runs.setdefault(run_id, RunView(run_id))

    def is_consumed(self, message: Event) -> bool:
        """Whether a group has committed an offset behind a message."""
        committed = self.committed.get((message["topic"], message["partition"]), 0)
        return committed > int(message["offset"])

    def busy_calls(self) -> bool:
        """Whether a call is not answered yet."""
        return any(agent.open_calls for agent in self.agents.values())

    def _take_run(self, event: Event) -> None:
        if event.run is not None:
            self.run(event.run).plan = event["plan"] or {}

    def _take_run_row(self, event: Event) -> None:
        if event.run is not None:
            self.run(event.run).row = event["row"]

    def _take_step_row(self, event: Event) -> None:
        if event.run is None:
            return
        if event["row"] is None:
            self.run(event.run).steps.pop(event["id"], None)
        else:
            self.run(event.run).steps[event["row"]["id"]] = event["row"]

    def _take_snapshot(self, event: Event) -> None:
        if event.run is None:
            return
        run = self.run(event.run)
        run.row = event["run_row"]
        for row in event["step_rows"]:
            run.steps[row["id"]] = row

    def _take_message(self, event: Event) -> None:
        self.messages[event["topic"]].append(event)
        value = event["value"]
        if event.run is None or not isinstance(value, Mapping):
            return
        if event["topic"] == "tasks" and isinstance(value.get("task_id"), str):
            self.run(event.run).tasks.setdefault(value["task_id"], event)
        elif event["topic"] == "updates":
            self.run(event.run).updates.append(event)

    def _take_committed(self, event: Event) -> None:
        place = (event["topic"], event["partition"])
        self.committed[place] = max(event["offset"], self.committed.get(place, 0))

    def _take_call(self, event: Event) -> None:
        agent = self.agents[event["agent"]]
        agent.inputs.append(event["input"])
        agent.open_calls[event["call"]] = event
        agent.most_at_once = max(agent.most_at_once, len(agent.open_calls))
        agent.keys[event["task_id"]].add(event["idempotency_key"])

    def _take_request(self, event: Event) -> None:
        self._requests[event["request"]] = event

    def _take_answer(self, event: Event) -> None:
        if event.source == "agent":
            agent = self.agents[event["agent"]]
            agent.open_calls.pop(event["call"], None)
            agent.answered += event["ending"] == "answered"
            return
        request = self._requests.pop(event["request"], None)
        body = event["body"]
        is_read = request is not None and request["method"] == "GET" and request["path"] == f"/runs/{event.run}"
        if is_read and event.run is not None and isinstance(body, Mapping) and event["status"] == 200:
            self.run(event.run).rest_status = body.get("status")


def began(row: Mapping[str, Any]) -> tuple[str, int]:
    """Sorts rows of steps by when they began; those that have not begun come last."""
    identity = row.get("id")
    return (str(row.get("started_at") or "~"), identity if isinstance(identity, int) else 0)
