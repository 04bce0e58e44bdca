"""A session on a stack that somebody else runs: everything has a name of its own there, and is gone with it."""

from __future__ import annotations

import contextlib
import gc
import socket
import warnings
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaConnectionError

from harness.stack import EmbeddedStack, GuestStack, NamesInUse, StackError
from harness.stack.guest import new_prefix

SOMEBODYS = "somebody.s-topic"


@pytest.fixture(autouse=True)
def sockets_of_clients() -> Iterator[None]:
    """A member that leaves its group may leave a socket behind in kafka-python; found later, it would be another test's."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def admin(stack: EmbeddedStack) -> Iterator[Any]:
    client = KafkaAdminClient(bootstrap_servers=stack.kafka_brokers)
    yield client
    client.close()


@contextlib.contextmanager
def member(stack: EmbeddedStack, topic: str, group: str) -> Iterator[None]:
    """A consumer that is in a group and reads a topic."""
    consumer = KafkaConsumer(topic, bootstrap_servers=stack.kafka_brokers, group_id=group, auto_offset_reset="earliest")
    try:
        for _ in range(100):
            consumer.poll(timeout_ms=200)
            if consumer.assignment():
                break
        assert consumer.assignment()
        yield
    finally:
        consumer.close()


def send(stack: EmbeddedStack, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=stack.kafka_brokers)
    producer.send(topic, b"{}").get(timeout=30)
    producer.close()


def databases(stack: EmbeddedStack) -> set[str]:
    with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        return {name for (name,) in cursor.fetchall()}


def guest(stack: EmbeddedStack, prefix: str, *topics: str, groups: tuple[str, ...] = ()) -> GuestStack:
    return GuestStack(stack.database_url, stack.kafka_brokers, prefix=prefix, topics=topics, groups=groups)


def test_a_session_removes_what_it_has_made_and_nothing_else(stack: EmbeddedStack, admin: Any) -> None:
    """Its database, topics, dead letters and groups go; what was there before, or came from elsewhere, stays."""
    send(stack, SOMEBODYS)
    send(stack, "shared.topic")
    with member(stack, SOMEBODYS, "somebody.s-group"):
        before = databases(stack)
        prefix = new_prefix()
        with guest(stack, prefix, "shared.topic", "bare.topic", groups=("bare-group",)) as place:
            (made,) = databases(stack) - before
            assert place.database_url.endswith(f"/{made}")
            with contextlib.closing(psycopg2.connect(place.database_url)) as connection:
                connection.cursor().execute("CREATE TABLE workflow_runs (run_id text)")
            for topic in (f"{prefix}requests", "shared.topic", "bare.topic", "bare.topic.dlq", "elsewhere.topic"):
                send(stack, topic)
            with member(stack, f"{prefix}requests", f"{prefix}group"), member(stack, "bare.topic", "bare-group"):
                pass
            # A connection that nobody closed does not keep the database.
            lingering = psycopg2.connect(place.database_url)
        lingering.close()
        assert databases(stack) == before
        topics, groups = set(admin.list_topics()), {group["group_id"] for group in admin.list_groups()}
        assert {name for name in topics if prefix in name or name.startswith("bare.")} == set()
        assert topics > {SOMEBODYS, "shared.topic", "elsewhere.topic"}
        assert {name for name in groups if prefix in name or name == "bare-group"} == set()
        assert "somebody.s-group" in groups
        place.stop()


@pytest.mark.parametrize(("topic", "group"), [("in.use", "not-the-subject-s"), ("not.the-subject-s", "in-use")])
def test_names_that_somebody_uses_are_refused(stack: EmbeddedStack, topic: str, group: str) -> None:
    """A running deployment neither loses messages to the subject nor takes its."""
    send(stack, topic)
    before = databases(stack)
    refused = pytest.raises(NamesInUse, match=rf"consumer group {group}, with 1 members.*\{{prefix\}}")
    with member(stack, topic, group), refused:
        guest(stack, new_prefix(), "in.use", groups=("in-use",)).start()
    assert databases(stack) == before


def test_a_user_that_may_not_create_a_database_is_told_how_it_may(stack: EmbeddedStack) -> None:
    with superuser(stack) as cursor:
        cursor.execute("ALTER ROLE workflow_user NOCREATEDB")
        try:
            with pytest.raises(StackError, match="`ALTER ROLE workflow_user CREATEDB`"):
                guest(stack, new_prefix()).start()
        finally:
            cursor.execute("ALTER ROLE workflow_user CREATEDB")


def test_what_is_not_there_is_named(stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(StackError, match="PostgreSQL of DATABASE_URL cannot be used"):
            nothing_of(f"postgresql://u:p@{nowhere}/x", stack.kafka_brokers).start()

    def refused(**_: object) -> None:
        raise KafkaConnectionError

    # The client leaves a socket behind when it is refused, which a test may not.
    monkeypatch.setattr("harness.stack.guest.KafkaAdminClient", refused)
    with pytest.raises(StackError, match=r"Kafka of KAFKA_BROKERS \(broker:1\) cannot be used: .*KafkaConnectionError"):
        nothing_of(stack.database_url, "broker:1").start()


def nothing_of(database_url: str, kafka_brokers: str) -> GuestStack:
    return GuestStack(database_url, kafka_brokers, prefix=new_prefix(), topics=(), groups=())


@contextlib.contextmanager
def superuser(stack: EmbeddedStack) -> Iterator[Any]:
    with contextlib.closing(psycopg2.connect(stack.database.superuser_url)) as connection:
        connection.autocommit = True
        yield connection.cursor()
