"""Kafka behind the Publisher and Subscription ports, by librdkafka.

Keys are placed by `murmur2_random`, so that they land where Java clients and kafka-python put them. The producer is
idempotent with acks=all: a message that librdkafka sends again on its own is stored once, and order holds.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from system.adapters.kafka_standstill import Standstill, end, is_lost
from system.adapters.lines import Lines, Sending
from system.ports import BusAway, Fenced, Message, PublishError, Received

log = logging.getLogger(__name__)


class _Sparing(logging.Filter):
    """Lets a message of librdkafka through once in a while: it says every failed connection, many times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # "FAIL [client#consumer-1] [thrd:...]: host: reason (after 0ms in state CONNECT)": the kind and the reason count.
        text = record.getMessage()
        gist = text[:4] + text.rpartition("]:")[2].partition(" (")[0]
        now = time.monotonic()
        if now - self._last.get(gist, -_SPARING_SECONDS) < _SPARING_SECONDS:
            return False
        if len(self._last) > _SPARING_LIMIT:
            self._last.clear()
        self._last[gist] = now
        if text.startswith("FAIL"):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


_SPARING_SECONDS = 5.0
_SPARING_LIMIT = 1000
_client_log = logging.getLogger(f"{__name__}.client")
_client_log.addFilter(_Sparing())

# Errors of one message that no repetition heals. What else librdkafka does not try again by itself, such as a right that is
# lacking, is tried again here: a right can be given back, a lost message cannot.
_REFUSED = frozenset(
    (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.RECORD_LIST_TOO_LARGE,
    )
)
_PURGED = frozenset((KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT))
_AGAIN_SECONDS = 0.5
_CLOSING_SECONDS = 5.0
_FLUSH_SECONDS = 5.0


class KafkaPublisher:
    """Publisher port. Safe to use from several threads."""

    def __init__(self, brokers: str, *, client_id: str, max_message_bytes: int, linger_ms: float = 0.0) -> None:
        self._brokers = brokers
        self._configuration = {
            "bootstrap.servers": brokers,
            "client.id": client_id,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": linger_ms,
            "message.timeout.ms": 0,
            "message.max.bytes": max_message_bytes + 65_536,
            "queue.buffering.max.messages": 1_000_000,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "topic.metadata.refresh.interval.ms": 60_000,
            "log_level": 3,
        }
        self._producer = self._new_producer()
        # A message is under way with the producer that has it, or not at all: this lock is between the two.
        self._swap = threading.Lock()
        self._under_way: dict[int, Sending] = {}
        self._standstill = Standstill()
        self._numbers = count()
        self._lines = Lines(_AGAIN_SECONDS)

    def _new_producer(self) -> Producer:
        return Producer(self._configuration, logger=_client_log)

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        sending = Sending(next(self._numbers), message, on_delivered)
        if not self._lines.take(sending):
            self._send(sending)

    def _send(self, sending: Sending) -> None:
        message = sending.message

        while True:
            with self._swap:
                producer = self._producer

                def settled(error: KafkaError | None, _: KafkaMessage | None = None, by: Producer = producer) -> None:
                    # What is said by a producer that was replaced is no news: its messages went to the next one.
                    if by is self._producer and self._under_way.pop(sending.number, None) is not None:
                        self._standstill.moves()
                        self._settle(sending, error)

                self._under_way[sending.number] = sending
                try:
                    producer.produce(
                        message.topic,
                        value=message.value,
                        key=message.key,
                        headers=list(message.headers) or None,
                        on_delivery=settled,
                    )
                    return
                except BufferError:
                    del self._under_way[sending.number]
                    refusal = None
                except KafkaException as error:
                    refusal = error.args[0]
            if refusal is not None:
                # What it knows to be refused, such as all of a topic that was refused just now, is not even tried.
                settled(refusal)
                return
            # The local queue is full, since Kafka is slow or away: taking no more is the only honest answer.
            self.poll(0.1)

    def _settle(self, sending: Sending, error: KafkaError | None) -> None:
        topic = sending.message.topic
        if error is None:
            sending.on_delivered(None)
        elif error.code() in _REFUSED:
            sending.on_delivered(PublishError(f"Kafka refused a message to {topic}: {error.str()}"))
        elif error.fatal() or error.code() in _PURGED:
            sending.on_delivered(KafkaException(error))
        else:
            _client_log.warning("FAIL a message to %s is sent again: %s", topic, error.str())
            self._lines.refused(sending, time.monotonic())
            return
        self._lines.settled(sending, self._send)

    def poll(self, timeout_seconds: float = 0.0) -> None:
        self._producer.poll(timeout_seconds)
        self._send_again(until=time.monotonic())
        self._look_after_producer()

    def _look_after_producer(self) -> None:
        if not self._under_way:
            self._standstill.moves()
        elif self._standstill.is_long() and is_lost(self._producer, self._brokers):
            self._renew()

    def _renew(self) -> None:
        """Hand everything that is under way to a new producer, in order; what the old one may have sent already is sent
        twice, as DEL-01 allows."""
        with self._swap:
            old, self._producer = self._producer, self._new_producer()
            under_way, self._under_way = self._under_way, {}
        log.warning("Kafka's client has lost all brokers; a new one takes over %d messages", len(under_way))
        end(lambda: _empty(old))
        for number in sorted(under_way):
            self._send(under_way[number])

    def flush(self, timeout_seconds: float) -> int:
        deadline = time.monotonic() + timeout_seconds
        while True:
            left = int(self._producer.flush(max(0.0, min(_FLUSH_SECONDS, deadline - time.monotonic()))))
            self._look_after_producer()
            wait_seconds = min(_AGAIN_SECONDS, deadline - time.monotonic())
            waiting = len(self._lines)
            if not (waiting or left) or wait_seconds <= 0:
                return left + waiting
            if waiting:
                time.sleep(wait_seconds)
            self._send_again(until=math.inf)

    def _send_again(self, until: float) -> None:
        for sending in self._lines.due(until):
            self._send(sending)


