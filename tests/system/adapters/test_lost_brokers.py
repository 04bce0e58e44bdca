"""Clients that were told that there is no broker, and that librdkafka would leave without one for good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka
import pytest

from system.adapters import kafka
from system.adapters.kafka import publisher, subscription
from system.adapters.kafka.standstill import Standstill
from system.ports import Message
from tests.system.adapters.fake_broker import FIND_COORDINATOR, METADATA, TOPIC, FakeBroker
from tests.waiting import until

DEADLINE_SECONDS = 30


@pytest.fixture(autouse=True)
def lose_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether librdkafka finds its way back is a matter of chance; told not to begin anew, it never does."""

    def made(client: Any) -> Callable[..., Any]:
        return lambda settings, **more: client({**settings, "metadata.recovery.strategy": "none"}, **more)

    monkeypatch.setattr(publisher, "Producer", made(confluent_kafka.Producer))
    monkeypatch.setattr(subscription, "Consumer", made(confluent_kafka.Consumer))


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with FakeBroker().serving() as broker:
        yield broker


def forget(broker: FakeBroker, meanwhile: Callable[[], Any]) -> None:
    """Have the client forget its broker, and see that nothing comes from it any more."""
    broker.knows_itself = False
    asked = broker.requests[METADATA]
    until(lambda: broker.requests[METADATA] > asked, "it was asked where the others are", meanwhile=meanwhile)
    broker.knows_itself = True
    quiet = time.monotonic() + 2
    asked = broker.requests.total()
    while time.monotonic() < quiet:
        meanwhile()
    assert broker.requests.total() - asked <= 1, "the client knows its broker: this test tests nothing"


@pytest.mark.parametrize("by", ["poll", "flush"])
def test_a_producer_without_brokers_is_replaced_and_loses_nothing(broker: FakeBroker, by: str) -> None:
    publisher = kafka.KafkaPublisher(broker.address, client_id="test", max_message_bytes=1000)
    publisher._standstill = Standstill(4)
    publisher._configuration["topic.metadata.refresh.interval.ms"] = 500
    publisher._producer = publisher._new_producer()
    delivered: list[tuple[int, Exception | None]] = []

    def publish(number: int) -> None:
        message = Message(TOPIC.decode(), b"key", b"%d" % number)
        publisher.publish(message, lambda error: delivered.append((number, error)))

    publish(0)
    until(lambda: delivered, "the first is delivered", meanwhile=lambda: publisher.poll(0.05))
    forget(broker, lambda: publisher.poll(0.05))
    for number in (1, 2, 3):
        publish(number)
    if by == "flush":
        assert publisher.flush(DEADLINE_SECONDS) == 0
    else:
        until(lambda: len(delivered) == 4, "all are delivered", meanwhile=lambda: publisher.poll(0.05))
    assert delivered == [(number, None) for number in range(4)]


def test_a_consumer_without_brokers_is_replaced(broker: FakeBroker) -> None:
    subscription = kafka.KafkaSubscription(
        broker.address, group_id="group", topics=[TOPIC.decode()], client_id="test", session_timeout_ms=6000,
        max_message_bytes=1000,
    )  # fmt: skip
    subscription._standstill = Standstill(4)
    until(
        lambda: broker.requests[FIND_COORDINATOR],
        "it looks for its group",
        meanwhile=lambda: subscription.poll(1, 0.05),
    )
    forget(broker, lambda: subscription.poll(1, 0.05))
    asked = broker.requests[FIND_COORDINATOR]
    until(
        lambda: broker.requests[FIND_COORDINATOR] > asked,
        "it looks again",
        meanwhile=lambda: subscription.poll(1, 0.05),
    )
    subscription.close()


def test_a_client_whose_kafka_is_away_is_kept() -> None:
    publisher = kafka.KafkaPublisher("127.0.0.1:1", client_id="test", max_message_bytes=1000)
    publisher._standstill = Standstill(0.2)
    before = publisher._producer
    publisher.publish(Message(TOPIC.decode(), b"key", b"value"), lambda _: None)
    assert publisher.flush(2) == 1
    assert publisher._producer is before
    before.purge()
