"""The adapters to Kafka, held to what the ports promise."""

from __future__ import annotations

import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from system.adapters.kafka import KafkaPublisher, KafkaSubscription, ensure_topics
from system.ports import BusAway, Message, PublishError, Received
from tests.waiting import until

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

DEADLINE_SECONDS = 20
PARTITIONS = 3
MOST_BYTES = 100_000


@pytest.fixture
def topic(stack: Any) -> str:
    name = f"adapters-{uuid.uuid4().hex}"
    ensure_topics(stack.kafka_brokers, [name], partitions=PARTITIONS, timeout_seconds=DEADLINE_SECONDS)
    return name


@pytest.fixture
def publisher(stack: Any) -> KafkaPublisher:
    return KafkaPublisher(stack.kafka_brokers, client_id="test", max_message_bytes=MOST_BYTES)


@pytest.fixture
def subscribe(stack: Any, topic: str) -> Iterator[Callable[..., KafkaSubscription]]:
    opened: list[KafkaSubscription] = []

    def open_one(group: str = "group", **more: Any) -> KafkaSubscription:
        opened.append(
            KafkaSubscription(
                stack.kafka_brokers, group_id=f"{group}-{topic}", topics=[topic], client_id="test",
                session_timeout_ms=6000, max_message_bytes=MOST_BYTES, **more,
            )
        )  # fmt: skip
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def publish(publisher: KafkaPublisher, messages: Sequence[Message]) -> list[Exception | None]:
    """What became of the messages, in the order in which it became known."""
    told: list[Exception | None] = []
    for message in messages:
        publisher.publish(message, told.append)
    assert publisher.flush(DEADLINE_SECONDS) == 0
    return told


def take(subscription: KafkaSubscription, count: int) -> list[Received]:
    """So many messages, in however many polls."""
    found: list[Received] = []
    until(lambda: found.extend(subscription.poll(100, 0.1)) or len(found) >= count, f"{count} messages")
    return found


def test_messages_of_one_key_keep_their_order_and_everything_that_they_hold(
    publisher: KafkaPublisher, subscribe: Callable[..., KafkaSubscription], topic: str
) -> None:
    sent = [
        Message(topic, f"key {number % 5}".encode(), f"{number}".encode(), (("name", b"value"), ("name", b"\xff")))
        for number in range(200)
    ]
    assert publish(publisher, sent) == [None] * 200
    received = take(subscribe(), 200)
    for key in {message.key for message in sent}:
        assert [m.value for m in received if m.key == key] == [m.value for m in sent if m.key == key]
    assert {m.headers for m in received} == {(("name", b"value"), ("name", b"\xff"))}
    for partition in range(PARTITIONS):
        offsets = [m.offset for m in received if m.partition == partition]
        assert offsets == list(range(len(offsets)))


def test_keys_land_where_other_clients_put_them(
    publisher: KafkaPublisher, subscribe: Callable[..., KafkaSubscription], topic: str, stack: Any
) -> None:
    keys = [str(uuid.uuid4()).encode() for _ in range(40)]
    publish(publisher, [Message(topic, key, b"ours") for key in keys])
    other = KafkaProducer(bootstrap_servers=stack.kafka_brokers)
    for key in keys:
        other.send(topic, key=key, value=b"theirs")
    other.flush()
    other.close()
    places: dict[bytes | None, set[int]] = {}
    for message in take(subscribe(), 80):
        places.setdefault(message.key, set()).add(message.partition)
    assert len(places) == 40
    assert all(len(partitions) == 1 for partitions in places.values())


def test_a_message_that_is_too_large_is_refused_and_the_others_go(
    publisher: KafkaPublisher, subscribe: Callable[..., KafkaSubscription], topic: str
) -> None:
    told: dict[int, Exception | None] = {}
    for number, size in enumerate((10, 5 * MOST_BYTES, 10)):
        publisher.publish(Message(topic, b"key", b"x" * size), lambda error, n=number: told.__setitem__(n, error))
    assert publisher.flush(DEADLINE_SECONDS) == 0
    assert isinstance(told[1], PublishError)
    assert topic in str(told[1])
    assert (told[0], told[2]) == (None, None)
    assert [len(m.value or b"") for m in take(subscribe(), 2)] == [10, 10]


