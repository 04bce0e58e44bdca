"""When the bridge hands its messages to Kafka: at once, or together where many are on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from system.bridge.outgoing import Outgoing
from system.ports import Message


class _Kafka:
    """Publisher port: acknowledges what it is told to."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.unsettled: list[Callable[[Exception | None], None]] = []
        self.acknowledges = True

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        self.given.append(message.value)
        self.unsettled.append(on_delivered)

    def poll(self, timeout_seconds: float = 0.0) -> None:
        if self.acknowledges:
            unsettled, self.unsettled = self.unsettled, []
            for settled in unsettled:
                settled(None)

    def flush(self, timeout_seconds: float) -> int:
        return len(self.unsettled)


def _message(number: int) -> Message:
    return Message("results", b"run", b"%d" % number)


def test_few_messages_go_at_once_and_many_are_gathered_in_their_order_for_a_moment() -> None:
    async def work() -> None:
        kafka = _Kafka()
        outgoing = Outgoing(kafka, asyncio.get_running_loop(), on_broken=lambda _: None, after_poll=lambda: None)
        published: list[int] = []
        kafka.acknowledges = False
        for number in range(100):
            outgoing.send(_message(number), lambda number=number: published.append(number))  # type: ignore[misc]
        at_once = list(kafka.given)
        assert at_once == [b"%d" % number for number in range(len(at_once))]
        assert 1 < len(at_once) < 20
        assert outgoing.unsettled == 100
        async with asyncio.timeout(5):
            while len(kafka.given) < 100:
                await asyncio.sleep(0.001)
        assert kafka.given == [b"%d" % number for number in range(100)]
        kafka.acknowledges = True
        async with asyncio.timeout(5):
            while outgoing.unsettled:
                outgoing.settled.clear()
                await outgoing.settled.wait()
        assert published == list(range(100))
        outgoing.send(_message(100), lambda: published.append(100))
        assert kafka.given[-1] == b"100", "nothing else is on its way: there is nothing to wait for"

    asyncio.run(work())
