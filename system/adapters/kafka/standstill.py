"""Clients of Kafka that have lost every broker for good, told from those that merely wait for Kafka.

librdkafka 2.10 and later can forget all brokers: one that starts or stops answers for a moment that there is none, and the
client has nobody left to ask (its issue 5301). Nothing but a new client helps then.
"""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

_LONG_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 1.0


class Standstill:
    """Says when something has stood still for so long that its client should be looked at, and again after as long."""

    def __init__(self, long_seconds: float = _LONG_SECONDS) -> None:
        self._long_seconds = long_seconds
        self._since: float | None = None

    def moves(self) -> None:
        """It does not stand still."""
        self._since = None

    def is_long(self) -> bool:
        """To be asked while it stands still."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since < self._long_seconds:
            return False
        self._since = now
        return True


def is_lost(client: Producer | Consumer, brokers: str) -> bool:
    """Whether a client finds no broker although a fresh one does. Takes two seconds at most."""
    if _finds_brokers(client):
        return False
    return _finds_brokers(AdminClient({"bootstrap.servers": brokers, "log_level": 0}))


def _finds_brokers(client: Producer | Consumer | AdminClient) -> bool:
    try:
        return bool(client.list_topics(timeout=_ANSWER_SECONDS).brokers)
    except KafkaException:
        return False