def test_a_message_that_the_broker_finds_too_large_is_refused(stack: Any, topic: str) -> None:
    generous = KafkaPublisher(stack.kafka_brokers, client_id="test", max_message_bytes=3_000_000)
    (error,) = publish(generous, [Message(topic, b"key", b"x" * 2_500_000)])
    assert isinstance(error, PublishError)


def test_publishing_without_a_broker_returns_at_once_and_settles_nothing() -> None:
    lonely = KafkaPublisher("127.0.0.1:1", client_id="test", max_message_bytes=MOST_BYTES)
    told: list[Exception | None] = []
    began = time.monotonic()
    lonely.publish(Message("topic", b"key", b"value"), told.append)
    assert time.monotonic() - began < 1
    assert lonely.flush(0.1) == 1
    assert told == []
    lonely._producer.purge()
    lonely.flush(5)


class _Stored:
    """A message that has its place."""

    def offset(self) -> int:
        return 0


class _Refusing:
    """A producer whose broker refuses the first few messages, or which refuses them itself (`at_once`); with `is_fatal` it
    never works again."""

    def __init__(self, times: int, *, is_fatal: bool = False, at_once: bool = False) -> None:
        self.at_once = at_once
        self.error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no right", is_fatal)
        self.times = times
        self.stored: list[bytes] = []
        self._waiting: list[tuple[bytes, Callable[..., None]]] = []

    def produce(self, _: str, *, value: bytes, on_delivery: Callable[..., None], **_more: Any) -> None:
        if self.at_once and self.times > 0:
            self.times -= 1
            raise KafkaException(self.error)
        self._waiting.append((value, on_delivery))

    def poll(self, _: float) -> None:
        waiting, self._waiting = self._waiting, []
        for value, on_delivery in waiting:
            self.times -= 1
            if self.times < 0:
                self.stored.append(value)
            on_delivery(self.error if self.times >= 0 else None, _Stored())

    def flush(self, timeout_seconds: float) -> int:
        self.poll(timeout_seconds)
        return len(self._waiting)


@pytest.mark.parametrize("at_once", [False, True])
def test_what_kafka_refuses_for_want_of_a_right_is_sent_again_until_it_is_taken(at_once: bool) -> None:
    publisher = KafkaPublisher("127.0.0.1:1", client_id="test", max_message_bytes=MOST_BYTES)
    refusing: Any = _Refusing(times=2, at_once=at_once)
    publisher._producer = refusing
    told: list[Exception | None] = []
    publisher.publish(Message("topic", b"key", b"1"), told.append)
    publisher.poll()
    assert (told, refusing.stored) == ([], [])
    assert publisher.flush(0) == 1
    until(lambda: publisher.poll(0.01) or told, "taken")
    assert (told, refusing.stored) == ([None], [b"1"])
    assert publisher.flush(0) == 0


def test_what_is_refused_while_all_is_sent_to_the_end_is_sent_again_within_its_time() -> None:
    publisher = KafkaPublisher("127.0.0.1:1", client_id="test", max_message_bytes=MOST_BYTES)
    refusing: Any = _Refusing(times=1)
    publisher._producer = refusing
    told = publish(publisher, [Message("topic", b"key", b"1"), Message("topic", b"key", b"2")])
    assert (told, sorted(refusing.stored)) == ([None, None], [b"1", b"2"])


def test_a_client_that_is_broken_for_good_says_so() -> None:
    publisher = KafkaPublisher("127.0.0.1:1", client_id="test", max_message_bytes=MOST_BYTES)
    refusing: Any = _Refusing(times=1, is_fatal=True)
    publisher._producer = refusing
    (error,) = publish(publisher, [Message("topic", b"key", b"1")])
    assert isinstance(error, KafkaException)
    assert refusing.stored == []


