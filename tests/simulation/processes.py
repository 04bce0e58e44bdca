"""The reference's three roles as processes of a simulated machine: put together as `serve` does, of the same parts."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Protocol, cast

import orjson
from sqlalchemy import Engine

from system.adapters.membership import join_group
from system.api.database import Database
from system.api.execution import Backlog, Execution
from system.api.service import _release
from system.api.transitions import Transitions
from system.bridge.agent import Agent
from system.bridge.calls import Trouble
from system.bridge.dispatch import Dispatcher
from system.bridge.intake import Intake, Told
from system.bridge.messages import Outcome, Task
from system.bridge.redelivery import AppliedResults
from system.bridge.registry import DatabaseSource, Registry
from system.consumer.executor import Executor
from system.consumer.folding import Limits
from system.consumer.loop import ConsumerLoop, LoopSettings
from system.consumer.store import ConsumerStore
from system.definitions import load_plan
from system.engine.definition import Definition
from system.outbox import Outbox
from system.plans import PlanCache
from system.ports import Subscription
from system.settings import Settings
from system.simulation.broker import Broker
from system.simulation.database.engine import MemoryEngine, Server
from system.simulation.event_loop import MachineLoop
from system.simulation.kafka import MemoryPublisher, MemorySubscription
from system.simulation.machine import Machine, MachineClock, Process
from tests.simulation import agents

SETTINGS = Settings.from_environment({})
READ = (SETTINGS.kafka_execution_topic, SETTINGS.kafka_cancellation_topic, SETTINGS.kafka_results_topic)
TASKS, RESULTS, UPDATES = SETTINGS.kafka_tasks_topic, SETTINGS.kafka_results_topic, SETTINGS.kafka_monitoring_topic
GROUP, BRIDGE_GROUP = SETTINGS.kafka_group_id, SETTINGS.kafka_bridge_group_id
_TAKEOVER_MS = 3000
_STOP_SECONDS = 5


class Surroundings(Protocol):
    """What the processes of a world share."""

    machine: Machine
    server: Server
    broker: Broker
    random: random.Random
    cached_runs: int
    redelivery_seconds: int

    def failed(self, process: Process, error: BaseException) -> None: ...

    def exited(self, process: Process) -> None: ...

    def is_mended(self, run_id: str) -> bool: ...

    def troubles(self, process: Process, task: Task) -> bool: ...


_CHECKED: dict[bytes, Definition] = {}


class KnownPlans(PlanCache):
    """A process's own cache of plans, as cold as any at its start; but what was checked in any world is not checked again."""

    def load(self, plan_digest: str, plan: Any) -> Definition:
        known = self.get(plan_digest)
        if known is None:
            # By its very bytes: the order of names in a plan is seen in what is made of it.
            text = orjson.dumps(plan)
            known = _CHECKED.get(text) or _CHECKED.setdefault(text, load_plan(plan))
            self._keep(plan_digest, known)
        return known


