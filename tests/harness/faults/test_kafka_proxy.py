"""The proxy before Kafka, between real clients and a real broker: librdkafka, and kafka-python, which shares no code with
it."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
import uuid
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as OffsetOf
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import TopicAuthorizationFailedError

from harness.faults.proxy.gate import Decision, Passage
from harness.faults.proxy.kafka_wire import API_VERSIONS, HIGHEST, PRODUCE, Reader, WireError, produced, read_request
from tests.harness.faults.conftest import Proxied, Told

_SECONDS = 20.0
_FETCH = 1


@pytest.fixture
def topic() -> str:
    """A topic of its own."""
    return f"things-{uuid.uuid4().hex[:8]}"


def _librdkafka(brokers: str, topic: str) -> None:
    problems: list[Any] = []
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "log_level": 0})
    producer.produce(topic, b"one", on_delivery=lambda error, _: problems.append(error))
    producer.flush(_SECONDS)
    assert len(problems) == 1
    if problems[0] is not None:
        raise KafkaException(problems[0])


def _kafka_python(brokers: str, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=brokers, retry_backoff_ms=20)
    try:
        producer.send(topic, b"one").get(_SECONDS)
    finally:
        producer.close()


def _begin(proxied: Proxied, told: Told, topic: str) -> None:
    """Have the topic made, by a message that may have to be sent more than once until it has leaders."""
    _kafka_python(proxied.brokers, topic)
    told.before_it.clear()
    told.after_it.clear()


CLIENTS = pytest.mark.parametrize("send", [_librdkafka, _kafka_python])


def _messages(brokers: str, topic: str) -> int:
    consumer = KafkaConsumer(bootstrap_servers=brokers)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        return int(sum(consumer.end_offsets(partitions).values()))
    finally:
        consumer.close()


@CLIENTS
def test_a_produce_is_told_with_its_topic(proxied: Proxied, told: Told, topic: str, send: Any) -> None:
    """A Produce is a crossing, before and after it takes effect, whichever client sends it."""
    _begin(proxied, told, topic)
    send(proxied.brokers, topic)
    assert told.of("produce") == [(topic,)]
    assert [names for boundary, names in told.after_it if boundary == "produce"] == [(topic,)]


@CLIENTS
def test_a_produce_is_refused_once(proxied: Proxied, told: Told, topic: str, send: Any) -> None:
    """A client understands the retriable error, sends again, and the message is there once."""
    _begin(proxied, told, topic)
    told.refuse("produce", "error_retriable")
    send(proxied.brokers, topic)
    assert told.of("produce") == [(topic,)] * 2
    assert _messages(proxied.brokers, topic) == 2


def test_a_produce_is_refused_for_good(proxied: Proxied, told: Told, topic: str) -> None:
    """A client understands the fatal error, and nothing is there."""
    _kafka_python(proxied.brokers, topic)
    told.refuse("produce", "error_fatal")
    with pytest.raises(TopicAuthorizationFailedError):
        _kafka_python(proxied.brokers, topic)
    told.refuse("produce", "error_fatal")
    with pytest.raises(KafkaException, match=r"TOPIC_AUTHORIZATION_FAILED|authorization"):
        _librdkafka(proxied.brokers, topic)
    assert _messages(proxied.brokers, topic) == 1


def test_a_lost_answer_has_the_message_sent_again(proxied: Proxied, told: Told, topic: str) -> None:
    """The connection is reset when the message is there: the idempotent client sends it again, and Kafka keeps one."""
    _begin(proxied, told, topic)
    told.next_after["produce"] = Decision(Passage.CLOSE)
    _librdkafka(proxied.brokers, topic)
    assert told.of("produce") == [(topic,)] * 2
    assert _messages(proxied.brokers, topic) == 2


def test_a_member_of_a_group_is_told(proxied: Proxied, told: Told, topic: str) -> None:
    """Joining, the session time-out that is asked for, heartbeats and committed offsets are seen; a commit that is refused
    as retriable is made again."""
    _librdkafka(proxied.brokers, topic)
    told.refuse("join", "error_retriable")
    told.refuse("offsets", "error_retriable")
    consumer = Consumer(
        {
            "bootstrap.servers": proxied.brokers, "group.id": f"group-{topic}", "auto.offset.reset": "earliest",
            "session.timeout.ms": 2500, "heartbeat.interval.ms": 200, "enable.auto.commit": False, "log_level": 0,
        }
    )  # fmt: skip
    try:
        consumer.subscribe([topic])
        message = consumer.poll(_SECONDS)
        assert message is not None
        assert message.value() == b"one"
        for _ in range(3):
            # The refusal is retriable; a client that hands it to its caller is asked again, as a caller does.
            with contextlib.suppress(KafkaException):
                consumer.commit(message=message, asynchronous=False)
                break
        else:
            pytest.fail("the offset could not be committed in three tries")
        deadline = time.monotonic() + _SECONDS
        while not told.of("heartbeat") and time.monotonic() < deadline:
            consumer.poll(0.1)
    finally:
        consumer.close()
    assert len(told.of("join")) >= 2
    assert told.session_timeouts_ms[0] == 2500
    assert told.of("heartbeat")
    assert (topic,) in told.of("offsets")
    assert len(told.of("offsets")) >= 2


def test_a_member_of_the_newer_kind_is_told(proxied: Proxied, told: Told, topic: str) -> None:
    """The group protocol of KIP-848 has one request for all: a heartbeat, which may be refused and is sent again."""
    _librdkafka(proxied.brokers, topic)
    told.refuse("heartbeat", "error_retriable")
    consumer = Consumer(
        {
            "bootstrap.servers": proxied.brokers, "group.id": f"newer-{topic}", "group.protocol": "consumer",
            "auto.offset.reset": "earliest", "enable.auto.commit": False, "log_level": 0,
        }
    )  # fmt: skip
    try:
        consumer.subscribe([topic])
        message = consumer.poll(_SECONDS)
        assert message is not None
        assert message.value() == b"one"
    finally:
        consumer.close()
    assert len(told.of("heartbeat")) >= 2
    assert told.of("join") == []


def test_offsets_within_a_transaction_are_told(proxied: Proxied, told: Told, topic: str) -> None:
    """A transaction of Kafka's is two boundaries: its offsets, with their topics, and its end."""
    _librdkafka(proxied.brokers, topic)
    consumer = Consumer({"bootstrap.servers": proxied.brokers, "group.id": f"in-{topic}", "log_level": 0})
    producer = Producer({"bootstrap.servers": proxied.brokers, "transactional.id": f"all-{topic}", "log_level": 0})
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + _SECONDS
        while not consumer.assignment() and time.monotonic() < deadline:
            consumer.poll(0.1)
        producer.init_transactions(_SECONDS)
        producer.begin_transaction()
        told.refuse("offsets", "error_retriable")
        offsets = [OffsetOf(topic, 0, 1)]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), _SECONDS)
        producer.commit_transaction(_SECONDS)
    finally:
        consumer.close()
    assert told.of("offsets")[:2] == [(topic,), (topic,)]
    assert len(told.of("transaction")) == 1