def test_a_callback_runs_from_poll_only(publisher: KafkaPublisher, topic: str) -> None:
    threads: list[int] = []
    publisher.publish(Message(topic, b"key", b"value"), lambda _: threads.append(threading.get_ident()))
    until(lambda: publisher.poll(0.05) or threads, "the callback")
    assert threads == [threading.get_ident()]


def committed(stack: Any, group: str, topic: str) -> list[int]:
    consumer = KafkaConsumer(bootstrap_servers=stack.kafka_brokers, group_id=group, enable_auto_commit=False)
    try:
        return [consumer.committed(TopicPartition(topic, number)) or 0 for number in range(PARTITIONS)]
    finally:
        consumer.close()


def test_only_what_is_done_is_committed_and_read_again_otherwise(
    publisher: KafkaPublisher, subscribe: Callable[..., KafkaSubscription], topic: str, stack: Any
) -> None:
    publish(publisher, [Message(topic, b"one key", f"{number}".encode()) for number in range(10)])
    first = subscribe()
    received = take(first, 10)
    partition = received[0].partition
    first.done(topic, partition, received[3].offset + 1)
    first.close()
    assert committed(stack, f"group-{topic}", topic)[partition] == 4
    assert [m.offset for m in take(subscribe(), 6)] == [4, 5, 6, 7, 8, 9]


def test_done_is_committed_in_the_background_while_polling_goes_on(
    publisher: KafkaPublisher, subscribe: Callable[..., KafkaSubscription], topic: str, stack: Any
) -> None:
    publish(publisher, [Message(topic, b"one key", b"x")])
    subscription = subscribe()
    (received,) = take(subscription, 1)
    subscription.done(topic, received.partition, 1)
    until(
        lambda: subscription.poll(1, 0.05) or sum(committed(stack, f"group-{topic}", topic)) == 1,
        "the offset committed",
    )


def test_seek_gives_the_same_messages_again(
    publisher: KafkaPublisher, subscribe: Callable[..., KafkaSubscription], topic: str
) -> None:
    publish(publisher, [Message(topic, b"one key", f"{number}".encode()) for number in range(5)])
    subscription = subscribe()
    received = take(subscription, 5)
    subscription.seek(topic, received[0].partition, 2)
    assert [m.value for m in take(subscription, 3)] == [b"2", b"3", b"4"]


def test_seek_and_done_of_a_partition_that_is_not_ours_are_harmless(
    subscribe: Callable[..., KafkaSubscription], topic: str
) -> None:
    subscription = subscribe()
    subscription.seek(topic, 999, 0)
    subscription.done(topic, 999, 7)
    assert subscription.poll(1, 0.01) == ()


def test_a_paused_subscription_gives_nothing_and_keeps_its_place(
    publisher: KafkaPublisher, subscribe: Callable[..., KafkaSubscription], topic: str
) -> None:
    publish(publisher, [Message(topic, b"one key", b"before")])
    subscription = subscribe()
    take(subscription, 1)
    subscription.pause()
    publish(publisher, [Message(topic, b"one key", b"while")])
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        assert list(subscription.poll(10, 0.05)) == []
    subscription.resume()
    assert [m.value for m in take(subscription, 1)] == [b"while"]


def test_a_pause_holds_through_rebalances_and_resume_ends_it_for_all_partitions(
    publisher: KafkaPublisher, subscribe: Callable[..., KafkaSubscription], topic: str
) -> None:
    assigned: list[int] = []
    paused = subscribe(on_assigned=lambda partitions: assigned.append(len(partitions)))
    until(lambda: list(paused.poll(1, 0.05)) or assigned == [PARTITIONS], "all partitions assigned")
    paused.pause()
    # Another joins, which takes partitions, and leaves, which gives them back: both times they are assigned anew.
    joined = subscribe()
    until(lambda: list(joined.poll(1, 0.05)) + list(paused.poll(1, 0.05)) or len(assigned) == 2, "two members")
    joined.close()
    until(lambda: list(paused.poll(1, 0.05)) or assigned[-1] == PARTITIONS, "all partitions given back")
    publish(publisher, [Message(topic, f"key {number}".encode(), b"x") for number in range(30)])
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        assert list(paused.poll(10, 0.05)) == []
    paused.resume()
    assert len(take(paused, 30)) == 30


