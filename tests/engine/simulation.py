"""One run, driven through `decide` event by event, with every invariant checked after each."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from system.definitions import load_definition
from system.engine.decide import decide, restore
from system.engine.decisions import (
    ClearTimer,
    Decision,
    PublishTask,
    RunChanged,
    SetTimer,
    StepChanged,
    StepSuperseded,
)
from system.engine.events import (
    BranchTimedOut,
    CancellationRequested,
    Event,
    ExecutionRequested,
    ResultReceived,
    RunTimedOut,
)
from system.engine.state import RunState, StepRecord
from tests.engine.interpretation import Execution, Executions, Key
from tests.engine.invariants import INVARIANTS, Observation, snapshot
from tests.engine.strategies import Case

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_MOST_EVENTS = 5000

Outcome = dict[str, Any]


@dataclass
class Rows:
    """The rows that the decisions so far have written, as the executor's database would hold them."""

    run: RunChanged | None = None
    steps: dict[tuple[str, int], StepRecord] = field(default_factory=dict)
    superseded: set[tuple[str, int]] = field(default_factory=set)

    def write(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, RunChanged):
                self.run = decision
            elif isinstance(decision, StepSuperseded):
                key = (decision.path, decision.generation)
                assert key in self.steps, "only what has a row can be superseded"
                self.superseded.add(key)
            elif isinstance(decision, StepChanged):
                key = (decision.record.path, decision.record.generation)
                assert key not in self.superseded, "history does not change"
                self.steps[key] = decision.record

    def current(self) -> list[StepRecord]:
        return [record for key, record in self.steps.items() if key not in self.superseded]


