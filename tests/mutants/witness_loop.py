"""What the consumer's loop does between messages and rows, on a real PostgreSQL with a stand-in for Kafka, as plain values.

Everything that happens is noted in order: what is published, what the rows said at that moment, which offsets count as
done, which are read again.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Engine, create_engine, text

from system import tables
from system.adapters import clock, postgres
from system.consumer import executor, folding, loop, store
from system.outbox import Outbox
from system.ports import Message, Received

_TOPICS = ("requests", "cancellations", "results")
_RUNS = tuple(f"run-{number:08x}-6f0c-4d5e-9a51-5d3f7c1b8a42" for number in range(1, 4))
_DEADLINE_SECONDS = 10.0
_TIMEOUT_SECONDS = 1.0


def prepare(database_url: str) -> Engine:
    """Make the tables in an empty database; returns an engine that sees what is committed."""
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    tables.metadata.create_all(engine)
    return engine


class _Kafka:
    """Publisher and Subscription ports in one: gives batches, and notes what it is told."""

    def __init__(self, rows: Engine, told: list[str]) -> None:
        self.batches: deque[Sequence[Received]] = deque()
        self.tasks: list[dict[str, Any]] = []
        self._rows = rows
        self._told = told

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        value = json.loads(message.value) if message.topic in ("tasks", "updates") else {}
        if message.topic == "tasks":
            self.tasks.append(value)
        named = value.get("agent_name") or value.get("step_id") or ""
        with self._rows.connect() as connection:
            count = connection.execute(text("SELECT count(*) FROM step_executions")).scalar_one()
        self._told.append(f"published {message.topic} {named} {value.get('status', '')} when there were {count} steps")
        on_delivered(None)

    def done(self, topic: str, partition: int, next_offset: int) -> None:
        with self._rows.connect() as connection:
            count = connection.execute(text("SELECT count(*) FROM workflow_runs")).scalar_one()
        self._told.append(f"done {topic} {next_offset} when there were {count} runs")

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self._told.append(f"back to {topic} {offset}")

    def poll(self, limit: Any = 0, timeout_seconds: float | None = None) -> Any:
        # As a publisher it is asked for a time, as a subscription for a number and a time.
        return self.batches.popleft() if timeout_seconds is not None and self.batches else ()

    def flush(self, timeout_seconds: float) -> int:
        return 0

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...


class _Member:
    """One consumer, turned by hand."""

    def __init__(self, database_url: str, rows: Engine, told: list[str]) -> None:
        self.kafka = cast(Any, _Kafka(rows, told))
        self.engine = postgres.connect(database_url, pool_size=4, application_name="witness")
        self.outbox = Outbox(self.engine, self.kafka, takeover_ms=15_000)
        kept = store.ConsumerStore(self.engine, self.outbox, runs_have_deadlines=False)
        limits = folding.Limits("tasks", "updates", 1_000_000, 0)
        time_of_day = clock.SystemClock()
        worker = executor.Executor(kept, self.outbox, self.kafka, time_of_day, limits, most_cached_runs=100)
        settings = loop.LoopSettings(*_TOPICS, batch_size=100, task_redelivery_seconds=0, shutdown_timeout_seconds=5)
        self.loop = loop.ConsumerLoop(
            self.kafka, self.kafka, self.engine, self.outbox, kept, worker, time_of_day, settings
        )
        self.outbox.open()
        self._offsets = dict.fromkeys(_TOPICS, 0)

    def take(self, *messages: tuple[str, Any]) -> None:
        batch = []
        for topic, value in messages:
            encoded = value if isinstance(value, bytes) else json.dumps(value).encode()
            batch.append(Received(topic, 0, self._offsets[topic], b"key", encoded))
            self._offsets[topic] += 1
        self.kafka.batches.append(batch)
        self.loop.turn(threading.Event())
        self.loop.turn(threading.Event())

    def die(self) -> None:
        self.outbox.release()
        self.engine.dispose()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _request(run_id: str, steps: dict[str, Any], start: str) -> tuple[str, dict[str, Any]]:
    plan = {"workflow_id": "wf-w-1", "name": "w", "version": "1", "start_step": start, "steps": steps}
    return "requests", {
        "run_id": run_id, "workflow_plan": plan, "input_data": {}, "timestamp": _now(), "message_type": "execution_request",
    }  # fmt: skip


def _cancellation(run_id: str, by: str) -> tuple[str, dict[str, Any]]:
    return "cancellations", {
        "run_id": run_id,
        "cancelled_by": by,
        "timestamp": _now(),
        "message_type": "cancellation_request",
    }


def _result(task: dict[str, Any], output: Any, error: str | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
    return "results", {
        "run_id": task["run_id"], "task_id": task["task_id"], "status": "FAILURE" if error else "SUCCESS",
        "output_data": None if error else output, "correlation_id": "", "error_message": error, "timestamp": _now(), **more,
    }  # fmt: skip


_CHAIN = {"a": {"id": "a", "agent_name": "A", "next_step": "b"}, "b": {"id": "b", "agent_name": "B", "next_step": None}}
_FORK = {
    "f": {
        "id": "f", "type": "fork_join", "next_step": None,
        "fork_join_config": {"join_policy": "any", "branches": {"l": {"steps": ["x"]}, "r": {"steps": ["y"], "timeout_seconds": _TIMEOUT_SECONDS}}},
    },
    "x": {"id": "x", "agent_name": "X", "next_step": None},
    "y": {"id": "y", "agent_name": "Y", "next_step": None},
}  # fmt: skip


def _copies(member: _Member, _: Callable[[], _Member]) -> None:
    request = _request(_RUNS[0], _CHAIN, "a")
    member.take(request)
    member.take(request)
    first = member.kafka.tasks[0]
    member.take(_result(first, {"n": 1}))
    member.take(_result(first, {"n": 2}))
    second = next(task for task in member.kafka.tasks if task["agent_name"] == "B")
    member.take(_result(second, {"n": 3}))
    member.take(_result(second, {"n": 4}))


def _cancelled(member: _Member, _: Callable[[], _Member]) -> None:
    member.take(_request(_RUNS[0], _CHAIN, "a"))
    member.take(_cancellation(_RUNS[0], "ada"))
    member.take(_result(member.kafka.tasks[0], {"late": True}))
    member.take(_cancellation(_RUNS[0], "bob"))


def _neighbours(member: _Member, _: Callable[[], _Member]) -> None:
    member.take(*(_request(run_id, _CHAIN, "a") for run_id in _RUNS))
    by_run = {task["run_id"]: task for task in member.kafka.tasks}
    if set(by_run) == set(_RUNS):
        member.take(_result(by_run[_RUNS[0]], {"foreign": True}, run_id=_RUNS[1]))
        member.take(_result(by_run[_RUNS[2]], None, "broken"))


def _taken_over(member: _Member, another: Callable[[], _Member]) -> None:
    member.take(_request(_RUNS[0], _CHAIN, "a"))
    member.take(_result(member.kafka.tasks[0], {"n": 1}))
    task = member.kafka.tasks[-1]
    member.die()
    another().take(_result(task, {"n": 2}))


def _poisoned(member: _Member, _: Callable[[], _Member]) -> None:
    member.take(("results", b"nonsense"), _request(_RUNS[0], _CHAIN, "a"))


def _timed_out(member: _Member, _: Callable[[], _Member]) -> None:
    member.take(_request(_RUNS[0], _FORK, "f"))
    tasks = {task["agent_name"]: task for task in member.kafka.tasks}
    with member.engine.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM timers")).scalar_one()
        member.kafka._told.append(f"{count} timers in rows")
        ended = text("SELECT 1 FROM step_executions WHERE step_id = 'y' AND status = 'FAILED'")
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while connection.execute(ended).first() is None:
            connection.rollback()
            assert time.monotonic() < deadline, "the branch does not time out"
            member.loop.turn(threading.Event())
            time.sleep(0.01)
    member.take(_result(tasks["Y"], {"late": True}))


CASES: dict[str, Callable[[_Member, Callable[[], _Member]], None]] = {
    "copies": _copies,
    "cancelled": _cancelled,
    "neighbours": _neighbours,
    "taken over": _taken_over,
    "poisoned": _poisoned,
    "timed out": _timed_out,
}


def transcript(database_url: str, rows: Engine) -> dict[str, str]:
    """Name of the case → all that happened in it, and the rows at its end, as text."""
    return {name: "\n".join(_told(case, database_url, rows)) for name, case in CASES.items()}


def _told(case: Callable[[_Member, Callable[[], _Member]], None], database_url: str, rows: Engine) -> list[str]:
    told: list[str] = []
    members: list[_Member] = []

    def member() -> _Member:
        members.append(_Member(database_url, rows, told))
        return members[-1]

    try:
        case(member(), member)
        with rows.connect() as connection:
            runs = connection.execute(text("SELECT run_id, status, cancelled_by FROM workflow_runs ORDER BY run_id"))
            told += [repr(tuple(row)) for row in runs]
            steps = "SELECT run_id, path, status, output_data FROM step_executions ORDER BY run_id, path, generation"
            told += [repr(tuple(row)) for row in connection.execute(text(steps))]
    finally:
        for one in members:
            one.die()
        with rows.connect() as connection:
            names = ", ".join(table.name for table in tables.metadata.sorted_tables)
            connection.execute(text(f"TRUNCATE {names} CASCADE"))
    return told
