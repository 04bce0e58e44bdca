"""The embedded stack serves, and what it has acknowledged survives what is done to it. Needs a real stack."""

from __future__ import annotations

import contextlib
import socket
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from harness.stack import EmbeddedStack, NotRunning, PortTaken, ServerDied, StackError
from harness.stack.artifacts import Fetch
from harness.stack.ports import HeldPort
from harness.stack.progress import Advance

CONSUME_MS = 15_000


@contextmanager
def cursor_on(url: str) -> Iterator[Any]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def query(url: str, statement: str) -> Any:
    with cursor_on(url) as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def produce(brokers: str, topic: str, value: bytes) -> None:
    with closing(KafkaProducer(bootstrap_servers=brokers, acks="all")) as producer:
        producer.send(topic, value).get(timeout=15)


def consume_first(brokers: str, topic: str) -> bytes:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=brokers,
        group_id=f"group-{uuid.uuid4()}",
        auto_offset_reset="earliest",
        consumer_timeout_ms=CONSUME_MS,
    )
    with closing(consumer):
        return bytes(next(consumer).value)


def test_database_answers_as_the_ordinary_user_of_its_url(stack: EmbeddedStack) -> None:
    """The URL logs in as workflow_user, who owns workflow_db and is no superuser."""
    statement = "SELECT current_user || ' ' || current_database() || ' ' || current_setting('is_superuser')"
    assert query(stack.database_url, statement) == "workflow_user workflow_db off"


def test_database_is_set_up_as_a_store_of_truth(stack: EmbeddedStack) -> None:
    """Nothing that makes a commit durable is switched off, and 200 connections are let in."""
    for setting, value in {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "max_connections": "200",
        "listen_addresses": "127.0.0.1",
    }.items():
        assert query(stack.database_url, f"SELECT current_setting('{setting}')") == value


def test_database_refuses_a_wrong_password(stack: EmbeddedStack) -> None:
    """A subject that loses the password is noticed."""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(stack.database_url.replace("workflow_password", "guess"))


def test_any_topic_works_at_its_first_use(stack: EmbeddedStack) -> None:
    """A topic that nobody made has six partitions and delivers."""
    topic = f"first-use-{uuid.uuid4()}"
    produce(stack.kafka_brokers, topic, b"hello")
    assert consume_first(stack.kafka_brokers, topic) == b"hello"
    with closing(KafkaConsumer(bootstrap_servers=stack.kafka_brokers)) as consumer:
        assert consumer.partitions_for_topic(topic) == set(range(6))


def test_records_and_offsets_survive_kill_9_of_the_broker(stack: EmbeddedStack) -> None:
    """What the broker acknowledged before it was killed is there when it serves again, at the same address."""
    topic = f"killed-{uuid.uuid4()}"
    group = f"group-{uuid.uuid4()}"
    produce(stack.kafka_brokers, topic, b"before")
    with closing(
        KafkaConsumer(
            topic, bootstrap_servers=stack.kafka_brokers, group_id=group, auto_offset_reset="earliest",
            enable_auto_commit=False, consumer_timeout_ms=CONSUME_MS,
        )
    ) as consumer:  # fmt: skip
        record = next(consumer)
        consumer.commit()
    address, pid = stack.kafka_brokers, stack.broker.pid
    stack.broker.kill()
    assert not stack.broker.is_serving()
    stack.broker.start()
    assert (stack.kafka_brokers, stack.broker.is_serving()) == (address, True)
    assert stack.broker.pid != pid
    assert consume_first(stack.kafka_brokers, topic) == b"before"
    with closing(KafkaConsumer(bootstrap_servers=stack.kafka_brokers, group_id=group)) as consumer:
        assert consumer.committed(TopicPartition(topic, record.partition)) == record.offset + 1


def test_rows_survive_kill_9_of_the_database(stack: EmbeddedStack) -> None:
    """A committed row is there after the database was killed and serves again, at the same address."""
    table = f"killed_{uuid.uuid4().hex}"
    with cursor_on(stack.database_url) as cursor:
        cursor.execute(f"CREATE TABLE {table} AS SELECT 42 AS answer")
    url, pid = stack.database_url, stack.database.pid
    stack.database.kill()
    assert not stack.database.is_serving()
    stack.database.start()
    assert (stack.database_url, stack.database.is_serving()) == (url, True)
    assert stack.database.pid != pid
    assert query(stack.database_url, f"SELECT answer FROM {table}") == 42


