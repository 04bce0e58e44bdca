"""One simulated world: the reference's processes, its clients and what befalls them, decided by a seed."""

from __future__ import annotations

import hashlib
import random
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from system.bridge.messages import Task
from system.simulation.broker import Broker
from system.simulation.choices import Choices
from system.simulation.database.engine import Server
from system.simulation.database.tables import Session, Values
from system.simulation.machine import Machine, Process
from tests.simulation import agents, load
from tests.simulation.checks import ENDED, Checks
from tests.simulation.clients import Clients, definition_id
from tests.simulation.disorder import Disorder
from tests.simulation.load import Shape
from tests.simulation.processes import BRIDGE_GROUP, GROUP, READ, TASKS, UPDATES, Api, Bridge, Consumer, Role
from tests.simulation.seeded import seeded_process

_MOST_STEPS = 60_000
# After so many steps nothing goes wrong any more, so that everything can come to its end.
_DISORDERLY_STEPS = 4000
_REST_SECONDS = 900.0
_RESTART_SECONDS = 0.1
_SESSION_SECONDS = 6.0


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
        self.clients = Clients(self)
        self.disorder = Disorder(self)
        self.asked: set[tuple[str, str]] = set()
        self.published: set[tuple[str, bytes]] = set()
        self.is_skewed = False
        self._mended: set[str] = set()
        self._acts: dict[str, list[str]] = {}
        self._troubles: dict[tuple[str, str], int] = {}
        self._trouble = 0
        self.roles: dict[str, Role] = {}
        self._kinds: dict[str, tuple[Callable[[Any, str], Role], str]] = {}
        self._births = 0
        self._wanted: dict[str, Values] = {}
        self._prepare()

    def _prepare(self) -> None:
        with self.machine.outside():
            transaction = _session(self.server).begin()
            for number in sorted({run.definition for run in self.shape.runs}):
                key = definition_id(number)
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
        self.birth("api", Api)
        for number in range(self.shape.consumers):
            self.birth(f"consumer-{number + 1}", Consumer)
        for number in range(self.shape.bridges):
            self.birth(f"bridge-{number + 1}", Bridge)
        for planned in self.shape.runs:
            self.clients.come(planned)

    # processes

    @property
    def api(self) -> Api:
        """The API that was started last."""
        api = self.roles["api"]
        assert isinstance(api, Api)
        return api

    def birth(self, name: str, make: Callable[[Any, str], Role]) -> None:
        """Start a process, the first of this name or the next."""
        self._births += 1
        self._kinds[name] = (make, name)
        role = make(self, f"{name}#{self._births}")
        self.roles[name] = role

    def _later(self, role: Role) -> None:
        """Whoever watches over the processes starts a new one in place of one that has ended."""
        name = next(name for name, known in self.roles.items() if known is role)
        self.machine.after(
            _RESTART_SECONDS, None, f"{name} is started again", lambda: self.birth(name, self._kinds[name][0])
        )

    def kill(self, role: Role) -> None:
        """End a process at once; another one takes its place."""
        if role.process.alive:
            self.machine.kill(role.process)
            self._later(role)

    def failed(self, process: Process, error: BaseException) -> None:
        """A process raised what nobody expects of it."""
        self.violations.append(f"DEFECT: {process.name}: {''.join(traceback.format_exception(error)[-6:])}")

    def exited(self, process: Process) -> None:
        """A process has ended in order."""
        role = next(role for role in self.roles.values() if role.process is process)
        self.machine.soon(None, f"{process.name} is gone", lambda: self.kill(role))

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
        acts = {act.kind for act in self.clients.started[run_id].acts}
        return "cancel message" in acts or (self.is_skewed and "cancel" in acts)

    def run_changed(self, run_id: str, run: Values) -> None:
        """A run's row was committed."""

    def act_granted(self, change: Values) -> None:
        """The API wrote that it has accepted something."""
        if change["entity_type"] == "run":
            self._acts.setdefault(change["entity_id"], []).append(change["action"])
            if change["action"] == "retry" and change["details"]["from_status"] == "FAILED":
                self._mended.add(change["entity_id"])

    def have_calls_fail(self, number: int) -> None:
        """Have so many of the coming calls of agents fail on the way."""
        self._trouble += number

    def troubles(self, process: Process, task: Task) -> bool:
        """Whether a call is to fail on the way; never so often that the task fails of it."""
        key = (process.name, task.task_id)
        if self._trouble and self._troubles.get(key, 0) < 3:
            self._trouble -= 1
            self._troubles[key] = self._troubles.get(key, 0) + 1
            return True
        return False

    # living

    def live(self) -> None:
        """Until everything has come to rest, or something is wrong."""
        machine, choices, disorder = self.machine, self.choices, self.disorder
        quiet_since = 0.0
        while not self.violations:
            if machine.steps > _DISORDERLY_STEPS and not disorder.is_over:
                disorder.end()
                quiet_since = machine.seconds
            value = 0 if disorder.is_over else choices.next()
            if value:
                disorder.deviate(value)
            elif machine.ready:
                machine.run()
            elif self.is_at_rest():
                self.checks.at_the_end()
                return
            elif not machine.advance():
                self.violations.append("STUCK: nothing can happen any more")
            # Before it is quiet a group of many may be kept from coming to rest for as long as one likes.
            is_late = disorder.is_over and machine.seconds > quiet_since + _REST_SECONDS
            if machine.steps > _MOST_STEPS or is_late:
                self.violations.append(
                    f"CMP: no rest after {machine.steps} steps and {machine.seconds:.0f} s: {self._restless()}"
                )

    def is_at_rest(self) -> bool:
        """Whether all that was begun has ended, and nothing is left to read."""
        if self.clients.waiting or self.server.is_down or self.broker.is_down or self.server.tables["outbox"].rows:
            return False
        if self.server.tables["timers"].rows:
            return False
        if any(row["status"] not in ENDED for row in self.server.tables["workflow_runs"].committed()):
            return False
        if any(role.process.paused or not role.process.alive for role in self.roles.values()):
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
        return f"{open_}; outbox {kept}; unread {self._unread()}; {self.clients.waiting} clients wait"

    # the end

    def end(self) -> None:
        """Let go of everything, so that nothing of this world is in the way of the next."""
        machine = self.machine
        for role in self.roles.values():
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
            self.seed, tuple(self.violations), self.machine.steps, len(self.clients.started), self.machine.seconds,
            self.choices.taken, digest, history, self.disorder.done,
        )  # fmt: skip


def _session(server: Server) -> Any:
    return Session(server.tables)
