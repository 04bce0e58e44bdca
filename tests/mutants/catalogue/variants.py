"""Variants: the reference behaving unusually, and within the contract. None of them may raise an alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.mutants.mutant import Variant
from tests.mutants.patching import Edit, Wrap

_KAFKA = "system.adapters.kafka"


def _publishing_tasks_twice(publish: Callable[..., Any]) -> Callable[..., Any]:
    """`KafkaPublisher.publish` that sends each task a second time."""

    def replaced(self: Any, message: Any, on_delivered: Callable[[Exception | None], None]) -> None:
        publish(self, message, on_delivered)
        if message.topic == "orchestrator.tasks.http":
            publish(self, message, lambda _: None)

    return replaced


def _reading_twice(poll: Callable[..., Any]) -> Callable[..., Any]:
    """`KafkaSubscription.poll` that gives every message twice."""

    def replaced(self: Any, limit: int, timeout_seconds: float) -> list[Any]:
        return [message for message in poll(self, limit, timeout_seconds) for _ in range(2)]

    return replaced


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "large-batches",
        "Consumer and bridge wait 300 ms for more messages, send after 50 ms, and commit offsets every three seconds.",
        "The contract bounds no latency, and late commits only have messages read again after a death.",
        ("consumer", "bridge"),
        (
            Edit(
                f"{_KAFKA}:KafkaSubscription.poll",
                "self._consumer.consume(limit - 1, 0)",
                "self._consumer.consume(limit - 1, 0.3)",
            ),
            Edit(
                f"{_KAFKA}:KafkaSubscription.__init__",
                '"auto.commit.interval.ms": 200,',
                '"auto.commit.interval.ms": 3000,',
            ),
            Edit(f"{_KAFKA}:KafkaPublisher.__init__", '"linger.ms": linger_ms,', '"linger.ms": 50,'),
        ),
    ),
    Variant(
        "eager-redelivery",
        "Every task is published twice with the same task_id, and every message is read twice.",
        "Delivery is at least once (DEL-01, DEL-02, DEL-08), and copies of a task keep their id (MSG-14).",
        ("consumer", "bridge"),
        (
            Wrap(f"{_KAFKA}:KafkaPublisher.publish", _publishing_tasks_twice),
            Wrap(f"{_KAFKA}:KafkaSubscription.poll", _reading_twice),
        ),
    ),
    Variant(
        "one-message-at-a-time",
        "Every message has a transaction of its own.",
        "How much is worked in at once is nobody's business.",
        ("consumer",),
        (Edit(f"{_KAFKA}:KafkaSubscription.poll", "if limit > 1 else []", "if False else []"),),
    ),
)