def test_a_stopped_part_starts_again_and_a_started_one_is_left_alone(stack: EmbeddedStack) -> None:
    """Stop and start are idempotent; a stopped part does not serve."""
    for part in (stack.database, stack.broker):
        part.stop()
        part.stop()
        assert part.pid is None
        assert not part.is_serving()
        part.start()
        pid = part.pid
        part.start()
        assert part.pid == pid
        assert part.is_serving()


def test_a_paused_part_answers_nothing_and_keeps_its_connections(stack: EmbeddedStack) -> None:
    """Pause stops all processes of a part, those that hold sessions too; resume lets them go on."""
    with cursor_on(stack.database_url) as cursor:
        stack.database.pause()
        try:
            assert not stack.database.is_serving()
        finally:
            stack.database.resume()
        cursor.execute("SELECT 7")
        assert cursor.fetchone() == (7,)
    stack.broker.pause()
    try:
        assert not stack.broker.is_serving()
    finally:
        stack.broker.resume()
    assert stack.broker.is_serving()


def test_a_fault_of_a_part_that_does_not_run_is_refused(stack: EmbeddedStack) -> None:
    """A fault that cannot be done is an error, never taken for done."""
    stack.database.stop()
    try:
        for fault in (stack.database.kill, stack.database.pause, stack.database.resume):
            with pytest.raises(NotRunning, match="PostgreSQL is not running"):
                fault()
    finally:
        stack.database.start()


def refusing_fetch() -> Fetch:
    def fetch(coordinate: str, *_: Advance | object) -> Any:
        raise AssertionError(f"a later start asked the network for {coordinate}")

    return fetch


def test_a_second_stack_runs_beside_the_first_without_network(stack: EmbeddedStack) -> None:
    """Two stacks share nothing; a start that finds the jars in the cache fetches none; extra listeners listen."""
    with EmbeddedStack(fetch=refusing_fetch(), extra_listeners={"FAULT": "127.0.0.1:19092"}) as second:
        assert second.database_url != stack.database_url
        assert second.kafka_brokers != stack.kafka_brokers
        topic = f"apart-{uuid.uuid4()}"
        produce(second.kafka_brokers, topic, b"second")
        with closing(KafkaConsumer(bootstrap_servers=stack.kafka_brokers)) as consumer:
            assert topic not in consumer.topics()
        # Who comes in by the extra listener is led to the address that it advertises.
        listener = second.broker.listener_address("FAULT")
        with closing(KafkaConsumer(bootstrap_servers=listener)) as consumer:
            assert [(node.host, node.port) for node in consumer._client.cluster.brokers()] == [("127.0.0.1", 19092)]
        assert stack.database.is_serving()
        assert stack.broker.is_serving()


@pytest.mark.parametrize("which", ["postgres_port", "kafka_port"])
def test_a_port_that_was_asked_for_and_is_taken_is_named(stack: EmbeddedStack, which: str) -> None:
    """The message names the port, and nothing is left of the start."""
    taken = stack.database.port if which == "postgres_port" else stack.broker.port
    other = EmbeddedStack(None, taken if which == "postgres_port" else None, taken if which == "kafka_port" else None)
    with pytest.raises(PortTaken, match=f"Port {taken} on 127.0.0.1.*ask for another port"):
        other.start()
    with pytest.raises(StackError, match="not started"):
        _ = other.database_url


def test_a_port_of_our_choice_that_is_lost_in_a_race_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """When somebody listens first on a port that was handed out, the server gets another one."""
    with contextlib.ExitStack() as thieves:
        stolen: dict[str, int] = {}

        class LostPort(HeldPort):
            def make_way(self) -> None:
                super().make_way()
                if self.purpose in ("PostgreSQL", "Kafka") and self.purpose not in stolen:
                    stolen[self.purpose] = self.port
                    thieves.enter_context(socket.create_server(("127.0.0.1", self.port)))

        monkeypatch.setattr("harness.stack.embedded.HeldPort", LostPort)
        with EmbeddedStack() as stack:
            assert set(stolen) == {"PostgreSQL", "Kafka"}
            assert stack.database.port != stolen["PostgreSQL"]
            assert stack.broker.port != stolen["Kafka"]
            assert query(stack.database_url, "SELECT 1") == 1
            assert stack.broker.is_serving()


def test_a_broker_that_dies_at_its_start_shows_the_end_of_its_log() -> None:
    """The reason, which only the server's log has, is in the message."""
    with pytest.raises(ServerDied, match="Too small maximum heap"):
        EmbeddedStack(kafka_heap_mib=1).start()
