"""Kafka behind the Publisher port.

Keys are placed by `murmur2_random`, so that they land where Java clients and kafka-python put them. The producer is
idempotent with acks=all: a message that librdkafka sends again on its own is stored once, and order holds.

A message counts as stored only with its offset. librdkafka takes the success of a request for that of all before it, which is
right as long as the broker remembers the producer's last sequence number. It takes whatever number comes first in a partition,
though: where the first request is refused, since the broker does not lead the partition yet, and the second, which was on
its way already, is taken, the first is lost and told to be delivered, without an offset. Sending it once more stores it, or
stores it twice, as DEL-01 allows.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from itertools import count

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from system.adapters.kafka.client_log import client_log
from system.adapters.kafka.ending import end
from system.adapters.kafka.lines import Lines, Sending
from system.adapters.kafka.standstill import Standstill, is_lost
from system.ports import Message, PublishError

log = logging.getLogger(__package__)

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
        return Producer(self._configuration, logger=client_log)

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        sending = Sending(next(self._numbers), message, on_delivered)
        if not self._lines.take(sending):
            self._send(sending)

    def _send(self, sending: Sending) -> None:
        while True:
            try:
                with self._swap:
                    refusal = self._hand_over(sending)
            except BufferError:
                # The local queue is full, since Kafka is slow or away: taking no more is the only honest answer.
                self.poll(0.1)
                continue
            if refusal is not None:
                self._settle(sending, refusal)
            return

    def _hand_over(self, sending: Sending) -> KafkaError | None:
        """Give a message to the producer; what it knows to be refused, such as all of a topic that was refused just now, is
        not even tried. Raises BufferError."""
        message, producer = sending.message, self._producer

        def settled(error: KafkaError | None, told: KafkaMessage) -> None:
            # What a producer says that was replaced is no news: its messages went to the next one.
            if producer is self._producer and self._under_way.pop(sending.number, None) is not None:
                self._standstill.moves()
                if error is None and not _is_stored(told):
                    self._send_later(sending, "Kafka has not said where it is stored")
                else:
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
        except BufferError:
            del self._under_way[sending.number]
            raise
        except KafkaException as error:
            del self._under_way[sending.number]
            refusal: KafkaError = error.args[0]
            return refusal
        return None

    def _settle(self, sending: Sending, error: KafkaError | None) -> None:
        if error is None:
            sending.on_delivered(None)
        elif error.code() in _REFUSED:
            sending.on_delivered(PublishError(f"Kafka refused a message to {sending.message.topic}: {error.str()}"))
        elif error.fatal() or error.code() in _PURGED:
            sending.on_delivered(KafkaException(error))
        else:
            self._send_later(sending, error.str())
            return
        self._lines.settled(sending, self._send)

    def _send_later(self, sending: Sending, reason: str) -> None:
        client_log.warning("FAIL a message to %s is sent again: %s", sending.message.topic, reason)
        self._lines.refused(sending, time.monotonic())

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
            # Nobody publishes meanwhile, so that what follows does not overtake them.
            refused = [(one, self._hand_over(one)) for _, one in sorted(under_way.items())]
        log.warning("Kafka's client has lost all brokers; a new one takes over %d messages", len(under_way))
        end(lambda: _empty(old))
        for sending, refusal in refused:
            if refusal is not None:
                self._settle(sending, refusal)

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


def _is_stored(told: KafkaMessage) -> bool:
    """Whether a message that is told to be delivered is known to be: it has an offset."""
    return told.offset() is not None


def _empty(producer: Producer) -> None:
    """Drop what a producer still has; it is gone once its last message has been told of."""
    producer.purge()
    producer.poll(0)
