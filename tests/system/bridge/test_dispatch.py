"""From messages read to messages done, with agents and Kafka played in memory."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import pytest

from system.bridge.agent import Agent, agent_from
from system.bridge.calls import Trouble
from system.bridge.dispatch import Dispatcher
from system.bridge.messages import Outcome, Task
from system.bridge.redelivery import AnsweredTasks, Key
from system.ports import Message, PublishError, Received

_P0 = ("tasks", 0)


class _Kafka:
    """Publisher port: keeps what it is given; acknowledges unless told to hold, refuses what it is told to."""

    def __init__(self) -> None:
        self.given: list[Message] = []
        self.held = False
        self.refuse: Callable[[Message], bool] = lambda _: False
        self._unsettled: list[tuple[Message, Callable[[Exception | None], None]]] = []

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        self.given.append(message)
        self._unsettled.append((message, on_delivered))

    def poll(self, timeout_seconds: float = 0.0) -> None:
        if not self.held:
            unsettled, self._unsettled = self._unsettled, []
            for message, on_delivered in unsettled:
                on_delivered(PublishError("too large") if self.refuse(message) else None)

    def flush(self, timeout_seconds: float) -> int:
        self.poll(timeout_seconds)
        return len(self._unsettled)

    def results(self) -> list[dict[str, Any]]:
        return [json.loads(message.value) for message in self.given if message.topic == "results"]


class _Agents:
    """Answers at once, unless an agent's name has a plan for its n-th call, or is held."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.gates: dict[str, asyncio.Event] = {}
        self.plan: dict[str, Callable[[int], Outcome | Trouble]] = {}
        self.busy = 0
        self.busiest = 0
        self.retry: dict[str, Any] = {"max_retries": 2, "initial_delay_ms": 10, "max_delay_ms": 20}

    def fresh(self, name: str) -> Agent | str | None:
        if name == "nobody":
            return "agent 'nobody' is not registered"
        return agent_from({"name": name, "url": "http://127.0.0.1:1/", "retry_config": self.retry})

    async def get(self, name: str) -> Agent | str:
        raise AssertionError(f"{name} is always known")

    async def call(self, agent: Agent, task: Task) -> Outcome | Trouble:
        self.calls[task.task_id] += 1
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            if agent.name in self.gates:
                await self.gates[agent.name].wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.busy -= 1
        plan = self.plan.get(agent.name)
        return plan(self.calls[task.task_id]) if plan is not None else Outcome({"for": task.task_id})


class _Applied:
    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.keys = set(keys)
        self.asked: list[list[Key]] = []

    async def among(self, keys: Sequence[Key]) -> set[Key]:
        self.asked.append(list(keys))
        await asyncio.sleep(0)
        return self.keys & set(keys)


class _World:
    def __init__(self, *, applied: Iterable[Key] = (), concurrency: int = 4, end_offset: int = 0) -> None:
        self.kafka, self.agents, self.applied = _Kafka(), _Agents(), _Applied(applied)
        self.broken: list[BaseException] = []
        self.dispatcher = Dispatcher(
            publisher=self.kafka,
            lookup=self.agents,
            caller=self.agents,
            applied=self.applied,
            results_topic="results",
            agent_concurrency=concurrency,
            max_message_bytes=100_000,
            on_broken=self.broken.append,
            fraction=lambda: 1.0,
        )
        self.dispatcher.assigned(0, {_P0: end_offset})

    def take(self, *messages: tuple[int, bytes | None]) -> None:
        self.dispatcher.accept([Received("tasks", 0, offset, b"k", value) for offset, value in messages])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.002)
        assert self.broken == []

    @property
    def committed(self) -> int:
        return max((mark[3] for mark in self.dispatcher.marks), default=0)


def _task(task_id: str, agent: str = "fast", run_id: str = "run-1") -> bytes:
    return json.dumps(
        {
            "run_id": run_id,
            "task_id": task_id,
            "agent_name": agent,
            "input_data": {},
            "correlation_id": "c",
            "timestamp": "2025-03-04T10:15:30Z",
        }
    ).encode()


