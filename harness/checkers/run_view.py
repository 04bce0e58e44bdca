"""What is known of one run: reads of its row, its step rows, its messages. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from harness.checkers.schemas import fits
from harness.history import Event, History
from harness.oracle.plan import NotAPlan, Plan
from harness.oracle.references import references_in
from harness.oracle.values import canonical

TERMINAL = frozenset(("COMPLETED", "FAILED", "CANCELLED"))
ENDED = frozenset(("COMPLETED", "FAILED", "CANCELLED", "SKIPPED"))

LAG_SECONDS = 2.0
"""How much later than it happened something may be seen. Rows and topics are read all the time, so that an undisturbed
harness is behind by milliseconds; only what is further apart counts as "after"."""

Reader = Literal["poll", "snapshot", "rest"]


@dataclass(frozen=True, slots=True)
class Read:
    """A state that somebody read: at some moment after `since_seq`/`since_at` and before `seq`/`at`."""

    row: Mapping[str, Any]
    reader: Reader
    seq: int
    at: float
    since_seq: int | None
    since_at: float

    @property
    def status(self) -> str:
        return str(self.row.get("status"))

    def is_before(self, other: Read) -> bool:
        """Whether this state was read before the other one was, for certain: rows and snapshots come from one reader, in the
        order of its reads; of others, when this one had ended before the other began."""
        if "rest" not in (self.reader, other.reader):
            return self.seq < other.seq
        if other.since_seq is not None:
            return self.seq < other.since_seq
        return self.at < other.since_at


@dataclass(frozen=True, slots=True)
class Task:
    """A task by its id: `messages` are all copies, first seen first."""

    task_id: str
    agent: str
    input: Any
    key: str
    messages: tuple[Event, ...]

    @property
    def first(self) -> Event:
        return self.messages[0]


@dataclass(frozen=True, slots=True)
class Row:
    """A step row through time: (seq, row) whenever it was seen; `latest` is the last of them."""

    id: Any
    seen: tuple[tuple[int, Mapping[str, Any]], ...]

    @property
    def latest(self) -> Mapping[str, Any]:
        return self.seen[-1][1]

    @property
    def step(self) -> str:
        return str(self.latest.get("step_id"))

    @property
    def last_seq(self) -> int:
        return self.seen[-1][0]

    def first_seen(self, status: str) -> int | None:
        """seq of the first sight of a status."""
        return next((seq for seq, row in self.seen if row.get("status") == status), None)


@dataclass
class RunView:
    """All that is known of one run."""

    id: str
    history: History
    made: Event | None
    reads: list[Read] = field(default_factory=list)
    rest_steps: list[Event] = field(default_factory=list)
    rest_logs: list[Event] = field(default_factory=list)
    snapshots: list[Event] = field(default_factory=list)
    results: list[Event] = field(default_factory=list)
    updates: list[Event] = field(default_factory=list)
    requests: list[Event] = field(default_factory=list)
    cancellations: list[Event] = field(default_factory=list)
    cancel_asks: list[Event] = field(default_factory=list)
    retry_asks: list[Event] = field(default_factory=list)
    task_messages: list[Event] = field(default_factory=list)
    _rows: dict[Any, list[tuple[int, Mapping[str, Any]]]] = field(default_factory=dict)

    def see_step(self, seq: int, row: Mapping[str, Any]) -> None:
        """Note a sight of a step's row."""
        self._rows.setdefault(row.get("id"), []).append((seq, row))

    @cached_property
    def rows(self) -> list[Row]:
        """Step rows, in the order of their first appearance."""
        return [Row(key, tuple(seen)) for key, seen in self._rows.items()]

    def rows_of(self, step: str) -> list[Row]:
        """The rows of one step."""
        return self._rows_by_step.get(step, [])

    @cached_property
    def _rows_by_step(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.step, []).append(row)
        return found

    @cached_property
    def has_valid_plan(self) -> bool:
        """Whether the plan is valid against the contract's schema."""
        return self.made is not None and fits("workflow_plan", self.made["plan"])

    @cached_property
    def plan(self) -> Plan | None:
        """The plan, when it is valid against the contract's schema and sound in its structure: what comes of another one
        is what FAI-06 and REF-15 are about, and nothing else is told of it."""
        if self.made is None or not self.has_valid_plan:
            return None
        try:
            plan = Plan.of(_as_json(self.made["plan"]))
        except NotAPlan:
            return None
        return None if any(_reads_a_loop_outside(plan, step) for step in plan.steps) else plan

    @cached_property
    def input(self) -> Any:
        """What the run was started with."""
        return {} if self.made is None or self.made["input"] is None else _as_json(self.made["input"])

    @cached_property
    def tasks(self) -> list[Task]:
        """The subject's tasks, first seen first. Copies that differ count by the first one seen (MSG-14 is judged apart)."""
        return grouped(event for event in self.task_messages if event["by"] != "harness")

    @cached_property
    def all_tasks(self) -> list[Task]:
        """Tasks by whomever: what the bridge was asked for."""
        return grouped(self.task_messages)

    @cached_property
    def tasks_by_key(self) -> dict[str, list[Task]]:
        """Agent and input, as the key of a task → the subject's tasks with them."""
        found: dict[str, list[Task]] = {}
        for task in self.tasks:
            found.setdefault(task.key, []).append(task)
        return found

    @cached_property
    def copies_of_task(self) -> Mapping[str, int]:
        """task_id → how often the task was published, by whomever."""
        return {task.task_id: len(task.messages) for task in self.all_tasks}

    @cached_property
    def results_of_task(self) -> dict[str, list[Event]]:
        """task_id → results that are objects and name this run."""
        found: dict[str, list[Event]] = {}
        for event in self.results:
            if isinstance(event["value"], Mapping) and event["value"].get("run_id") == self.id:
                found.setdefault(str(event["value"].get("task_id")), []).append(event)
        return found

    @cached_property
    def texts_of_updates(self) -> Mapping[int, str]:
        """seq of an update → a text that equal ones share."""
        values = ((event.seq, event["value"]) for event in self.updates)
        return {
            seq: repr(sorted(value.items(), key=str)) if isinstance(value, Mapping) else "" for seq, value in values
        }

    @cached_property
    def is_retried(self) -> bool:
        """Whether a retry may have been accepted, by whatever way it was asked for."""
        return bool(self.retry_asks)

    @cached_property
    def resumes_from(self) -> list[str]:
        """Steps that retries named as resume_from_step."""
        found = []
        for event in self.retry_asks:
            given = event["body"] if event.kind == "request" else event["arguments"]
            given = (
                given if isinstance(given, Mapping) else event["value"] if isinstance(event["value"], Mapping) else {}
            )
            step = given.get("resume_from_step", given.get("from"))
            if step is not None:
                found.append(str(step))
        return found

    @property
    def last(self) -> Read | None:
        """The run as the database was last read."""
        return next((read for read in reversed(self.reads) if read.reader != "rest"), None)

    @property
    def final(self) -> str | None:
        """The run's last status, when it is a terminal one."""
        return self.last.status if self.last is not None and self.last.status in TERMINAL else None

    @cached_property
    def is_complete(self) -> bool:
        """Whether the run has ended and all its step rows were read after that, so that what has no row has none."""
        if self.final is None or self.last is None:
            return False
        end = next(self.history.of("end"), None)
        if end is not None and end["drained"] is True:
            return True
        seen = self.history.events[-1].at - self.last.at
        by_snapshot = any(
            snapshot["run_row"] is not None and snapshot["run_row"].get("status") in TERMINAL
            for snapshot in self.snapshots
        )
        return not self.is_retried and (by_snapshot or seen > LAG_SECONDS)

    @property
    def seqs(self) -> tuple[int, ...]:
        """The last read of the run's row, as proof."""
        return () if self.last is None else (self.last.seq,)

    def first_read(self, *statuses: str) -> Read | None:
        """The first read of one of these statuses."""
        return next((read for read in self.reads if read.status in statuses), None)


def _as_json(value: Any) -> Any:
    """A value as it was sent: the harness may hold keys that are no texts, such as true, which JSON writes as texts."""
    return json.loads(json.dumps(value))


def grouped(messages: Iterable[Event]) -> list[Task]:
    """Task messages by their ids."""
    grouped: dict[str, list[Event]] = {}
    for event in messages:
        if isinstance(event["value"], Mapping):
            grouped.setdefault(str(event["value"].get("task_id")), []).append(event)
    found = []
    for task_id, events in grouped.items():
        value = events[0]["value"]
        agent, given = str(value.get("agent_name")), value.get("input_data")
        found.append(Task(task_id, agent, given, canonical([agent, given]), tuple(events)))
    return found


def _reads_a_loop_outside(plan: Plan, step: str) -> bool:
    """Whether a mapping has ``${loop.…}`` where no loop is (REF-15)."""
    mapping = plan.steps[step].get("input_mapping") or {}
    return not plan.loops_around(step) and any(one.source == "loop" for one in references_in(mapping, plan.steps))
