"""A generated case carried out by the engine alone, in memory: agents, acts and disorder as a stack would bring them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from harness.generation import Case
from harness.oracle import Observed, Path, Row, Task
from harness.oracle.answers import AgentScript, Answer
from system.definitions import load_definition
from system.engine.decide import decide, restore
from system.engine.decisions import ClearTimer, Decision, PublishTask, SetTimer, StepChanged, StepSuperseded
from system.engine.events import BranchTimedOut, CancellationRequested, Event, ExecutionRequested, ResultReceived
from system.engine.state import RunState, StepRecord

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_MOST_EVENTS = 20_000


class Driven:
    """One run of a case; `carry_out` brings it to its end."""

    def __init__(self, case: Case, seed: int = 0, deaths: int = 0) -> None:
        """`deaths`: after every so many events the run is read back from its rows; 0 for never."""
        self.case = case
        self.deaths = deaths
        self.random = random.Random(seed)
        self.now = START
        self.state = RunState("run-1", "PENDING", load_definition(case.workflow), dict(case.input), START, clock=START)
        self.scripts = {name: AgentScript.of(name, written) for name, written in case.agents.items()}
        self.calls: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.released: set[str] = set()
        self.tasks: dict[str, PublishTask] = {}
        self.held: list[tuple[str, str, Answer]] = []
        self.ready: list[tuple[str, str, Answer]] = []
        self.slow: list[tuple[str, str, Answer]] = []
        self.timers: dict[str, datetime] = {}
        self.rows: dict[tuple[str, int], StepRecord] = {}
        self.past: list[Event] = []
        self.acts = list(case.whole_timeline)

    def carry_out(self) -> Observed:
        for count in range(_MOST_EVENTS):
            if self.deaths and count % self.deaths == self.deaths - 1:
                self._die()
            if self._act() or self._answer() or self._let_time_pass():
                continue
            break
        else:
            raise AssertionError(f"the run did not come to rest within {_MOST_EVENTS} events")
        assert not self.acts, f"never came about: {self.acts[0]}"
        ended = self.state.status if self.state.status in ("COMPLETED", "FAILED", "CANCELLED") else None
        return Observed(ended, self.state.error_message, self._rows(), self._tasks())

    def paths(self) -> dict[Path, StepRecord]:
        """The present records by where they stand."""
        return {self._path(record): record for record in self.state.steps.values()}

    def _path(self, record: StepRecord) -> Path:
        above = self._path(self.state.steps[record.parent]) if record.parent is not None else ()
        place = record.iteration if record.iteration is not None else record.branch
        return (*above, (place, record.step_id))

    def _rows(self) -> list[Row]:
        return [
            Row(record.step_id, record.status, record.input_data, record.output_data, record.error_message)
            for record in self.rows.values()
        ]

    def _tasks(self) -> list[Task]:
        return [Task(one.task_id, one.agent_name, one.input_data) for one in self.tasks.values()]

    def feed(self, event: Event) -> None:
        self.state, decisions = decide(self.state, event, self.now)
        self.past.append(event)
        self._follow(decisions)

    def _follow(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case StepChanged(record=record):
                    self.rows[record.path, record.generation] = record
                case StepSuperseded(path=path, generation=generation):
                    self.rows.pop((path, generation), None)
                case SetTimer(path=path, due_at=due_at):
                    self.timers[path] = due_at
                case ClearTimer(path=path):
                    self.timers.pop(path, None)
                case PublishTask():
                    self.tasks[decision.task_id] = decision
                    self._call(decision)

    def _call(self, task: PublishTask) -> None:
        name = task.agent_name
        script = self.scripts[name]
        answer = script.answer(task.input_data, self.calls[name])
        self.calls[name] += answer.calls
        waiting = (task.task_id, name, answer)
        if answer.seconds > 1:
            self.slow.append(waiting)
        elif "held" in script.entries[0] and name not in self.released:
            self.held.append(waiting)
        else:
            self.ready.append(waiting)

    def _answer(self) -> bool:
        if not self.ready:
            return False
        task_id, name, answer = self.ready.pop(self.random.randrange(len(self.ready)))
        self.answered[name] += 1
        self.feed(ResultReceived(task_id, answer.succeeded, answer.output, answer.said or "it did not go well"))
        return True

    def _let_time_pass(self) -> bool:
        if self.timers and self.state.status == "RUNNING":
            path, due_at = min(self.timers.items(), key=lambda timer: (timer[1], timer[0]))
            del self.timers[path]
            self.now = max(self.now, due_at)
            self.feed(BranchTimedOut(path))
            return True
        late = [one for one in self.slow if one[2].seconds < 1000]
        if late:
            self.slow = []
            self.ready += late
            return True
        return False

    def _act(self) -> bool:
        if not self.acts or not self._holds(self.acts[0].get("when")):
            return False
        act = self.acts.pop(0)
        ((word, arguments),) = ((key, value) for key, value in act.items() if key != "when")
        self.now += timedelta(milliseconds=1)
        getattr(self, f"_do_{word}")(arguments if isinstance(arguments, Mapping) else {"run": arguments})
        return True

    def _holds(self, when: Any) -> bool:
        if when is None:
            return True
        if "all" in when:
            return all(map(self._holds, when["all"]))
        if "agent" in when:
            if "calls" in when:
                return self.calls[when["agent"]] >= when["calls"]["at_least"]
            return self.answered[when["agent"]] >= when["answered"]["at_least"]
        if "step" in when:
            found = [record.status for record in self.state.steps.values() if record.step_id == when["step"]]
            return when["is"] in found
        return bool(self.state.status == when["is"])

    def _do_execute(self, _: Any) -> None:
        self.feed(ExecutionRequested(self.now))

    def _do_cancel(self, _: Any) -> None:
        self.feed(CancellationRequested(self.now))

    def _do_release(self, arguments: Any) -> None:
        name = arguments.get("agent", arguments.get("run"))
        self.released.add(name)
        self.ready += [one for one in self.held if one[1] == name]
        self.held = [one for one in self.held if one[1] != name]

    def _do_retry(self, arguments: Any) -> None:
        assert self.state.status in ("FAILED", "CANCELLED")
        self._reread(status="PENDING", generation=self.state.generation + 1, error_message=None, accepted_at=self.now)
        self.feed(ExecutionRequested(self.now, arguments.get("from")))

    def _do_answer(self, arguments: Any) -> None:
        (task,) = [one for one in self.tasks.values() if one.step_id == arguments["step"]][-1:]
        succeeded = "output" in arguments
        self.feed(ResultReceived(task.task_id, succeeded, arguments.get("output"), arguments.get("error")))

    def _do_duplicate(self, arguments: Any) -> None:
        kinds = {"results": ResultReceived, "requests": ExecutionRequested}
        if arguments["topic"] in kinds:
            for event in [one for one in self.past if isinstance(one, kinds[arguments["topic"]])]:
                for _ in range(arguments["times"]):
                    self.feed(event)
        else:
            for task in list(self.tasks.values()):
                self._call(task)

    def _die(self) -> None:
        if self.state.status == "RUNNING":
            self._reread()

    def _reread(self, **changes: Any) -> None:
        bare = replace(self.state, steps={}, frames={}, in_flight={}, **changes)
        current = list(self.state.steps.values())
        self.state, _ = restore(bare, current, self.now)
