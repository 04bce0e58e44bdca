"""The narrow ports between the system's parts and the world: bus and clock.

Each has its real adapter under `system/adapters`. The database is reached through the stores that stand beside the
part that uses them, since each asks different questions of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish: value is the encoded JSON object."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it was read, with the position it was read at."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = field(default=())


class PublishError(Exception):
    """The bus refused a message for good (too large, topic not allowed); sending it again will not help."""


class BusAway(Exception):
    """The bus cannot be asked now; asking again later may help."""


class Fenced(Exception):
    """Another process is a member of the group under our identity: this membership is over."""


class Publisher(Protocol):
    """Sends messages. Order is kept per topic and key, but for what the bus refused for a while; delivery is at least once."""

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        """Take a message to send; never waits for the broker.

        `on_delivered(None)` is called, from `poll`, once the broker has it on all in-sync replicas, or
        `on_delivered(error)` when it never will.
        """

    def poll(self, timeout_seconds: float = 0.0) -> None:
        """Call the `on_delivered` of what has been settled since, waiting for the first up to the timeout."""

    def flush(self, timeout_seconds: float) -> int:
        """Wait until all that was taken is settled; returns how many messages are not."""


class Subscription(Protocol):
    """Reads messages as one member of a consumer group; one thread only."""

    def poll(self, limit: int, timeout_seconds: float) -> Sequence[Received]:
        """Up to `limit` messages, waiting up to the timeout for the first; in order per partition.

        Raises:
            Fenced: the membership is over, and another one must be made.
        """

    def done(self, topic: str, partition: int, next_offset: int) -> None:
        """All effects below `next_offset` are durable: it may be committed, some time later, unless it was read under an
        earlier assignment; it never takes a committed offset back."""

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Read that partition again from there, unless it went to another member meanwhile."""

    def end_offsets(self, partitions: Sequence[tuple[str, int]], timeout_seconds: float) -> dict[tuple[str, int], int]:
        """Offset behind the newest message of each (topic, partition), as the broker says now.

        Raises:
            BusAway: the broker does not say.
        """

    def pause(self) -> None:
        """Fetch nothing more until `resume`; the membership is kept as long as `poll` is called."""

    def resume(self) -> None:
        """Fetch again."""

    def close(self) -> None:
        """Commit what is done and leave the group at once."""


class Clock(Protocol):
    """Tells the time, and lets it pass."""

    def now(self) -> datetime:
        """The time, aware, in UTC. It may be set forwards and back."""

    def monotonic(self) -> float:
        """Seconds since some moment of the past; never runs backwards."""

    def sleep(self, seconds: float) -> None:
        """Let the calling thread wait."""