class Simulation:
    """A run and the world around it: its rows, timers, tasks and a clock. What the world does is drawn from `seed`."""

    def __init__(self, case: Case, seed: int = 0, *, checked: bool = True) -> None:
        self.case = case
        self.random = random.Random(seed)
        self.checked = checked
        self.now = START
        self.state = RunState("run-1", "PENDING", load_definition(case.definition), case.input_data, START, clock=START)
        self.rows = Rows()
        self.timers: dict[str, datetime] = {}
        self.tasks: dict[str, PublishTask] = {}
        self.unanswered: list[str] = []
        self.past: list[Event] = []
        self.retries = 0

    def feed(self, event: Event) -> list[Decision]:
        """Give one event to the engine, write what it decides, and check every invariant."""
        before = self.state
        frozen = snapshot(before) if self.checked else b""
        after, decisions = decide(before, event, self.now)
        self.state = after
        self.rows.write(decisions)
        if self.checked:
            seen = Observation(before, frozen, event, self.now, after, decisions, self.rows.current(), dict(self.tasks))
            for check in INVARIANTS:
                check(seen)
        for decision in decisions:
            if isinstance(decision, PublishTask):
                self.tasks[decision.task_id] = decision
                self.unanswered.append(decision.task_id)
            elif isinstance(decision, SetTimer):
                self.timers[decision.path] = decision.due_at
            elif isinstance(decision, ClearTimer):
                self.timers.pop(decision.path, None)
        self.past.append(event)
        return decisions

    # what the world does

    def start(self) -> None:
        self.feed(ExecutionRequested(self.now))

    def answer(self, task_id: str) -> None:
        """An agent answers a task, by the case's behaviour."""
        task = self.tasks[task_id]
        answer = self.case.behaviour.answer(task.step_id, task.input_data, self.retries)
        if task_id in self.unanswered:
            self.unanswered.remove(task_id)
        self.feed(ResultReceived(task_id, answer.succeeded, answer.output, answer.error_message))

    def answer_any(self) -> None:
        self.answer(self.random.choice(self.unanswered))

    def repeat_any(self) -> None:
        """Something that was delivered before is delivered again, a result perhaps with other contents."""
        event = self.random.choice(self.past)
        if isinstance(event, ResultReceived) and self.random.random() < 0.5:
            event = replace(event, succeeded=not event.succeeded, output={"forged": True}, error_message="forged")
            # A forged answer to an open task would be its first answer, and a true one.
            if event.task_id in self.state.in_flight:
                return
        self.feed(event)

    def cancel(self) -> None:
        self.feed(CancellationRequested(self.now))

    def cancel_row(self) -> None:
        """The API sets the row; the message is yet to come."""
        if self.state.status in ("PENDING", "RUNNING"):
            self._reread(status="CANCELLED")

    def retry(self, resume_from_step: str | None = None, *, counted: bool = True) -> None:
        """The API, or somebody who does not count generations, sets the row to PENDING and publishes the request."""
        if self.state.status not in ("FAILED", "CANCELLED"):
            return
        self.now += timedelta(seconds=1)
        self.retries += 1
        generation = self.state.generation + (1 if counted else 0)
        accepted_at = self.now if counted else self.state.accepted_at
        self._reread(status="PENDING", generation=generation, error_message=None, accepted_at=accepted_at)
        self.rows.run = None
        self.feed(ExecutionRequested(self.now, resume_from_step))

    def die(self) -> None:
        """The process that holds the run dies, and another reads its rows."""
        self._reread()

    def fire_timer(self) -> None:
        """A timer that is due is delivered; the clock goes on to it first."""
        path, due_at = self.random.choice(sorted(self.timers.items()))
        self.now = max(self.now, due_at)
        self.feed(BranchTimedOut(path))

    def fire_early(self) -> None:
        self.feed(BranchTimedOut(self.random.choice([*sorted(self.timers), "no/such:branch", ""])))

    def move_clock(self) -> None:
        self.now += timedelta(seconds=self.random.choice([-3600, -1, 0.001, 1, 3]))

    def _reread(self, **changes: Any) -> None:
        bare = replace(self.state, steps={}, frames={}, in_flight={}, **changes)
        self.state, decisions = restore(bare, self.rows.current(), self.now)
        assert decisions == [], "rows hold all that follows from what was decided"

    # whole lives

    def run_to_end(self) -> None:
        """Answer every task, in an order drawn from the seed, until the run has ended."""
        for _ in range(_MOST_EVENTS):
            if self.state.status != "RUNNING":
                return
            self.answer_any()
        raise AssertionError(f"the run did not end within {_MOST_EVENTS} events")

    def live(self, events: int, *, most_retries: int = 4) -> None:
        """Let the world do its worst for a while, then answer all that is left."""
        top_level = [*self.state.definition.chain] if self.state.definition is not None else []
        for _ in range(events):
            happening = self.random.choices(
                ["answer", "repeat", "foreign", "cancel", "cancel_row", "die", "timer", "early", "clock", "deadline"],
                [40, 10, 3, 6, 3, 8, 6, 3, 6, 0.5],
            )[0]
            if (
                self.state.status in ("FAILED", "CANCELLED")
                and self.retries < most_retries
                and self.random.random() < 0.6
            ):
                self.retry(self.random.choice([None, None, *top_level]), counted=self.random.random() < 0.7)
            elif happening == "answer" and self.unanswered:
                self.answer_any()
            elif happening == "repeat" and self.past:
                self.repeat_any()
            elif happening == "foreign":
                self.feed(ResultReceived("task of another run", True, {"seen": "foreign"}))
            elif happening == "cancel":
                self.cancel()
            elif happening == "cancel_row":
                self.cancel_row()
            elif happening == "die":
                self.die()
            elif happening == "timer" and self.timers:
                self.fire_timer()
            elif happening == "early":
                self.fire_early()
            elif happening == "clock":
                self.move_clock()
            elif happening == "deadline":
                self.feed(RunTimedOut(60))
        if self.state.status == "CANCELLED":
            self.cancel()
        self.run_to_end()

    def outcome(self) -> Outcome:
        """Status and message of the run; status, input, output and message of each step."""
        return {
            "status": self.state.status,
            "error_message": self.state.error_message,
            "steps": {
                path: (record.status, record.input_data, record.output_data, record.error_message)
                for path, record in self.state.steps.items()
            },
        }

    def wording(self) -> dict[Key, str | None]:
        """The messages of the steps, by where they stand."""
        return {key_of(self.state, record): record.error_message for record in self.state.steps.values()}

    def executions(self) -> Executions:
        """What became of each step, by where it stands, as the interpretation tells it."""
        return {
            key_of(self.state, record): Execution(record.status, record.input_data, record.output_data)
            for record in self.state.steps.values()
        }


def key_of(state: RunState, record: StepRecord) -> Key:
    """Where a record stands, in the interpretation's terms."""
    above = key_of(state, state.steps[record.parent]) if record.parent is not None else ()
    return (*above, (record.step_id, record.iteration, record.branch))