def test_a_closed_subscription_leaves_its_partitions_to_the_next_at_once(
    publisher: KafkaPublisher, subscribe: Callable[..., KafkaSubscription], topic: str
) -> None:
    publish(publisher, [Message(topic, b"one key", b"x")])
    first = subscribe()
    take(first, 1)
    first.close()
    began = time.monotonic()
    take(subscribe(), 1)
    # The session would end after 6 s.
    assert time.monotonic() - began < 5


def test_a_client_that_does_not_end_its_closing_holds_nobody_up(
    subscribe: Callable[..., KafkaSubscription], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """librdkafka waits for itself, sometimes, when a rebalance falls into its closing: the partitions are given up all the
    same."""
    revoked: list[Sequence[tuple[str, int]]] = []
    assigned: list[int] = []
    hanging = subscribe(on_assigned=lambda held: assigned.append(len(held)), on_revoked=revoked.append)
    until(lambda: list(hanging.poll(1, 0.05)) or assigned == [PARTITIONS], "all partitions assigned")
    may_end = threading.Event()
    client = hanging._consumer

    class Client:
        def close(self) -> None:
            may_end.wait(DEADLINE_SECONDS)

    monkeypatch.setattr("system.adapters.kafka.subscription._CLOSING_SECONDS", 0.1)
    monkeypatch.setattr(hanging, "_consumer", Client())
    hanging.close()
    may_end.set()
    assert [sorted(held) for held in revoked] == [[(topic, number) for number in range(PARTITIONS)]]
    monkeypatch.undo()
    client.close()


def test_topics_that_are_there_are_left_as_they_are_also_by_several_at_once(stack: Any) -> None:
    names = [f"ensure-{uuid.uuid4().hex}" for _ in range(3)]
    failures: list[BaseException] = []

    def ensure(partitions: int) -> None:
        try:
            ensure_topics(stack.kafka_brokers, names, partitions=partitions, timeout_seconds=DEADLINE_SECONDS)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ensure, args=(2,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    ensure(5)
    assert failures == []
    consumer = KafkaConsumer(bootstrap_servers=stack.kafka_brokers)
    try:
        assert [len(consumer.partitions_for_topic(name) or ()) for name in names] == [2, 2, 2]
    finally:
        consumer.close()


class _Leaderless:
    """A client whose broker does not know its new partitions yet: it refuses so many times before it says where they end."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def get_watermark_offsets(self, place: Any, timeout: float) -> tuple[int, int]:
        assert 0 < timeout <= DEADLINE_SECONDS
        if self.refusals:
            self.refusals -= 1
            raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))
        return 0, 70 + place.partition


def test_the_end_of_a_partition_is_asked_for_again_while_it_has_no_leader(
    subscribe: Callable[..., KafkaSubscription], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every task of a topic that has just been created would count as possibly repeated for as long as the bridge lives."""
    subscription = subscribe()
    monkeypatch.setattr(subscription, "_consumer", _Leaderless(3))
    assert subscription.end_offsets([(topic, 0), (topic, 2)], DEADLINE_SECONDS) == {(topic, 0): 70, (topic, 2): 72}
    monkeypatch.setattr(subscription, "_consumer", _Leaderless(10_000))
    begun = time.monotonic()
    with pytest.raises(BusAway):
        subscription.end_offsets([(topic, 0), (topic, 2)], 0.3)
    assert time.monotonic() - begun < 3
    monkeypatch.undo()
