"""Several publishers as one."""

from __future__ import annotations

from collections.abc import Callable

from system.adapters.kafka import ByTopic
from system.ports import Message


class _Publisher:
    def __init__(self, left: int) -> None:
        self.given: list[str] = []
        self.polled: list[float] = []
        self.flushed: list[float] = []
        self._left = left

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        self.given.append(message.topic)

    def poll(self, timeout_seconds: float = 0.0) -> None:
        self.polled.append(timeout_seconds)

    def flush(self, timeout_seconds: float) -> int:
        self.flushed.append(timeout_seconds)
        return self._left


def test_each_topic_goes_by_its_own_publisher_and_one_timeout_holds_for_all() -> None:
    main, updates = _Publisher(2), _Publisher(3)
    both = ByTopic(main, {"updates": updates})
    for topic in ("tasks", "updates", "tasks", "updates", "letters"):
        both.publish(Message(topic, b"run", b"{}"), lambda _: None)
    assert main.given == ["tasks", "tasks", "letters"]
    assert updates.given == ["updates", "updates"]
    both.poll(0.5)
    assert (updates.polled, main.polled) == ([0], [0.5]), "nobody waits twice"
    assert both.flush(4.0) == 5
    assert all(0 < seconds <= 4.0 for seconds in (*main.flushed, *updates.flushed))
