"""Kafka behind the Subscription port."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage
from tenacity import Retrying, retry_if_exception_type, wait_fixed

from system.adapters.kafka.client_log import client_log
from system.adapters.kafka.ending import end
from system.adapters.kafka.standstill import Standstill, is_lost
from system.ports import BusAway, Fenced, Received

log = logging.getLogger(__package__)

_CLOSING_SECONDS = 5.0
_LEADERLESS_SECONDS = 0.05


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
        consumer = Consumer(self._configuration, logger=client_log)
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
            # It was replaced, and had no partitions any more.
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
        deadline = time.monotonic() + timeout_seconds
        # A partition that has just been created may have no leader that knows of it yet.
        asking = Retrying(
            retry=retry_if_exception_type(KafkaException),
            stop=lambda _: time.monotonic() >= deadline,
            wait=wait_fixed(_LEADERLESS_SECONDS),
            reraise=True,
        )
        found = {}
        try:
            for topic, number in partitions:
                place = TopicPartition(topic, number)
                left_seconds = max(_LEADERLESS_SECONDS, deadline - time.monotonic())
                found[topic, number] = asking(self._consumer.get_watermark_offsets, place, timeout=left_seconds)[1]
        except KafkaException as error:
            raise BusAway(error.args[0].str()) from error
        return found

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
