"""Messages that Kafka refuses for now wait in line, and what was published after them waits behind them.

OBS-03 wants updates in order: one that is sent again once a right is back must not be overtaken by those that were
published meanwhile. There is a line for each topic and key, so that no run waits for another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from system.ports import Message

OnDelivered = Callable[[Exception | None], None]
Place = tuple[str, bytes | None]


@dataclass(frozen=True, order=True, slots=True)
class Sending:
    """A message on its way; `number` says how many were published before it."""

    number: int
    message: Message = field(compare=False)
    on_delivered: OnDelivered = field(compare=False)

    @property
    def place(self) -> Place:
        """What has an order of its own: the topic and the key."""
        return self.message.topic, self.message.key


@dataclass(slots=True)
class _Line:
    due: float
    waiting: list[Sending] = field(default_factory=list)
    """A heap: the first published is the first."""

    tried: int | None = None
    """The number of the message that is being sent again; the others wait for what becomes of it."""


class Lines:
    """The first of each line is tried again by itself, as often as it takes; the others follow once it is settled.

    Safe to use from several threads. Where nothing was refused, which is nearly always, nobody waits for a lock.
    """

    def __init__(self, again_seconds: float) -> None:
        self._lock = threading.RLock()
        self._again_seconds = again_seconds
        self._lines: dict[Place, _Line] = {}

    def __len__(self) -> int:
        """How many messages wait, those that are being tried left out."""
        with self._lock:
            return sum(len(line.waiting) for line in self._lines.values())

    def take(self, sending: Sending) -> bool:
        """Have a new message wait behind those of its place that were refused; False if there are none, and it can go."""
        if not self._lines:
            return False
        with self._lock:
            line = self._lines.get(sending.place)
            if line is not None:
                heappush(line.waiting, sending)
            return line is not None

    def refused(self, sending: Sending, now: float) -> None:
        """Put a message that was refused for now where it stood."""
        with self._lock:
            line = self._lines.setdefault(sending.place, _Line(now + self._again_seconds))
            heappush(line.waiting, sending)
            if line.tried == sending.number:
                line.tried, line.due = None, now + self._again_seconds

    def settled(self, sending: Sending, send: Callable[[Sending], None]) -> None:
        """Send, in order, what may go since this message was settled for good; what is published meanwhile comes after it."""
        if not self._lines:
            return
        with self._lock:
            line = self._lines.get(sending.place)
            if line is None or line.tried != sending.number:
                return
            while line.waiting:
                following = heappop(line.waiting)
                line.tried = following.number
                send(following)
                if line.tried is None:
                    # It was refused at once, and those after it wait again.
                    return
            # Not before: whoever publishes meanwhile finds the line, and waits for its end.
            del self._lines[sending.place]

    def due(self, until: float) -> list[Sending]:
        """The first of each line whose time has come, to be sent again."""
        found: list[Sending] = []
        if self._lines:
            with self._lock:
                for line in self._lines.values():
                    if line.tried is None and line.due <= until:
                        found.append(heappop(line.waiting))
                        line.tried = found[-1].number
        return found