def _empty(producer: Producer) -> None:
    """Drop what a producer still has; it is gone once its last message has been told of."""
    producer.purge()
    producer.poll(0)


class KafkaSubscription:
    """Subscription port: one member of a group; offsets that are done are committed in the background."""

    def __init__(
        self,
        brokers: str,
        *,
        group_id: str,
        topics: Sequence[str],
        client_id: str,
        session_timeout_ms: int,
        max_message_bytes: int,
        instance_id: str | None = None,
        on_assigned: Callable[[Sequence[tuple[str, int]]], None] = lambda _: None,
        on_revoked: Callable[[Sequence[tuple[str, int]]], None] = lambda _: None,
        on_polled: Callable[[], None] = lambda: None,
    ) -> None:
        # A member with a fixed identity takes its partitions up again at once when it is back (static membership).
        identity = {"group.instance.id": instance_id} if instance_id is not None else {}
        self._brokers = brokers
        self._configuration = {
            **identity,
            "bootstrap.servers": brokers,
            "group.id": group_id,
            "client.id": client_id,
            # Range places equal partition numbers of all topics with one member: what belongs to a run stays together.
            "partition.assignment.strategy": "range",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": True,
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 200,
            "session.timeout.ms": session_timeout_ms,
            "heartbeat.interval.ms": max(200, session_timeout_ms // 5),
            "max.poll.interval.ms": max(session_timeout_ms, 60_000),
            "fetch.wait.max.ms": 100,
            "fetch.message.max.bytes": max_message_bytes + 65_536,
            "queued.max.messages.kbytes": 32_768,
            "topic.metadata.refresh.interval.ms": 5_000,
            "allow.auto.create.topics": True,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "log_level": 3,
        }
        self._paused = False
        self._owned: list[tuple[str, int]] = []
        self._begun: dict[tuple[str, int], int] = {}
        """The offset at which reading began, of each partition, under the present assignment."""
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._on_polled = on_polled
        self._topics = list(topics)
        self._standstill = Standstill()
        self._is_member = False
        self._consumer = self._new_consumer()

    def _new_consumer(self) -> Consumer:
        consumer = Consumer(self._configuration, logger=_client_log)
        consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
        return consumer

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("partitions assigned: %s", _named(partitions))
        self._is_member = True
        if self._paused:
            consumer.assign(partitions)
            consumer.pause(partitions)
        self._owned = [(p.topic, p.partition) for p in partitions]
        self._begun.clear()
        self._on_assigned(self._owned)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is not self._consumer:
            return
        log.info("partitions revoked: %s", _named(partitions))
        self._is_member = False
        self._owned = []
        self._on_revoked([(p.topic, p.partition) for p in partitions])

    def poll(self, limit: int, timeout_seconds: float) -> Sequence[Received]:
        first = self._consumer.poll(timeout_seconds)
        self._on_polled()
        if first is None:
            self._look_after_consumer()
            return ()
        # Whatever has been fetched already comes along without waiting: small batches when idle, large ones under load.
        rest = self._consumer.consume(limit - 1, 0) if limit > 1 else []
        received = [_received(message) for message in (first, *rest) if _usable(message)]
        for message in received:
            self._begun.setdefault((message.topic, message.partition), message.offset)
        return received

    def _look_after_consumer(self) -> None:
        if self._is_member:
            # A member that loses sight of Kafka loses its partitions, too, once its session is over.
            self._standstill.moves()
        elif self._standstill.is_long() and is_lost(self._consumer, self._brokers):
            log.warning("Kafka's client has lost all brokers; a new one joins the group")
            old, self._consumer = self._consumer, self._new_consumer()
            end(old.close)

    def done(self, topic: str, partition: int, next_offset: int) -> None:
        begun = self._begun.get((topic, partition))
        if begun is None or next_offset <= begun:
            # It was read under an earlier assignment. Whoever had the partition since has committed more, and librdkafka
            # would take that back when it gives the partition up.
            return
        try:
            self._consumer.store_offsets(offsets=[TopicPartition(topic, partition, next_offset)])
        except KafkaException as error:
            # The partition went to another member meanwhile; it reads again what was not committed.
            log.debug("offset %d of %s[%d] not stored: %s", next_offset, topic, partition, error)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        try:
            self._consumer.seek(TopicPartition(topic, partition, offset))
        except KafkaException as error:
            log.debug("%s[%d] is not ours any more: %s", topic, partition, error)

    def end_offsets(self, partitions: Sequence[tuple[str, int]], timeout_seconds: float) -> dict[tuple[str, int], int]:
        try:
            return {
                (topic, number): self._consumer.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=timeout_seconds
                )[1]
                for topic, number in partitions
            }
        except KafkaException as error:
            raise BusAway(error.args[0].str()) from error

    def pause(self) -> None:
        self._paused = True
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        self._paused = False
        self._consumer.resume(self._consumer.assignment())

    def close(self) -> None:
        # When a rebalance falls into its closing, librdkafka can wait for itself for good (its issue 4884).
        try:
            end(self._consumer.close).result(_CLOSING_SECONDS)
        except TimeoutError:
            log.warning("the group was not left within %.0f s; Kafka will notice by itself", _CLOSING_SECONDS)
        owned, self._owned = self._owned, []
        if owned:
            # librdkafka does not tell a member that was fenced that its partitions have gone.
            self._on_revoked(owned)