def _run(use: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(use(), 20))  # type: ignore[arg-type]


def test_every_task_is_answered_under_its_run_and_then_done() -> None:
    async def use() -> None:
        world = _World()
        world.take(*((n, _task(f"t{n}", run_id=f"run-{n}")) for n in range(100)))
        await world.until(lambda: world.committed == 100)
        assert {(r["run_id"], r["output_data"]["for"]) for r in world.kafka.results()} == {
            (f"run-{n}", f"t{n}") for n in range(100)
        }
        assert {m.key for m in world.kafka.given} == {f"run-{n}".encode() for n in range(100)}
        assert world.agents.busiest == 4
        assert (world.dispatcher.finished, world.dispatcher.held_bytes) == (100, 0)

    _run(use)


def test_a_held_agent_holds_up_nobody_but_itself_and_pins_its_own_offsets() -> None:
    async def use() -> None:
        world = _World()
        world.agents.gates["slow"] = asyncio.Event()
        world.take(*((n, _task(f"s{n}", "slow")) for n in range(10)), *((n, _task(f"f{n}")) for n in range(10, 40)))
        await world.until(lambda: len(world.kafka.results()) == 30)
        assert world.committed == 0
        world.agents.gates["slow"].set()
        await world.until(lambda: world.committed == 40)

    _run(use)


def test_an_offset_is_not_done_before_kafka_has_the_result() -> None:
    async def use() -> None:
        world = _World()
        world.kafka.held = True
        world.take((0, _task("t0")))
        await world.until(lambda: len(world.kafka.given) == 1)
        await asyncio.sleep(0.03)
        assert world.committed == 0
        world.kafka.held = False
        await world.until(lambda: world.committed == 1)

    _run(use)


@pytest.mark.parametrize("max_retries", [0, 1, 5])
def test_a_task_gets_exactly_the_tries_that_its_agent_promises(max_retries: int) -> None:
    async def use() -> None:
        world = _World(concurrency=1)
        world.agents.retry = {"max_retries": max_retries, "initial_delay_ms": 1, "max_delay_ms": 2}
        world.agents.plan["bad"] = lambda _: Trouble("agent 'bad' answered HTTP 503", broken=True)
        world.take((0, _task("t0", "bad")))
        await world.until(lambda: world.committed == 1)
        assert world.agents.calls["t0"] == max_retries + 1
        [result] = world.kafka.results()
        assert result["status"] == "FAILURE"
        assert "HTTP 503" in result["error_message"]

    _run(use)


def test_a_task_between_two_tries_holds_no_place_in_its_lane() -> None:
    async def use() -> None:
        world = _World(concurrency=1)
        world.agents.retry = {"max_retries": 1, "initial_delay_ms": 300, "max_delay_ms": 300}
        world.agents.plan["a"] = lambda nth: Trouble("busy", broken=False) if nth == 1 else Outcome({"nth": nth})
        world.agents.plan["b"] = lambda nth: Outcome({"nth": nth})
        world.take((0, _task("t0", "a")), (1, _task("t1", "a")))
        await world.until(lambda: world.agents.calls["t1"] == 1)
        assert world.agents.calls["t0"] == 1
        await world.until(lambda: world.committed == 2)
        assert [r["output_data"] for r in world.kafka.results()] == [{"nth": 2}, {"nth": 2}]

    _run(use)


