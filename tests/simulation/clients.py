"""The clients of a simulated world: they start runs, and cancel, retry and copy what they have started."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson
from sqlalchemy.exc import SQLAlchemyError

from system.api.database import Uncertain
from system.api.messages import cancellation_request, execution_request, plan_document
from system.api.problems import Problem
from system.ports import Message
from tests.simulation import load
from tests.simulation.checks import ENDED
from tests.simulation.load import Act, PlannedRun
from tests.simulation.processes import READ, TASKS, Api
from tests.simulation.seeded import RUN_IDS

if TYPE_CHECKING:
    from tests.simulation.world import World

_EXECUTION, _CANCELLATION, _ = READ
_UNANSWERED = (SQLAlchemyError, Uncertain)
_LOOK_SECONDS = 0.25
_MOST_LOOKS = 40


class Clients:
    """`started` are all runs that were asked for, `accepted` those of which their client knows it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.started: dict[str, PlannedRun] = {}
        self.accepted: set[str] = set()
        self.waiting = 0
        """How many are not done."""

    def come(self, planned: PlannedRun) -> None:
        """Have a client start a run when its time has come."""
        self.waiting += 1
        self._world.machine.after(planned.at_seconds, None, "a client starts a run", lambda: self._start(planned))

    def copy(self, run_id: str | None, value: int) -> bool:
        """A message, of this run or of any, arrives once more, and in any partition; False when there is none."""
        broker = self._world.broker
        written = [
            received
            for topic in (*READ, TASKS)
            for log in broker.logs[topic]
            for received in log
            if run_id is None or received.key == run_id.encode()
        ]
        if not written:
            return False
        received = written[value % len(written)]
        assert received.key is not None
        assert received.value is not None
        partition = value // len(written) % self._world.shape.partitions
        broker.append(Message(received.topic, received.key, received.value, received.headers), partition)
        return True

    def _start(self, planned: PlannedRun) -> None:
        if not planned.over_api:
            run_id = f"run-{RUN_IDS.uuid4()}"
            self.started[run_id] = planned
            self.accepted.add(run_id)
            plan = orjson.dumps(plan_document(1, load.definition(planned.definition)))
            given = orjson.dumps(planned.input_data)
            self._world.broker.append(execution_request(_EXECUTION, run_id, plan, given, self._world.machine.now()))
            self._act_later(run_id, planned.acts)
            self.waiting -= 1
            return
        self._ask(lambda api: self._execute(api, planned), "a client starts a run")

    def _execute(self, api: Api, planned: PlannedRun) -> None:
        ahead = RUN_IDS.random.getstate()
        run_id = f"run-{RUN_IDS.uuid4()}"
        RUN_IDS.random.setstate(ahead)
        self.started[run_id] = planned
        self._act_later(run_id, planned.acts)
        try:
            accepted = api.execution.start(definition_id(planned.definition), planned.input_data, None)
        except Problem as problem:
            self._world.machine.noted("refused", run_id, problem.status)
            return
        assert accepted.run_id == run_id
        self.accepted.add(run_id)

    def _ask(self, work: Callable[[Api], None], title: str) -> None:
        """A request to the API; one that is not answered is not made again."""
        api = self._world.api
        if not api.process.alive or api.stopping.is_set():
            self._world.machine.after(0.05, None, title, lambda: self._ask(work, title))
            return

        open_ = [title]

        def ended() -> None:
            if open_:
                open_.clear()
                self.waiting -= 1

        def request() -> None:
            try:
                work(api)
            except _UNANSWERED as error:
                self._world.machine.noted("unanswered", title, type(error).__name__)
            finally:
                ended()

        # A process that dies before it has looked at the request ends it as well.
        api.process.at_death.append(ended)
        api.thread(f"/request: {title}", request)

    def _act_later(self, run_id: str, acts: tuple[Act, ...]) -> None:
        if acts:
            self.waiting += 1
            first = acts[0]
            self._world.machine.after(
                first.after_seconds, None, f"a client: {first.kind}", lambda: self._act(run_id, acts, 0)
            )

    def _act(self, run_id: str, acts: tuple[Act, ...], looked: int) -> None:
        act, rest = acts[0], acts[1:]
        run = self._world.run(run_id)
        if act.kind == "retry" and looked < _MOST_LOOKS and (run is None or run["status"] not in ENDED):
            self._world.machine.after(
                _LOOK_SECONDS, None, "a client looks again", lambda: self._act(run_id, acts, looked + 1)
            )
            return
        self._act_later(run_id, rest)
        if act.kind == "cancel message":
            now = self._world.machine.now()
            self._world.broker.append(cancellation_request(_CANCELLATION, run_id, "somebody", None, now))
        elif act.kind == "copy":
            self.copy(run_id, 0)
        else:
            self._ask(lambda api: self._transition(api, run_id, act.kind), f"a client: {act.kind}")
            return
        self.waiting -= 1

    def _transition(self, api: Api, run_id: str, kind: str) -> None:
        try:
            if kind == "cancel":
                api.transitions.cancel(run_id, "no more", "a client")
            else:
                api.transitions.retry(run_id, None, "a client")
        except Problem as problem:
            self._world.machine.noted("refused", kind, run_id, problem.status)


def definition_id(number: int) -> uuid.UUID:
    """The id under which the world has a definition."""
    return uuid.UUID(int=number + 1)