class Stop(threading.Event):
    """The event that a process is told to stop by; waiting for it takes the machine's time."""

    def __init__(self, clock: MachineClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.sleep(timeout or 0.0)
        return self.is_set()


class Role:
    """A process of one role. `stop` asks it to end in order."""

    def __init__(self, world: Surroundings, name: str) -> None:
        self.world = world
        self.process = Process(world.machine, name)
        self.clock = MachineClock(self.process)
        self.stopping = Stop(self.clock)
        self.publisher = MemoryPublisher(world.broker, self.process)

    def engine(self) -> Engine:
        return cast(Engine, MemoryEngine(self.world.server, self.process))

    def outbox(self, engine: Engine) -> Outbox:
        return Outbox(
            engine, self.publisher, takeover_ms=_TAKEOVER_MS, clock=self.clock,
            new_owner=lambda: self.world.random.getrandbits(62) + 1,
        )  # fmt: skip

    def thread(self, name: str, work: Callable[[], None]) -> None:
        self.world.machine.start(
            self.process, f"{self.process.name}{name}", work, lambda error: self.world.failed(self.process, error)
        )

    def stop(self) -> None:
        self.stopping.set()


class Consumer(Role):
    def __init__(self, world: Surroundings, name: str) -> None:
        super().__init__(world, name)
        self.thread("", self._run)

    def _run(self) -> None:
        world = self.world
        engine = self.engine()
        subscription = join_group(engine, GROUP, self._join, patience_seconds=60.0, clock=self.clock)
        outbox = self.outbox(engine)
        store = ConsumerStore(engine, outbox, runs_have_deadlines=False)
        limits = Limits(TASKS, UPDATES, SETTINGS.kafka_max_message_bytes, 0)
        executor = Executor(
            store, outbox, self.publisher, self.clock, limits, most_cached_runs=world.cached_runs, plans=KnownPlans()
        )
        settings = LoopSettings(
            *READ,
            batch_size=100,
            task_redelivery_seconds=world.redelivery_seconds,
            shutdown_timeout_seconds=_STOP_SECONDS,
        )
        loop = ConsumerLoop(subscription, self.publisher, engine, outbox, store, executor, self.clock, settings)
        loop.run(self.stopping)
        engine.dispose()
        world.exited(self.process)

    def _join(self, instance_id: str | None) -> Subscription:
        return MemorySubscription(self.world.broker, self.process, GROUP, READ, instance_id)


class Bridge(Role):
    def __init__(self, world: Surroundings, name: str) -> None:
        super().__init__(world, name)
        self.loop = MachineLoop(self.process, self._broken)
        engine = self.engine()
        with self.loop.running():
            self.registry = Registry(DatabaseSource(engine), cache_ms=5000, clock=self.loop.time)
            self.dispatcher = Dispatcher(
                publisher=self.publisher,
                lookup=self.registry,
                caller=_Caller(self),
                applied=AppliedResults(engine, patience_seconds=30.0),
                results_topic=RESULTS,
                agent_concurrency=4,
                max_message_bytes=SETTINGS.kafka_max_message_bytes,
                on_broken=self._broken,
                fraction=world.random.random,
                clock=self.clock,
            )
        self._engine = engine
        self._intake: Intake | None = None
        self.thread("/intake", self._read)

    def _broken(self, error: BaseException) -> None:
        self.world.failed(self.process, error)

    def _read(self) -> None:
        self._intake = Intake(self.dispatcher, self.loop, self._broken, limit=1000, join=self._join, wait=self._wait)
        self._intake.run()

    def _join(self, on_assigned: Told, on_revoked: Told) -> Subscription:
        def join(instance_id: str | None) -> Subscription:
            return MemorySubscription(
                self.world.broker, self.process, BRIDGE_GROUP, (TASKS,), instance_id, on_assigned, on_revoked
            )

        return join_group(self._engine, BRIDGE_GROUP, join, patience_seconds=3.0, clock=self.clock)

    def _wait(self, done: Future[None], timeout_seconds: float) -> None:
        machine = self.world.machine
        actor = machine.current
        assert actor is not None
        if not done.done():
            done.add_done_callback(lambda _: machine.wake(actor))
            machine.wait("calls in flight", timeout_seconds)
        if not done.done():
            raise FutureTimeoutError
        done.result(0)

    def stop(self) -> None:
        if self._intake is not None and not self.stopping.is_set():
            self.stopping.set()
            self.thread("/end", self._end)

    def _end(self) -> None:
        assert self._intake is not None
        self._intake.stop_reading()
        machine, actor = self.world.machine, self.world.machine.current
        assert actor is not None
        with self.loop.running():
            draining = self.loop.create_task(self.dispatcher.drain(_STOP_SECONDS))
            draining.add_done_callback(lambda _: machine.wake(actor))
        while not draining.done():
            machine.wait("drain", _STOP_SECONDS)
        self.publisher.flush(1.0)
        self._intake._leave.set()
        machine.wait("leave", 1.0)
        self.world.exited(self.process)


class _Caller:
    """Agents: each call is answered when the scheduler says so."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def call(self, agent: Agent, task: Task) -> Outcome | Trouble:
        bridge = self._bridge
        world = bridge.world
        if world.troubles(bridge.process, task):
            await asyncio.sleep(0.001)
            return Trouble(f"agent {agent.name!r} could not be reached", broken=True)
        world.machine.noted("call", bridge.process.name, task.run_id, task.task_id)
        if agent.name == agents.MUTE:
            await asyncio.sleep(agents.MUTE_SECONDS)
        answered: asyncio.Future[tuple[Any, str | None]] = bridge.loop.create_future()

        def answer() -> None:
            if not answered.done():
                is_mended = world.is_mended(task.run_id)
                answered.set_result(agents.answer(agent.name, task.input_data, is_mended=is_mended))

        world.machine.soon(bridge.process, f"agent {agent.name} answers {bridge.process.name}", answer)
        return Outcome(*await answered)


class Api(Role):
    def __init__(self, world: Surroundings, name: str) -> None:
        super().__init__(world, name)
        engine, outbox_engine = self.engine(), self.engine()
        outbox = self.outbox(outbox_engine)
        backlog = Backlog(outbox)
        database = Database(engine.execution_options(isolation_level="AUTOCOMMIT"))
        self.execution = Execution(SETTINGS, database, outbox, backlog, self.clock)
        self.transitions = Transitions(SETTINGS, database, outbox, backlog, self.clock)
        self._outbox, self._engines = outbox, (engine, outbox_engine)
        self.thread("/outbox", lambda: outbox.work(self.stopping))

    def stop(self) -> None:
        if not self.stopping.is_set():
            self.thread("/end", self._end)

    def _end(self) -> None:
        self.publisher.flush(2.0)
        self.stopping.set()
        self.clock.sleep(0.2)
        _release(self._outbox)
        self.world.exited(self.process)
