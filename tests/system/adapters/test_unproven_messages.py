"""Messages of which librdkafka says that Kafka has them, while nobody knows where."""

from __future__ import annotations

import pytest

from system.adapters import kafka
from system.ports import Message
from tests.system.adapters.fake_broker import PRODUCE, TOPIC, FakeBroker
from tests.waiting import until


@pytest.mark.parametrize("times", [1, 2])
def test_a_supposed_duplicate_is_sent_until_it_has_an_offset(times: int) -> None:
    with FakeBroker().serving() as broker:
        publisher = kafka.KafkaPublisher(broker.address, client_id="test", max_message_bytes=1000)
        broker.duplicates = times
        delivered: list[tuple[bytes, Exception | None]] = []

        def publish(value: bytes) -> None:
            message = Message(TOPIC.decode(), b"key", value)
            publisher.publish(message, lambda error: delivered.append((value, error)))

        for value in (b"first", b"second"):
            publish(value)
            until(
                lambda: broker.duplicates < times or delivered, "it is answered", meanwhile=lambda: publisher.poll(0.05)
            )
        until(lambda: len(delivered) == 2, "both are delivered", meanwhile=lambda: publisher.poll(0.05))
        assert publisher.flush(5) == 0
    assert delivered == [(b"first", None), (b"second", None)], "what comes after it waits for it"
    assert broker.requests[PRODUCE] == times + 2
