"""Two benches for the consumer, both on a real PostgreSQL.

`bench` makes members whose Kafka is a stand-in of the ports: what comes in one batch, what Kafka acknowledges and who
dies when are then said by the test. `lab` runs the loop on the real Kafka and speaks to it with kafka-python.
"""

from __future__ import annotations

import json
import threading
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from system.adapters.clock import SystemClock
from system.adapters.kafka import KafkaPublisher, KafkaSubscription, ensure_topics
from system.adapters.postgres import connect
from system.consumer.executor import Executor
from system.consumer.folding import Limits
from system.consumer.loop import ConsumerLoop, LoopSettings
from system.consumer.store import ConsumerStore
from system.outbox import Outbox
from system.ports import Message, Publisher, PublishError, Received, Subscription
from tests.waiting import until

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

DEADLINE_SECONDS = 20
REQUESTS, CANCELLATIONS, RESULTS = "workflow.execution.requests", "workflow.cancellation.requests", "results.topic"
TASKS, UPDATES = "orchestrator.tasks.http", "workflow.monitoring.updates"


def new_run_id() -> str:
    return f"run-{uuid.uuid4()}"


def plan(*steps: str, **more: Any) -> dict[str, Any]:
    """A plan of agent steps in a chain, each but the first with the output of the one before as its input."""
    made = {}
    for position, step in enumerate(steps or ("a",)):
        mapping = {"x": "${workflow.input.x}"} if position == 0 else {"x": f"${{{steps[position - 1]}.output.x}}"}
        following = steps[position + 1] if position + 1 < len(steps) else None
        made[step] = {
            "id": step,
            "type": "agent",
            "agent_name": "echo",
            "next_step": following,
            "input_mapping": mapping,
        }
    return {
        "workflow_id": "wf-test-1", "name": "test", "version": "1", "start_step": (steps or ("a",))[0], "steps": made,
    } | more  # fmt: skip


def forked(timeout_seconds: float) -> dict[str, Any]:
    """A plan of one fork_join whose branches `left` and `right` need one success; `right` may time out."""
    branches = {"left": {"steps": ["l"]}, "right": {"steps": ["r"], "timeout_seconds": timeout_seconds}}
    config = {"branches": branches, "join_policy": "any"}
    steps: dict[str, Any] = {"f": {"id": "f", "type": "fork_join", "next_step": None, "fork_join_config": config}}
    for step in ("l", "r"):
        steps[step] = {"id": step, "type": "agent", "agent_name": "echo", "next_step": None, "input_mapping": {}}
    return {"workflow_id": "wf-fork-1", "name": "fork", "version": "1", "start_step": "f", "steps": steps}


def now_text() -> str:
    return datetime.now(UTC).isoformat()


def request(run_id: str, workflow_plan: Any = None, input_data: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "workflow_plan": plan("a") if workflow_plan is None else workflow_plan,
        "input_data": {"x": 1} if input_data is None else input_data,
        "timestamp": now_text(),
        "message_type": "execution_request",
    } | more


def cancellation(run_id: str, **more: Any) -> dict[str, Any]:
    return {
        "run_id": run_id, "cancelled_by": "ada", "reason": None, "timestamp": now_text(),
        "message_type": "cancellation_request",
    } | more  # fmt: skip


def result(task: dict[str, Any], output: Any = None, error: str | None = None, **more: Any) -> dict[str, Any]:
    """The answer to a task: its input as output unless told otherwise."""
    return {
        "run_id": task["run_id"],
        "task_id": task["task_id"],
        "status": "SUCCESS" if error is None else "FAILURE",
        "output_data": (task["input_data"] if output is None else output) if error is None else None,
        "correlation_id": task["correlation_id"],
        "error_message": error,
        "timestamp": now_text(),
    } | more