@pytest.mark.parametrize("version", [0, 3])
def test_versions_beyond_ours_are_not_offered(proxied: Proxied, version: int) -> None:
    """A client is offered no version that could not be understood here, and all others as the broker has them."""
    tagged = b"\x00\x02x\x02y\x00" if version >= 3 else b""
    request = struct.pack(">hhih", API_VERSIONS, version, 5, -1) + tagged
    host, _, port = proxied.brokers.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_SECONDS) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
        frame = connection.recv(size, socket.MSG_WAITALL)
    reader = Reader(frame, 0, flexible=version >= 3)
    assert (reader.integer("i"), reader.integer("h")) == (5, 0)
    offered = {}
    for _ in range(reader.count()):
        api_key, lowest, offered[api_key] = reader.integer("h"), reader.integer("h"), reader.integer("h")
        assert lowest <= offered[api_key]
        reader.tags()
    assert {api_key: offered[api_key] for api_key in HIGHEST} == HIGHEST
    assert offered[_FETCH] > 12


def test_a_frame_that_ends_too_soon_is_an_error() -> None:
    """What cannot be read is told with its place, and never taken for something else."""
    head = PRODUCE.to_bytes(2, "big") + (9).to_bytes(2, "big") + (7).to_bytes(4, "big") + b"\xff\xff" + b"\x00"
    request = read_request(head)
    assert (request.correlation_id, request.client_id, request.is_flexible) == (7, None, True)
    with pytest.raises(WireError, match=r"expected 1 bytes at 11 of a frame of 11"):
        produced(request)
