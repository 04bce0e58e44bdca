"""One simulated world: the reference's processes, its clients and what befalls them, decided by a seed."""

from __future__ import annotations

import hashlib
import random
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.exc import SQLAlchemyError

from system.api.database import Uncertain
from system.api.messages import cancellation_request, execution_request, plan_document
from system.api.problems import Problem
from system.bridge.messages import Task
from system.ports import Message
from system.simulation.broker import Broker
from system.simulation.choices import Choices
from system.simulation.database.engine import Server
from system.simulation.database.tables import Session, Values
from system.simulation.machine import Actor, Machine, Process
from tests.simulation import agents, load
from tests.simulation.checks import ENDED, Checks
from tests.simulation.load import Act, PlannedRun, Shape
from tests.simulation.processes import BRIDGE_GROUP, GROUP, READ, TASKS, UPDATES, Api, Bridge, Consumer, Role
from tests.simulation.seeded import RUN_IDS, seeded_process

_MOST_STEPS = 60_000
# After so many steps nothing goes wrong any more, so that everything can come to its end.
_DISORDERLY_STEPS = 4000
_REST_SECONDS = 900.0
_RESTART_SECONDS = 0.1
_SESSION_SECONDS = 6.0
_PAUSES_SECONDS = (0.01, 0.5, 4.0, 8.0, 14.0)
_OUTAGES_SECONDS = (0.05, 1.0, 5.0)
_DATABASE_FATES = ("lost before", "lost after", "deadlock")
# Which share of what is not calm is what.
_SHARES = 16
_SHARE_OF_CLOCK = 2
_SHARE_OF_FAULTS = 4
_EXECUTION, _CANCELLATION, _ = READ
_UNANSWERED = (SQLAlchemyError, Uncertain)


@dataclass(frozen=True)
class Lived:
    """What came of a world. `digest` is of its whole history; `taken` are the decisions that were not calm."""

    seed: int
    violations: tuple[str, ...]
    steps: int
    runs: int
    seconds: float
    taken: Mapping[int, int]
    digest: str
    history: list[tuple[Any, ...]]
    faults: Mapping[str, int]


def live(seed: int, *, shape: Shape | None = None, replay: Mapping[int, int] | None = None) -> Lived:
    """Let the world of a seed live until it has come to rest, or until something is wrong in it.

    Args:
        shape: instead of the one of the seed.
        replay: the decisions to take instead of the seed's.
    """
    with seeded_process(seed):
        world = World(seed, load.shape(seed) if shape is None else shape, replay)
        try:
            world.live()
        finally:
            world.end()
    return world.lived()