def test_an_open_circuit_fails_tasks_without_a_call_and_says_so_and_other_agents_go_on() -> None:
    async def use() -> None:
        world = _World(concurrency=1)
        world.agents.retry = {"max_retries": 1, "initial_delay_ms": 50, "max_delay_ms": 50}
        world.agents.plan["bad"] = lambda _: Trouble("HTTP 500", broken=True)
        world.take(*((n, _task(f"b{n}", "bad")) for n in range(12)), *((n, _task(f"f{n}")) for n in range(12, 24)))
        await world.until(lambda: world.committed == 24)
        failures = [r["error_message"] for r in world.kafka.results() if r["status"] == "FAILURE"]
        assert len(failures) == 12
        called = {task_id: count for task_id, count in world.agents.calls.items() if task_id.startswith("b")}
        assert 5 <= len(called) < 12
        assert set(called.values()) == {2}
        assert sum("circuit is open" in message for message in failures) == 12 - len(called)

    _run(use)


def test_a_copy_of_a_task_in_flight_is_answered_by_the_same_call() -> None:
    async def use() -> None:
        world = _World()
        world.agents.gates["slow"] = asyncio.Event()
        world.take((0, _task("t", "slow")), (1, _task("t", "slow")))
        await world.until(lambda: world.agents.calls["t"] == 1)
        world.take((2, _task("t", "slow")))
        world.agents.gates["slow"].set()
        await world.until(lambda: world.committed == 3)
        assert world.agents.calls["t"] == 1
        assert len(world.kafka.results()) == 1
        assert world.dispatcher.finished == 3

    _run(use)


def test_a_copy_that_comes_after_the_result_was_sent_gets_a_result_of_its_own() -> None:
    """The executor may have read the first one while the run was cancelled, and asked again before Kafka acknowledged it."""

    async def use() -> None:
        world = _World()
        world.kafka.held = True
        world.take((0, _task("t1")))
        await world.until(lambda: len(world.kafka.given) == 1)
        world.take((1, _task("t1")))
        await world.until(lambda: len(world.kafka.given) == 2)
        world.kafka.held = False
        await world.until(lambda: world.committed == 2)
        assert world.kafka.given[0] == world.kafka.given[1]
        assert world.agents.calls["t1"] == 1

    _run(use)


def test_a_copy_of_an_answered_task_gets_the_same_result_again_without_a_call() -> None:
    async def use() -> None:
        world = _World()
        world.take((0, _task("t")))
        await world.until(lambda: world.committed == 1)
        world.take((1, _task("t")))
        await world.until(lambda: world.committed == 2)
        first, second = world.kafka.given
        assert first.value == second.value
        assert world.agents.calls["t"] == 1

    _run(use)


def test_the_same_task_id_in_another_run_is_another_task() -> None:
    async def use() -> None:
        world = _World()
        world.take((0, _task("t", run_id="run-1")), (1, _task("t", run_id="run-2")))
        await world.until(lambda: world.committed == 2)
        assert world.agents.calls["t"] == 2
        assert {r["run_id"] for r in world.kafka.results()} == {"run-1", "run-2"}

    _run(use)


def test_redelivered_tasks_with_applied_results_are_done_without_call_or_result() -> None:
    async def use() -> None:
        world = _World(applied=[("run-1", f"t{n}") for n in (0, 1, 3)], end_offset=5)
        world.take(*((n, _task(f"t{n}")) for n in range(7)))
        await world.until(lambda: world.committed == 7)
        assert set(world.agents.calls) == {"t2", "t4", "t5", "t6"}
        assert len(world.kafka.results()) == 4
        # What was written after the assignment cannot have been taken by anybody before.
        assert world.applied.asked == [[("run-1", f"t{n}") for n in range(5)]]

    _run(use)


def test_what_is_no_task_is_set_aside_and_the_ones_behind_go_on() -> None:
    async def use() -> None:
        world = _World()
        world.take((0, b"{"), (1, _task("t1")), (2, None))
        await world.until(lambda: world.committed == 3)
        letters = [m for m in world.kafka.given if m.topic == "tasks.dlq"]
        assert [dict(m.headers)["source_offset"] for m in letters] == [b"0", b"2"]
        assert [r["task_id"] for r in world.kafka.results()] == ["t1"]
        assert (world.dispatcher.finished, world.dispatcher.held_bytes) == (3, 0)

    _run(use)