def ensure_topics(brokers: str, topics: Sequence[str], *, partitions: int, timeout_seconds: float) -> None:
    """Create the topics that are missing, with the broker's default replication.

    Raises:
        KafkaException: the broker cannot be reached, or refuses.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    present = admin.list_topics(timeout=timeout_seconds).topics
    wanted = [NewTopic(topic, num_partitions=partitions) for topic in topics if topic not in present]
    for future in admin.create_topics(wanted, operation_timeout=timeout_seconds).values() if wanted else ():
        try:
            future.result(timeout_seconds)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _usable(message: KafkaMessage) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.fatal() or error.code() in (KafkaError._FATAL, KafkaError._FENCED, KafkaError.FENCED_INSTANCE_ID):
        # librdkafka gives this member up for good; what was fetched and not done is read again by the next one.
        raise Fenced(error.str())
    # Anything else is about the connection or the group, which librdkafka mends by itself.
    log.warning("Kafka says: %s", error.str())
    return False


def _received(message: KafkaMessage) -> Received:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    assert offset != OFFSET_INVALID
    return Received(topic, partition, offset, message.key(), message.value(), _headers(message))


def _headers(message: KafkaMessage) -> tuple[tuple[str, bytes], ...]:
    found: Any = message.headers() or ()
    return tuple((name, value if isinstance(value, bytes) else b"") for name, value in found)


def _named(partitions: Sequence[TopicPartition]) -> str:
    return ", ".join(f"{p.topic}[{p.partition}]" for p in partitions) or "none"
