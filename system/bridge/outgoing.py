"""What the bridge publishes, from its event loop: nothing is given up, and nobody waits for the broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from system.ports import Message, Publisher, PublishError

log = logging.getLogger(__name__)

# librdkafka's own thread sends at once; only the news that a message has arrived waits for this. Asking more often
# costs more, and asking less often lets more be repeated after a crash.
_ACKNOWLEDGEMENT_INTERVAL_SECONDS = 0.005
# It is requests that cost the broker, more than messages (docs/performance.md). Where more than a few messages are on their way,
# those that come are gathered for as long as nobody would notice, and go together.
_FEW = 8
_GATHERING_SECONDS = 0.002


class Outgoing:
    """Publishes and tells when Kafka has it. `settled` is set whenever something was acknowledged."""

    def __init__(
        self,
        publisher: Publisher,
        loop: asyncio.AbstractEventLoop,
        *,
        on_broken: Callable[[BaseException], None],
        after_poll: Callable[[], None],
    ) -> None:
        self._publisher = publisher
        self._loop = loop
        self._on_broken = on_broken
        self._after_poll = after_poll
        self._polling = False
        self._gathered: list[tuple[Message, Callable[[Exception | None], None]]] = []
        self.unsettled = 0
        self.unsettled_bytes = 0
        self.settled = asyncio.Event()

    def send(self, message: Message, on_published: Callable[[], None], instead: Message | None = None) -> None:
        """Publish; `instead` is what is published when Kafka refuses the message for good. Without it, or when it is
        refused too, the bridge is told that it is broken: going on would mean to lose the message."""
        size_bytes = len(message.value)
        self.unsettled += 1
        self.unsettled_bytes += size_bytes

        def settled(error: Exception | None) -> None:
            self.unsettled -= 1
            self.unsettled_bytes -= size_bytes
            self.settled.set()
            if error is None:
                on_published()
            elif isinstance(error, PublishError) and instead is not None:
                log.error("%s; publishing a shorter message instead", error)
                self.send(instead, on_published)
            else:
                self._on_broken(error)

        if self._gathered:
            self._gathered.append((message, settled))
        elif self.unsettled > _FEW:
            self._gathered.append((message, settled))
            self._loop.call_later(_GATHERING_SECONDS, self._publish_gathered)
        else:
            self._publish(message, settled)

    def _publish_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        for message, settled in gathered:
            self._publish(message, settled)

    def _publish(self, message: Message, settled: Callable[[Exception | None], None]) -> None:
        self._publisher.publish(message, settled)
        if not self._polling:
            self._polling = True
            self._loop.call_later(_ACKNOWLEDGEMENT_INTERVAL_SECONDS, self._poll)

    def _poll(self) -> None:
        self._publisher.poll(0)
        self._after_poll()
        self._polling = self.unsettled > 0
        if self._polling:
            self._loop.call_later(_ACKNOWLEDGEMENT_INTERVAL_SECONDS, self._poll)