class PublisherStandIn:
    """Publisher port: acknowledges on `poll`, holds everything back, or refuses what `refuses` says."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.holding = False
        self.refuses: Callable[[Message], bool] = lambda _: False
        self.waiting: deque[tuple[Message, Callable[[Exception | None], None]]] = deque()

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        self.waiting.append((message, on_delivered))

    def poll(self, timeout_seconds: float = 0.0) -> None:
        while self.waiting and not self.holding:
            message, on_delivered = self.waiting.popleft()
            if self.refuses(message):
                on_delivered(PublishError("the broker does not want it"))
            else:
                self.sent.append(message)
                on_delivered(None)

    def flush(self, timeout_seconds: float) -> int:
        self.poll(timeout_seconds)
        return len(self.waiting)


class SubscriptionStandIn:
    """Subscription port: gives the batches that a test queued, and notes what is done."""

    def __init__(self) -> None:
        self.batches: deque[Sequence[Received]] = deque()
        self.committed: dict[tuple[str, int], int] = {}
        self.closed = False

    def poll(self, limit: int, timeout_seconds: float) -> Sequence[Received]:
        return self.batches.popleft() if self.batches else ()

    def done(self, topic: str, partition: int, next_offset: int) -> None:
        self.committed[topic, partition] = next_offset

    def seek(self, topic: str, partition: int, offset: int) -> None:
        raise AssertionError(f"{topic}[{partition}]@{offset} was put back, although nothing was read")

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def compose(
    subscription: Subscription,
    publisher: Publisher,
    engine: Engine,
    topics: Sequence[str] = (REQUESTS, CANCELLATIONS, RESULTS, TASKS, UPDATES),
    *,
    takeover_ms: int = 15_000,
    run_timeout_seconds: int = 0,
    task_redelivery_seconds: int = 0,
    max_message_bytes: int = 1_000_000,
    batch_size: int = 500,
) -> tuple[ConsumerLoop, Outbox, Executor]:
    """The parts of a consumer put together as the service does it."""
    outbox = Outbox(engine, publisher, takeover_ms=takeover_ms)
    store = ConsumerStore(engine, outbox, runs_have_deadlines=run_timeout_seconds > 0)
    clock = SystemClock()
    limits = Limits(topics[3], topics[4], max_message_bytes, run_timeout_seconds)
    executor = Executor(store, outbox, publisher, clock, limits, most_cached_runs=100)
    settings = LoopSettings(
        *topics[:3], batch_size=batch_size, task_redelivery_seconds=task_redelivery_seconds, shutdown_timeout_seconds=5
    )
    return ConsumerLoop(subscription, publisher, engine, outbox, store, executor, clock, settings), outbox, executor


class Member:
    """A consumer that a test turns by hand. `take` is one batch, in the order given."""

    def __init__(self, database_url: str, **settings: Any) -> None:
        self.publisher = PublisherStandIn()
        self.subscription = SubscriptionStandIn()
        self.engine = connect(database_url, pool_size=4, application_name=f"test-member-{uuid.uuid4()}")
        self.loop, self.outbox, self.executor = compose(self.subscription, self.publisher, self.engine, **settings)
        self.outbox.open()
        self._offsets: dict[str, int] = {}

    def receive(self, *messages: tuple[str, Any]) -> list[Received]:
        """Messages as they would be read next, each given as (topic, value)."""
        received = []
        for topic, value in messages:
            offset = self._offsets.get(topic, 0)
            self._offsets[topic] = offset + 1
            encoded = value if isinstance(value, bytes) else json.dumps(value).encode()
            received.append(Received(topic, 0, offset, b"key", encoded))
        return received

    def take(self, *messages: tuple[str, Any]) -> None:
        self.subscription.batches.append(self.receive(*messages))
        self.turn()
        # An idle turn, in which the outbox is settled.
        self.turn()

    def turn(self) -> None:
        self.loop.turn(threading.Event())

    def tasks(self, run_id: str | None = None) -> list[dict[str, Any]]:
        return self.values(TASKS, run_id)

    def updates(self, run_id: str | None = None) -> list[tuple[str, str]]:
        return [(update["step_id"], update["status"]) for update in self.values(UPDATES, run_id)]

    def values(self, topic: str, run_id: str | None = None) -> list[dict[str, Any]]:
        """What has reached Kafka from this member."""
        found = [json.loads(message.value) for message in self.publisher.sent if message.topic == topic]
        return [value for value in found if run_id in (None, value["run_id"])]

    def letters(self, topic: str) -> list[Message]:
        return [message for message in self.publisher.sent if message.topic == f"{topic}.dlq"]

    def die(self) -> None:
        """End as by kill -9: connections break, nothing is sent, settled or committed any more."""
        self.outbox._drop_lock_connection()
        self.engine.dispose()


class Rows:
    """What the database says, by a connection of the test's own."""

    def __init__(self, database_url: str) -> None:
        self.url = database_url
        self.engine = create_engine(database_url, isolation_level="AUTOCOMMIT", json_deserializer=json.loads)

    def execute(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            outcome = connection.execute(text(statement), values)
            return [dict(row) for row in outcome.mappings()] if outcome.returns_rows else []

    def run(self, run_id: str) -> dict[str, Any]:
        found = self.execute("SELECT * FROM workflow_runs WHERE run_id = :run_id", run_id=run_id)
        assert len(found) == 1, f"{run_id} has {len(found)} rows"
        return found[0]

    def status(self, run_id: str) -> str | None:
        found = self.execute("SELECT status FROM workflow_runs WHERE run_id = :run_id", run_id=run_id)
        return found[0]["status"] if found else None

    def steps(self, run_id: str) -> list[tuple[str, str]]:
        statement = "SELECT path, status FROM step_executions WHERE run_id = :run_id AND NOT superseded ORDER BY id"
        return [(row["path"], row["status"]) for row in self.execute(statement, run_id=run_id)]

    def owed(self) -> int:
        count: int = self.execute("SELECT count(*) AS n FROM outbox")[0]["n"]
        return count


class Bench:
    """Members of one group on one database."""

    def __init__(self, database_url: str) -> None:
        self.rows = Rows(database_url)
        self._members: list[Member] = []

    def member(self, **settings: Any) -> Member:
        made = Member(self.rows.url, **settings)
        self._members.append(made)
        return made

    @contextmanager
    def temporary_member(self) -> Iterator[Member]:
        """A member that dies at the end of the block, for tests that need many one after another."""
        member = Member(self.rows.url)
        try:
            yield member
        finally:
            member.die()

    def close(self) -> None:
        for member in self._members:
            member.die()
        self.rows.execute("DELETE FROM outbox")
        self.rows.engine.dispose()


@pytest.fixture(scope="session")
def say() -> SimpleNamespace:
    """The messages of the contract, as others would say them, and waiting for what they lead to."""
    return SimpleNamespace(
        new_run_id=new_run_id, plan=plan, forked=forked, request=request, cancellation=cancellation, result=result,
        until=until, REQUESTS=REQUESTS, CANCELLATIONS=CANCELLATIONS, RESULTS=RESULTS, TASKS=TASKS, UPDATES=UPDATES,
    )  # fmt: skip


@pytest.fixture
def bench(module_database: str) -> Iterator[Bench]:
    bench = Bench(module_database)
    yield bench
    bench.close()


class Lab:
    """The loop on the real Kafka, with topics and a database of its own."""

    def __init__(self, brokers: str, database_url: str, *, partitions: int = 3) -> None:
        prefix = f"t{uuid.uuid4().hex[:8]}."
        self.brokers = brokers
        self.group = f"{prefix}group"
        self.topics = tuple(prefix + topic for topic in (REQUESTS, CANCELLATIONS, RESULTS, TASKS, UPDATES))
        self.requests, self.cancellations, self.results, self.tasks_topic, self.updates_topic = self.topics
        self.letters_topics = tuple(f"{topic}.dlq" for topic in self.topics[:3])
        self.rows = Rows(database_url)
        ensure_topics(brokers, (*self.topics, *self.letters_topics), partitions=partitions, timeout_seconds=20)
        self._partitions = partitions
        self._producer = KafkaProducer(bootstrap_servers=brokers, acks="all", linger_ms=0)
        self._consumer = KafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False, fetch_max_wait_ms=50)
        observed = (self.tasks_topic, self.updates_topic, *self.letters_topics)
        assigned = [TopicPartition(topic, number) for topic in observed for number in range(partitions)]
        self._consumer.assign(assigned)
        self._consumer.seek_to_beginning(*assigned)
        self._seen: dict[str, list[Any]] = {topic: [] for topic in observed}
        self.environment = {
            "DATABASE_URL": database_url,
            "KAFKA_BROKERS": brokers,
            "KAFKA_GROUP_ID": self.group,
            "KAFKA_EXECUTION_TOPIC": self.requests,
            "KAFKA_CANCELLATION_TOPIC": self.cancellations,
            "KAFKA_RESULTS_TOPIC": self.results,
            "KAFKA_TASKS_TOPIC": self.tasks_topic,
            "KAFKA_MONITORING_TOPIC": self.updates_topic,
            "KAFKA_PARTITIONS": str(partitions),
        }

    def publish(self, topic: str, value: Any, *, key: bytes | None = None, partition: int | None = None) -> None:
        encoded = value if isinstance(value, bytes | None) else json.dumps(value).encode()
        if key is None and isinstance(value, dict):
            key = str(value.get("run_id")).encode()
        self._producer.send(topic, key=key, value=encoded, partition=partition).get(DEADLINE_SECONDS)

    def observe(self, topic: str) -> list[Any]:
        """Records of a topic that have been seen so far."""
        for records in self._consumer.poll(timeout_ms=20).values():
            for record in records:
                self._seen[record.topic].append(record)
        return self._seen[topic]

    def values(self, topic: str, run_id: str) -> list[dict[str, Any]]:
        return [json.loads(r.value) for r in self.observe(topic) if r.key == run_id.encode()]

    def tasks(self, run_id: str, count: int) -> list[dict[str, Any]]:
        """The tasks of a run, once there are so many."""
        found: list[dict[str, Any]] = until(
            lambda: len(tasks := self.values(self.tasks_topic, run_id)) >= count and tasks, f"{count} tasks of {run_id}"
        )
        assert len(found) == count
        return found

    def letters(self, topic: str, count: int) -> list[Any]:
        """The dead letters of a topic, once there are so many."""
        name = f"{topic}.dlq"
        found: list[Any] = until(lambda: len(self.observe(name)) >= count and self._seen[name], f"{count} letters")
        return found

    def await_status(self, run_id: str, status: str) -> dict[str, Any]:
        until(lambda: self.rows.status(run_id) == status, f"{run_id} {status}")
        return self.rows.run(run_id)

    def finish(self, run_id: str, count: int, *, first: int = 1) -> None:
        """Answer the tasks of a chain one after another, from the `first`, until the run is COMPLETED."""
        for number in range(first, count + 1):
            self.publish(self.results, result(self.tasks(run_id, number)[-1]))
        self.await_status(run_id, "COMPLETED")

    def committed(self) -> dict[tuple[str, int], int]:
        """Offsets that the group has committed."""
        admin = KafkaAdminClient(bootstrap_servers=self.brokers)
        try:
            found = admin.list_group_offsets({self.group: None})[self.group]
            return {(partition.topic, partition.partition): offset.offset for partition, offset in found.items()}
        finally:
            admin.close()

    def await_all_read(self) -> None:
        """Wait until the group has committed everything that stands on the topics that it reads."""
        read = [TopicPartition(topic, number) for topic in self.topics[:3] for number in range(self._partitions)]

        def caught_up() -> bool:
            ends = self._consumer.end_offsets(read)
            committed = self.committed()
            return all(committed.get((at.topic, at.partition), 0) >= end for at, end in ends.items())

        until(caught_up, "all messages read and committed")

    @contextmanager
    def looping(self, **settings: Any) -> Iterator[ConsumerLoop]:
        """A member of the group in a thread, stopped in order at the end."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        engine = connect(self.rows.url, pool_size=4, application_name=name)
        publisher = KafkaPublisher(self.brokers, client_id=name, max_message_bytes=1_000_000)
        subscription = KafkaSubscription(
            self.brokers, group_id=self.group, topics=self.topics[:3], client_id=name,
            session_timeout_ms=6000, max_message_bytes=1_000_000,
        )  # fmt: skip
        loop, _, _ = compose(subscription, publisher, engine, self.topics, **settings)
        stop = threading.Event()
        ended: list[BaseException | None] = []

        def work() -> None:
            try:
                loop.run(stop)
                ended.append(None)
            except BaseException as error:
                ended.append(error)
                raise

        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        try:
            yield loop
        finally:
            stop.set()
            thread.join(DEADLINE_SECONDS)
            engine.dispose()
            assert ended == [None], f"the loop did not end in order: {ended}"

    def close(self) -> None:
        self._producer.close()
        self._consumer.close()
        self.rows.engine.dispose()


@pytest.fixture(scope="session")
def make_lab(stack: Any, tables_database: Callable[[], str]) -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def make(brokers: str = stack.kafka_brokers, database_url: str | None = None) -> Lab:
        made.append(Lab(brokers, database_url or tables_database()))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """A lab of the test's own; no loop runs in it yet."""
    return make_lab()


@pytest.fixture(scope="session")
def running(make_lab: Callable[..., Lab]) -> Iterator[Lab]:
    """A lab in which one loop runs for all tests that do not disturb it."""
    lab = make_lab()
    with lab.looping():
        yield lab