class World:
    """See `live`."""

    def __init__(self, seed: int, shape: Shape, replay: Mapping[int, int] | None) -> None:
        self.seed = seed
        self.shape = shape
        self.random = random.Random(seed ^ 0x5EED)
        self.choices = Choices(seed, shape.calm, replay)
        self.machine = Machine(self.choices, shape.tick_seconds)
        self.server = Server(self.machine)
        topics = dict.fromkeys((*READ, TASKS, UPDATES), shape.partitions)
        topics |= {f"{topic}.dlq": 1 for topic in (*READ, TASKS)}
        self.broker = Broker(self.machine, topics, session_timeout_seconds=_SESSION_SECONDS)
        self.cached_runs = shape.cached_runs
        self.redelivery_seconds = shape.redelivery_seconds
        self.violations: list[str] = []
        self.checks = Checks(self)
        self.server.tables.on_commit = self.checks.on_commit
        self.broker.on_append = self.checks.on_append
        self.broker.on_commit = self.checks.on_offset
        self.started: dict[str, PlannedRun] = {}
        self.accepted: set[str] = set()
        self.asked: set[tuple[str, str]] = set()
        self.published: set[tuple[str, bytes]] = set()
        self.is_skewed = False
        self._mended: set[str] = set()
        self._acts: dict[str, list[str]] = {}
        self._troubles: dict[tuple[str, str], int] = {}
        self._trouble = 0
        self._roles: dict[str, Role] = {}
        self._kinds: dict[str, tuple[Callable[[Any, str], Role], str]] = {}
        self._faults_left = shape.most_faults
        self._faults: dict[str, int] = {}
        self._clients = 0
        self._births = 0
        self._wanted: dict[str, Values] = {}
        self._prepare()

    def _prepare(self) -> None:
        with self.machine.outside():
            transaction = _session(self.server).begin()
            for number in sorted({run.definition for run in self.shape.runs}):
                key = _definition_id(number)
                data = load.definition(number)
                transaction.insert(
                    "workflow_definitions", key,
                    {"id": key, "name": data["name"], "description": None, "version": 1, "workflow_data": data, "status": "active",
                     "created_at": self.machine.now(), "updated_at": self.machine.now(), "created_by": None, "updated_by": None},
                )  # fmt: skip
            for name in agents.NAMES:
                transaction.insert(
                    "agents", name,
                    {"id": None, "name": name, "url": "http://agents/", "description": None, "auth_type": None, "auth_config": None,
                     "timeout_ms": 1000, "retry_config": {"max_retries": 3, "initial_delay_ms": 10}, "status": "active",
                     "created_at": self.machine.now(), "updated_at": self.machine.now()},
                )  # fmt: skip
            transaction.commit()
        self._birth("api", Api)
        for number in range(self.shape.consumers):
            self._birth(f"consumer-{number + 1}", Consumer)
        for number in range(self.shape.bridges):
            self._birth(f"bridge-{number + 1}", Bridge)
        for planned in self.shape.runs:
            self._clients += 1
            self.machine.after(
                planned.at_seconds, None, "a client starts a run", lambda planned=planned: self._start(planned)
            )

    # processes

    def _birth(self, name: str, make: Callable[[Any, str], Role]) -> None:
        self._births += 1
        self._kinds[name] = (make, name)
        role = make(self, f"{name}#{self._births}")
        self._roles[name] = role

    def _later(self, role: Role) -> None:
        """Whoever watches over the processes starts a new one in place of one that has ended."""
        name = next(name for name, known in self._roles.items() if known is role)
        self.machine.after(
            _RESTART_SECONDS, None, f"{name} is started again", lambda: self._birth(name, self._kinds[name][0])
        )

    def _kill(self, role: Role) -> None:
        if role.process.alive:
            self.machine.kill(role.process)
            self._later(role)

    def failed(self, process: Process, error: BaseException) -> None:
        """A process raised what nobody expects of it."""
        self.violations.append(f"DEFECT: {process.name}: {''.join(traceback.format_exception(error)[-6:])}")

    def exited(self, process: Process) -> None:
        """A process has ended in order."""
        role = next(role for role in self._roles.values() if role.process is process)
        self.machine.soon(None, f"{process.name} is gone", lambda: self._kill(role))

    # what the checks ask

    def row(self, table: str, key: Any) -> Values | None:
        """A committed row."""
        row = self.server.tables[table].rows.get(key)
        return None if row is None else row.committed

    def run(self, run_id: str) -> Values | None:
        """The committed row of a run."""
        return self.row("workflow_runs", run_id)

    def steps_of(self, run_id: str) -> list[Values]:
        """The committed rows of the steps of a run."""
        table = self.server.tables["step_executions"]
        rows = (table.rows[key].committed for key in table.by_run.get(run_id, ()))
        return [row for row in rows if row is not None]

    def is_mended(self, run_id: str) -> bool:
        """Whether the fragile agent works for a run by now."""
        return run_id in self._mended

    def last_act(self, run_id: str) -> str | None:
        """What a client was last granted for a run: `cancel` or `retry`."""
        return (self._acts.get(run_id) or [None])[-1]

    def may_be_cancelled(self, run_id: str) -> bool:
        """Whether a cancellation is about that nobody has accepted, or whose time cannot be told."""
        acts = {act.kind for act in self.started[run_id].acts}
        return "cancel message" in acts or (self.is_skewed and "cancel" in acts)

    def run_changed(self, run_id: str, run: Values) -> None:
        """A run's row was committed."""

    def act_granted(self, change: Values) -> None:
        """The API wrote that it has accepted something."""
        if change["entity_type"] == "run":
            self._acts.setdefault(change["entity_id"], []).append(change["action"])
            if change["action"] == "retry" and change["details"]["from_status"] == "FAILED":
                self._mended.add(change["entity_id"])

    def troubles(self, process: Process, task: Task) -> bool:
        """Whether a call is to fail on the way; never so often that the task fails of it."""
        key = (process.name, task.task_id)
        if self._trouble and self._troubles.get(key, 0) < 3:
            self._trouble -= 1
            self._troubles[key] = self._troubles.get(key, 0) + 1
            return True
        return False

    # clients

    def _start(self, planned: PlannedRun) -> None:
        if not planned.over_api:
            run_id = f"run-{RUN_IDS.uuid4()}"
            self.started[run_id] = planned
            self.accepted.add(run_id)
            plan = orjson.dumps(plan_document(1, load.definition(planned.definition)))
            now = self.machine.now()
            self.broker.append(execution_request(_EXECUTION, run_id, plan, orjson.dumps(planned.input_data), now))
            self._act_later(run_id, planned.acts)
            self._clients -= 1
            return
        self._ask(lambda api: self._execute(api, planned), "a client starts a run")

    def _execute(self, api: Api, planned: PlannedRun) -> None:
        ahead = RUN_IDS.random.getstate()
        run_id = f"run-{RUN_IDS.uuid4()}"
        RUN_IDS.random.setstate(ahead)
        self.started[run_id] = planned
        self._act_later(run_id, planned.acts)
        try:
            accepted = api.execution.start(_definition_id(planned.definition), planned.input_data, None)
        except Problem as problem:
            self.machine.noted("refused", run_id, problem.status)
            return
        assert accepted.run_id == run_id
        self.accepted.add(run_id)

    def _ask(self, work: Callable[[Api], None], title: str) -> None:
        """A request to the API; one that is not answered is not made again."""
        api = self._roles["api"]
        assert isinstance(api, Api)
        if not api.process.alive or api.stopping.is_set():
            self.machine.after(0.05, None, title, lambda: self._ask(work, title))
            return

        open_ = [title]

        def ended() -> None:
            if open_:
                open_.clear()
                self._clients -= 1

        def request() -> None:
            try:
                work(api)
            except _UNANSWERED as error:
                self.machine.noted("unanswered", title, type(error).__name__)
            finally:
                ended()

        # A process that dies before it has looked at the request ends it as well.
        api.process.at_death.append(ended)
        api.thread(f"/request: {title}", request)

    def _act_later(self, run_id: str, acts: tuple[Act, ...]) -> None:
        if acts:
            self._clients += 1
            first = acts[0]
            self.machine.after(first.after_seconds, None, f"a client: {first.kind}", lambda: self._act(run_id, acts, 0))

    def _act(self, run_id: str, acts: tuple[Act, ...], looked: int) -> None:
        act, rest = acts[0], acts[1:]
        run = self.run(run_id)
        if act.kind == "retry" and looked < 40 and (run is None or run["status"] not in ENDED):
            self.machine.after(0.25, None, "a client looks again", lambda: self._act(run_id, acts, looked + 1))
            return
        self._act_later(run_id, rest)
        if act.kind == "cancel message":
            self.broker.append(cancellation_request(_CANCELLATION, run_id, "somebody", None, self.machine.now()))
        elif act.kind == "copy":
            self._copy(run_id, 0)
        else:
            self._ask(lambda api: self._transition(api, run_id, act.kind), f"a client: {act.kind}")
            return
        self._clients -= 1

    def _transition(self, api: Api, run_id: str, kind: str) -> None:
        try:
            if kind == "cancel":
                api.transitions.cancel(run_id, "no more", "a client")
            else:
                api.transitions.retry(run_id, None, "a client")
        except Problem as problem:
            self.machine.noted("refused", kind, run_id, problem.status)

    # living

    def live(self) -> None:
        """Until everything has come to rest, or something is wrong."""
        machine, choices = self.machine, self.choices
        quiet_since = 0.0
        while not self.violations:
            if machine.steps > _DISORDERLY_STEPS and self._faults_left >= 0:
                self._faults_left = -1
                quiet_since = machine.seconds
            value = choices.next() if self._faults_left >= 0 else 0
            if value:
                self._deviate(value)
            elif machine.ready:
                machine.run()
            elif self._is_at_rest():
                self.checks.at_the_end()
                return
            elif not machine.advance():
                self.violations.append("STUCK: nothing can happen any more")
            # Before it is quiet a group of many may be kept from coming to rest for as long as one likes.
            is_late = self._faults_left < 0 and machine.seconds > quiet_since + _REST_SECONDS
            if machine.steps > _MOST_STEPS or is_late:
                self.violations.append(
                    f"CMP: no rest after {machine.steps} steps and {machine.seconds:.0f} s: {self._restless()}"
                )

    def _is_at_rest(self) -> bool:
        if self._clients or self.server.is_down or self.broker.is_down or self.server.tables["outbox"].rows:
            return False
        if self.server.tables["timers"].rows:
            return False
        if any(row["status"] not in ENDED for row in self.server.tables["workflow_runs"].committed()):
            return False
        if any(role.process.paused or not role.process.alive for role in self._roles.values()):
            return False
        return not self._unread()

    def _unread(self) -> list[str]:
        """What a group has not read to the end, or not said so."""
        return [
            f"{group_id} {topic}[{number}]"
            for group_id, topics in ((GROUP, READ), (BRIDGE_GROUP, (TASKS,)))
            for topic in topics
            for number, log in enumerate(self.broker.logs[topic])
            if log and self.broker.group(group_id).offsets.get((topic, number), 0) < len(log)
        ]

    def _restless(self) -> str:
        runs = {row["run_id"]: row["status"] for row in self.server.tables["workflow_runs"].committed()}
        open_ = [f"{run_id} is {status}" for run_id, status in runs.items() if status not in ENDED]
        kept = list(self.server.tables["outbox"].rows)
        return f"{open_}; outbox {kept}; unread {self._unread()}; {self._clients} clients wait"

    def _deviate(self, value: int) -> None:
        machine = self.machine
        share, rest = value % _SHARES, value // _SHARES
        if share < _SHARE_OF_FAULTS and self._faults_left > 0 and self.shape.faults:
            kind = self.shape.faults[rest % len(self.shape.faults)]
            if self._befall(kind, rest // len(self.shape.faults)):
                self._faults_left -= 1
                self._faults[kind] = self._faults.get(kind, 0) + 1
                return
        if share >= _SHARES - _SHARE_OF_CLOCK and not self._is_at_rest():
            machine.advance()
        elif machine.ready:
            chosen = rest % len(machine.ready)
            if chosen:
                machine.history.append((machine.steps, "FIRST", machine.ready[chosen].title))
            machine.run(chosen)

    def _befall(self, kind: str, value: int) -> bool:
        """Let something go wrong; False when there is nothing that it could befall."""
        machine = self.machine
        if kind in ("kill", "pause", "stop", "skew"):
            roles = [role for role in self._roles.values() if role.process.alive]
            if not roles:
                return False
            role = roles[value % len(roles)]
            value //= len(roles)
            machine.history.append((machine.steps, "FAULT", kind, role.process.name))
            if kind == "kill":
                self._kill(role)
            elif kind == "pause":
                if role.process.paused:
                    return False
                seconds = _PAUSES_SECONDS[value % len(_PAUSES_SECONDS)]
                machine.pause(role.process)
                machine.after(seconds, None, f"{role.process.name} goes on", lambda: machine.resume(role.process))
            elif kind == "stop":
                role.stop()
            else:
                self.is_skewed = True
                role.process.skew_seconds = (-30.0, -1.0, 1.0, 30.0)[value % 4]
            return True
        machine.history.append((machine.steps, "FAULT", kind, value % 97))
        if kind in ("lost before", "lost after", "deadlock", "refuse"):
            kinds = ("connect", "ask") if kind == "refuse" else ("db",)
            actors = [one for one in machine.ready if isinstance(one, Actor) and one.kind in kinds]
            if not actors:
                return False
            actors[value % len(actors)].fate = kind
        elif kind in ("database down", "broker down"):
            what: Any = self.server if kind == "database down" else self.broker
            if what.is_down:
                return False
            machine.noted(kind)
            what.stop()
            machine.after(_OUTAGES_SECONDS[value % 3], None, f"end of {kind}", what.start)
        elif kind == "copy":
            return self._copy(None, value)
        elif kind == "join":
            if len(self._roles) > 8:
                return False
            make: Callable[[Any, str], Role] = Bridge if value % 3 == 0 else Consumer
            self._birth(f"{'bridge' if make is Bridge else 'consumer'}-more-{len(self._roles)}", make)
        else:
            self._trouble += 1 + value % 3
        return True

    def _copy(self, run_id: str | None, value: int) -> bool:
        """A message arrives once more, and in any partition."""
        written = [
            received
            for topic in (*READ, TASKS)
            for log in self.broker.logs[topic]
            for received in log
            if run_id is None or received.key == run_id.encode()
        ]
        if not written:
            return False
        received = written[value % len(written)]
        assert received.key is not None
        assert received.value is not None
        partition = value // len(written) % self.shape.partitions
        self.broker.append(Message(received.topic, received.key, received.value, received.headers), partition)
        return True

    # the end

    def end(self) -> None:
        """Let go of everything, so that nothing of this world is in the way of the next."""
        machine = self.machine
        for role in self._roles.values():
            process = role.process
            process.alive, was_alive = False, process.alive
            if was_alive:
                for actor in process.actors:
                    actor.die()
                for ended in process.at_death:
                    ended()
        machine.ready.clear()

    def lived(self) -> Lived:
        """What came of it."""
        history = self.machine.history
        digest = hashlib.sha256(repr(history).encode()).hexdigest() if history else ""
        return Lived(
            self.seed, tuple(self.violations), self.machine.steps, len(self.started), self.machine.seconds,
            self.choices.taken, digest, history, self._faults,
        )  # fmt: skip


def _session(server: Server) -> Any:
    return Session(server.tables)


def _definition_id(number: int) -> uuid.UUID:
    return uuid.UUID(int=number + 1)
