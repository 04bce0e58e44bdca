"""Several publishers as one: each topic has its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from system.ports import Message, Publisher


class ByTopic:
    """Publisher port: what goes to one of `others`' topics goes by that publisher, the rest by `main`.

    Order is that of the port, per topic and key, since a topic has one publisher.
    """

    def __init__(self, main: Publisher, others: Mapping[str, Publisher]) -> None:
        self._main = main
        self._others = dict(others)

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        self._others.get(message.topic, self._main).publish(message, on_delivered)

    def poll(self, timeout_seconds: float = 0.0) -> None:
        for publisher in self._others.values():
            publisher.poll(0)
        self._main.poll(timeout_seconds)

    def flush(self, timeout_seconds: float) -> int:
        deadline = time.monotonic() + timeout_seconds
        return sum(
            publisher.flush(max(0.0, deadline - time.monotonic())) for publisher in (self._main, *self._others.values())
        )
