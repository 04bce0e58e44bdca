"""A real Kafka and PostgreSQL for the bridge, and the bridge as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from harness.agents import AgentServer
from system.tables import agents as agents_table
from system.tables import metadata, step_executions
from tests.waiting import until

with warnings.catch_warnings():
    # kafka-python reads its own files by functions that the standard library has deprecated since.
    warnings.filterwarnings("ignore", r"(read|open)_text is deprecated", DeprecationWarning)
    from harness.stack import EmbeddedStack

_ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack() as running:
        yield running


@pytest.fixture(scope="session")
def engine(stack: EmbeddedStack) -> Iterator[Engine]:
    url = stack.database_url.replace("postgresql://", "postgresql+psycopg2://", 1)
    # No pool: the database is killed and started again under these tests.
    engine = create_engine(url, poolclass=NullPool)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def agents() -> Iterator[AgentServer]:
    with AgentServer() as server:
        yield server


class BridgeProcess:
    """A bridge on topics of its own, with everything that a test sends it and reads from it."""

    def __init__(self, stack: EmbeddedStack, engine: Engine, agents: AgentServer, log_path: Path) -> None:
        self.tag = uuid.uuid4().hex[:8]
        self.tasks_topic = f"tasks-{self.tag}"
        self.results: dict[str, list[dict[str, Any]]] = {}
        self.letters: list[Message] = []
        self.received = 0
        self._engine = engine
        self._agents = agents
        self._log_path = log_path
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ,
            "DATABASE_URL": stack.database_url,
            "KAFKA_BROKERS": stack.kafka_brokers,
            "KAFKA_TASKS_TOPIC": self.tasks_topic,
            "KAFKA_RESULTS_TOPIC": f"results-{self.tag}",
            "KAFKA_BRIDGE_GROUP_ID": f"bridge-{self.tag}",
            "KAFKA_SESSION_TIMEOUT_MS": "1500",
            "KAFKA_PARTITIONS": "2",
            "AGENT_REGISTRY_CACHE_MS": "200",
            "LOG_LEVEL": "DEBUG",
        }
        common = {"bootstrap.servers": stack.kafka_brokers, "reconnect.backoff.max.ms": 500}
        self._producer = Producer({**common, "partitioner": "murmur2_random"})
        self._consumer = Consumer(
            {
                **common,
                "group.id": f"tests-{self.tag}",
                "auto.offset.reset": "earliest",
                "topic.metadata.refresh.interval.ms": 300,
            }
        )
        self._consumer.subscribe([f"results-{self.tag}", f"{self.tasks_topic}.dlq"])

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start a bridge with further settings, and return once it reads."""
        lines = self.log().count("Starting bridge main loop")
        with self._log_path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "system", "bridge"],
                cwd=_ROOT,
                env={**self._environment, **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        until(
            lambda: self.log().count("Starting bridge main loop") > lines or process.poll() is not None,
            "the bridge reads",
        )
        assert process.poll() is None, self.log()
        return process

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
        """Wait for a condition; fails with what was expected when it does not come about in time."""
        until(condition, what, seconds)

    def log(self) -> str:
        """Everything that bridges of this test have logged."""
        return self._log_path.read_text() if self._log_path.exists() else ""

    def register(self, name: str, **fields: Any) -> str:
        """Register an agent of the test's server under a name that is this test's alone; gives that name."""
        own = f"{name}-{self.tag}"
        values = {"name": own, "url": self._agents.url(own), "timeout_ms": 5000, **fields}
        with self._engine.begin() as connection:
            connection.execute(agents_table.insert().values(values))
        return own

    def task(self, agent: str, task_id: str, **fields: Any) -> dict[str, Any]:
        """A task of this test."""
        return {
            "run_id": f"run-{self.tag}-{task_id}",
            "task_id": task_id,
            "agent_name": agent,
            "input_data": {"n": task_id},
            "correlation_id": f"corr-{task_id}",
            "timestamp": "2025-03-04T10:15:30.250Z",
            **fields,
        }

    def send(self, messages: Sequence[dict[str, Any] | bytes]) -> None:
        """Publish tasks, or whatever bytes, and return once Kafka has them."""
        for message in messages:
            value = message if isinstance(message, bytes) else json.dumps(message).encode()
            key = b"bad" if isinstance(message, bytes) else message["run_id"].encode()
            self._producer.produce(self.tasks_topic, value, key)
        assert self._producer.flush(30) == 0

    def poll(self) -> None:
        """Read what has come."""
        first = self._consumer.poll(0.05)
        for message in ([first] if first is not None else []) + self._consumer.consume(1000, 0):
            if message.error() is not None:
                continue
            if message.topic() == f"{self.tasks_topic}.dlq":
                self.letters.append(message)
                continue
            value = message.value()
            assert value is not None
            result = json.loads(value)
            assert message.key() == result["run_id"].encode()
            self.results.setdefault(result["task_id"], []).append(result)
            self.received += 1

    def results_of(self, task_ids: Sequence[str], seconds: float = 30.0) -> list[dict[str, Any]]:
        """The first result of each of the tasks, once all are there."""

        def complete() -> bool:
            self.poll()
            return all(task_id in self.results for task_id in task_ids)

        until(complete, f"results of {len(task_ids)} tasks", seconds)
        return [self.results[task_id][0] for task_id in task_ids]

    def running(self, tasks: Sequence[dict[str, Any]]) -> None:
        """Write the executor's rows of tasks that are running."""
        rows = [
            {"run_id": t["run_id"], "step_id": "s", "path": "s", "status": "RUNNING", "task_id": t["task_id"]}
            for t in tasks
        ]
        with self._engine.begin() as connection:
            connection.execute(step_executions.insert(), rows)

    def apply(self, task_ids: Sequence[str]) -> None:
        """Do what an executor does with results: end the rows."""
        with self._engine.begin() as connection:
            connection.execute(
                step_executions.update().where(step_executions.c.task_id.in_(task_ids)).values(status="COMPLETED")
            )

    def calls(self) -> Counter[str]:
        """How often each task was called."""
        return Counter(call.task_id for call in self._agents.ledger())

    def close(self) -> None:
        """End what is left."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(5)
        self._consumer.close()


@pytest.fixture
def bridge(stack: EmbeddedStack, engine: Engine, agents: AgentServer, tmp_path: Path) -> Iterator[BridgeProcess]:
    running = BridgeProcess(stack, engine, agents, tmp_path / "bridge.log")
    yield running
    running.close()
