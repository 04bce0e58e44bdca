"""The embedded stack, the reference's three parts as processes of their own, agents that the tests script, and eyes on it."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from kafka import KafkaConsumer, KafkaProducer

from harness.agents import AgentServer
from harness.client import TERMINAL, ApiClient, Run
from harness.stack import EmbeddedStack
from harness.subject import RunningSubject, Subject

ROOT = Path(__file__).parents[2]
REQUESTS = "workflow.execution.requests"
CANCELLATIONS = "workflow.cancellation.requests"
TASKS = "orchestrator.tasks.http"
RESULTS = "results.topic"
UPDATES = "workflow.monitoring.updates"
TOPICS = (REQUESTS, CANCELLATIONS, TASKS, RESULTS, UPDATES)
DEADLINE_SECONDS = 30.0
POLL_SECONDS = 0.02


class Messages:
    """Everything on the five topics, in the order in which each partition has it."""

    def __init__(self, brokers: str) -> None:
        self._changed = threading.Condition()
        self._seen: list[tuple[str, Any]] = []
        self._stop = threading.Event()
        self._consumer = KafkaConsumer(*TOPICS, bootstrap_servers=brokers, group_id=None, auto_offset_reset="earliest")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            for records in self._consumer.poll(timeout_ms=200).values():
                with self._changed:
                    self._seen += [(record.topic, _parsed(record.value)) for record in records]
                    self._changed.notify_all()

    def of(self, run_id: str, topic: str) -> list[dict[str, Any]]:
        """The messages of a run on a topic, so far."""
        with self._changed:
            return self._of(run_id, topic)

    def _of(self, run_id: str, topic: str) -> list[dict[str, Any]]:
        return [
            message
            for where, message in self._seen
            if where == topic and isinstance(message, dict) and message.get("run_id") == run_id
        ]

    def wait_for(
        self, run_id: str, topic: str, holds: Callable[[list[dict[str, Any]]], bool], what: str
    ) -> list[dict[str, Any]]:
        """The messages of a run on a topic, once the condition holds of them."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        with self._changed:
            while not holds(found := self._of(run_id, topic)):
                if not self._changed.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{topic}: not {what} within {DEADLINE_SECONDS} s; found {found}")
            return found

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()


def _parsed(value: bytes | None) -> Any:
    try:
        return json.loads(value or b"")
    except ValueError:
        return None


@dataclass
class Executor:
    """The running reference, and all ways to look at it and to act on it."""

    running: RunningSubject
    api: ApiClient
    agents: AgentServer
    messages: Messages
    producer: KafkaProducer
    connection: Any
    environment: Mapping[str, str] = field(default_factory=dict)

    def name(self, stem: str) -> str:
        """A name that no other test has."""
        return f"{stem}-{uuid.uuid4().hex[:8]}"

    def agent(self, script: Any) -> str:
        """Register an agent that follows the script; gives its name. No retries by the bridge, and a long patience."""
        name = self.name("agent")
        self.agents.play(name, script)
        self.api.create_agent(
            {
                "name": name,
                "url": self.agents.url(name),
                "timeout_ms": 60_000,
                "retry_config": {"max_retries": 1, "initial_delay_ms": 20, "max_delay_ms": 50},
            }
        )
        return name

    def chain(self, *agents: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A definition of agent steps s1, s2, ... one after another; each gets the input and the output before it."""
        steps: dict[str, Any] = {}
        for number, agent in enumerate(agents, 1):
            mapping = {"message": "$.workflow_input.message"}
            if number > 1:
                mapping["before"] = f"${{s{number - 1}.output}}"
            following = f"s{number + 1}" if number < len(agents) else None
            steps[f"s{number}"] = {
                "id": f"s{number}",
                "type": "agent",
                "agent_name": agent,
                "next_step": following,
                "input_mapping": mapping,
            }
        return {"name": self.name("wf"), "start_step": "s1", "steps": {**steps, **(more or {})}}

    def start(self, definition: Mapping[str, Any], **input_data: Any) -> str:
        """Create the workflow and execute it; gives the run's id."""
        return self.api.execute(self.api.create_workflow(definition)["id"], input_data)["run_id"]

    def wait_until(self, holds: Callable[[], Any], what: str, deadline_seconds: float = DEADLINE_SECONDS) -> Any:
        """The first true value that the condition gives."""
        deadline = time.monotonic() + deadline_seconds
        while not (value := holds()):
            if time.monotonic() > deadline:
                tails = "\n".join(f"--- {one.name}\n{one.log_tail()}" for one in self.running.processes)
                raise AssertionError(f"not {what} within {deadline_seconds} s\n{tails}")
            time.sleep(POLL_SECONDS)
        return value

    def ended(self, run_id: str) -> Run:
        """The run, once it has ended."""

        def read() -> Run | None:
            run = self.api.run(run_id)
            return run if run["status"] in TERMINAL else None

        ended: Run = self.wait_until(read, f"an end of {run_id}")
        return ended

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query."""
        with self.connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(statement, values)
            return [dict(row) for row in cursor.fetchall()]

    def run_row(self, run_id: str) -> dict[str, Any]:
        """The run's row."""
        (row,) = self.rows("SELECT * FROM workflow_runs WHERE run_id = %s", run_id)
        return row

    def step_rows(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of the run's steps that stand, in the order in which they began."""
        return self.rows(
            "SELECT * FROM step_executions WHERE run_id = %s AND NOT superseded ORDER BY started_at, id", run_id
        )

    def publish(self, topic: str, key: str, value: bytes | Mapping[str, Any]) -> None:
        """Publish on a topic, and wait until the broker has it."""
        encoded = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.producer.send(topic, key=key.encode(), value=encoded).get(timeout=DEADLINE_SECONDS)


@pytest.fixture(scope="session")
def agents() -> Iterator[AgentServer]:
    """The agents that tests script, and the samples."""
    with AgentServer() as served:
        yield served


@pytest.fixture(scope="session")
def running(stack: EmbeddedStack) -> Iterator[RunningSubject]:
    """API, two consumers and bridge. Tests may stop and kill processes, and leave as many running."""
    # A killed consumer is soon noticed.
    environment = {"KAFKA_SESSION_TIMEOUT_MS": "3000"}
    subject = Subject.load(ROOT / "subjects" / "reference.yaml")
    with subject.start(stack, counts={"consumer": 2}, environment=environment) as started:
        yield started


@pytest.fixture(scope="session")
def executor(running: RunningSubject, agents: AgentServer) -> Iterator[Executor]:
    """The running reference with clients for REST, Kafka and rows."""
    messages = Messages(running.stack.kafka_brokers)
    producer = KafkaProducer(bootstrap_servers=running.stack.kafka_brokers, acks="all")
    connection = psycopg2.connect(running.stack.database_url)
    connection.autocommit = True
    with ApiClient(running.api_url) as api:
        yield Executor(running, api, agents, messages, producer, connection)
    connection.close()
    producer.close()
    messages.close()


@pytest.fixture(autouse=True)
def _everything_still_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """A process that dies by itself fails the test during which it died."""
    yield
    if "running" in request.fixturenames or "executor" in request.fixturenames:
        running: RunningSubject = request.getfixturevalue("running")
        dead = [f"{one.name}: exit code {one.exit_code}\n{one.log_tail()}" for one in running.died()]
        assert not dead, "\n".join(dead)