def test_a_result_that_kafka_refuses_becomes_a_failure_that_says_so() -> None:
    async def use() -> None:
        world = _World()
        world.agents.plan["big"] = lambda _: Outcome({"a": "x" * 50_000})
        world.kafka.refuse = lambda message: len(message.value) > 20_000
        world.take((0, _task("t", "big")))
        await world.until(lambda: world.committed == 1)
        assert "Kafka refused it" in world.kafka.results()[-1]["error_message"]

    _run(use)


def test_a_message_that_kafka_refuses_in_every_form_breaks_the_bridge_and_is_not_done() -> None:
    async def use() -> None:
        world = _World()
        world.kafka.refuse = lambda _: True
        world.take((0, _task("t")))
        async with asyncio.timeout(5):
            while not world.broken:
                await asyncio.sleep(0.002)
        assert isinstance(world.broken[0], PublishError)
        assert world.committed == 0

    _run(use)


def test_an_unknown_agent_is_a_failure_that_names_it() -> None:
    async def use() -> None:
        world = _World()
        world.take((0, _task("t", "nobody")))
        await world.until(lambda: world.committed == 1)
        assert "nobody" in world.kafka.results()[0]["error_message"]

    _run(use)


def test_a_revoked_partition_begins_nothing_more_and_waits_for_what_was_begun() -> None:
    async def use() -> None:
        world = _World(concurrency=2)
        world.agents.gates["slow"] = asyncio.Event()
        world.take(*((n, _task(f"t{n}", "slow")) for n in range(6)))
        await world.until(lambda: world.agents.busy == 2)
        leaving = asyncio.create_task(world.dispatcher.revoked([_P0]))  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
        assert not leaving.done()
        world.agents.gates["slow"].set()
        await leaving
        world.dispatcher.released([_P0])
        await world.until(lambda: world.dispatcher.finished == 6)
        assert set(world.agents.calls) == {"t0", "t1"}
        assert world.committed == 2
        # The partition comes back, and with it what was left.
        world.dispatcher.assigned(1, {_P0: 2})
        world.take(*((n, _task(f"t{n}", "slow")) for n in range(2, 6)))
        await world.until(lambda: world.committed == 6)
        assert set(world.agents.calls.values()) == {1}

    _run(use)


def test_a_drain_ends_calls_in_flight_and_leaves_the_rest_undone() -> None:
    async def use() -> None:
        world = _World(concurrency=2)
        world.agents.gates["slow"] = asyncio.Event()
        world.take(*((n, _task(f"t{n}", "slow")) for n in range(6)))
        await world.until(lambda: world.agents.busy == 2)
        draining = asyncio.create_task(world.dispatcher.drain(5))  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
        world.agents.gates["slow"].set()
        assert await draining == 4
        assert world.committed == 2
        assert len(world.kafka.results()) == 2

    _run(use)


def test_a_drain_ends_in_time_although_an_agent_hangs() -> None:
    async def use() -> None:
        world = _World()
        world.agents.gates["slow"] = asyncio.Event()
        world.take((0, _task("t0", "slow")), (1, _task("t1")))
        await world.until(lambda: len(world.kafka.results()) == 1)
        assert await world.dispatcher.drain(0.1) == 1
        assert world.committed == 0

    _run(use)


def test_answered_tasks_are_bounded_by_number_and_by_bytes() -> None:
    answered = AnsweredTasks(limit=3, limit_bytes=100)
    for n in range(5):
        answered.add(("r", str(n)), b"x")
    assert [answered.get(("r", str(n))) for n in range(5)] == [None, None, b"x", b"x", b"x"]
    answered.add(("r", "big"), b"x" * 99)
    assert answered.get(("r", "3")) is None
    assert answered.get(("r", "4")) == b"x"
    answered.add(("r", "big"), b"y")
    assert answered.get(("r", "big")) == b"y"
