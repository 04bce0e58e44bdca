"""Kafka's protocol, as much of it as tells what a request is about. Source: the protocol guide of Apache Kafka 4."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from harness.faults.points import Boundary

PRODUCE, OFFSET_COMMIT, JOIN_GROUP, HEARTBEAT, SYNC_GROUP = 0, 8, 11, 12, 14
API_VERSIONS, END_TXN, TXN_OFFSET_COMMIT, CONSUMER_GROUP_HEARTBEAT = 18, 26, 28, 68

BOUNDARY_OF: Final[dict[int, Boundary]] = {
    PRODUCE: "produce",
    OFFSET_COMMIT: "offsets",
    TXN_OFFSET_COMMIT: "offsets",
    END_TXN: "transaction",
    JOIN_GROUP: "join",
    SYNC_GROUP: "sync",
    HEARTBEAT: "heartbeat",
    CONSUMER_GROUP_HEARTBEAT: "heartbeat",
}

HIGHEST: Final[dict[int, int]] = {
    PRODUCE: 12,
    OFFSET_COMMIT: 9,
    JOIN_GROUP: 9,
    HEARTBEAT: 4,
    SYNC_GROUP: 5,
    TXN_OFFSET_COMMIT: 5,
    CONSUMER_GROUP_HEARTBEAT: 1,
}
"""The highest versions that are understood here (later ones name topics by ids): the broker's offer is cut down to them, so
that no client uses another."""

_FLEXIBLE_FROM: Final[dict[int, int]] = {
    PRODUCE: 9,
    OFFSET_COMMIT: 8,
    JOIN_GROUP: 6,
    HEARTBEAT: 4,
    SYNC_GROUP: 4,
    TXN_OFFSET_COMMIT: 3,
    CONSUMER_GROUP_HEARTBEAT: 0,
}
"""From which version on lengths are varints and structures end with tagged fields."""


class WireError(ValueError):
    """Bytes that are not what the protocol says; says where."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request; `body` is the rest of the frame."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str | None
    frame: bytes
    body_at: int

    @property
    def is_flexible(self) -> bool:
        """Whether lengths are varints."""
        return self.version >= _FLEXIBLE_FROM.get(self.api_key, 1 << 15)

    @property
    def body(self) -> Reader:
        """A reader of what follows the head."""
        return Reader(self.frame, self.body_at, self.is_flexible)


class Reader:
    """Reads a frame from a position on. Raises :class:`WireError` where it ends too soon."""

    def __init__(self, data: bytes, at: int = 0, flexible: bool = False) -> None:
        self.data = data
        self.at = at
        self.flexible = flexible

    def integer(self, form: str) -> int:
        """One number by its struct format, big-endian."""
        size = struct.calcsize(form)
        if self.at + size > len(self.data):
            raise WireError(f"expected {size} bytes at {self.at} of a frame of {len(self.data)}")
        (value,) = struct.unpack_from(f">{form}", self.data, self.at)
        self.at += size
        return int(value)

    def varint(self) -> int:
        """An unsigned varint of at most five bytes."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.integer("B")
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise WireError(f"a varint of more than five bytes at {self.at}")

    def length(self, form: str = "h") -> int:
        """A length: a number, or a varint that is one more; -1 is null."""
        return self.varint() - 1 if self.flexible else self.integer(form)

    def count(self) -> int:
        """The length of an array; 0 for null. Bounded by the frame, since each entry has a byte at least."""
        count = self.length("i")
        if count > len(self.data):
            raise WireError(f"an array of {count} entries in a frame of {len(self.data)} bytes")
        return max(0, count)

    def skip(self, size: int) -> None:
        """Go over bytes."""
        if size < 0 or self.at + size > len(self.data):
            raise WireError(f"expected {size} bytes at {self.at} of a frame of {len(self.data)}")
        self.at += size

    def text(self) -> str | None:
        """A string, or null."""
        size = self.length()
        if size < 0:
            return None
        begin = self.at
        self.skip(size)
        return self.data[begin : self.at].decode("utf-8", "replace")

    def blob(self) -> None:
        """Go over bytes with their length."""
        self.skip(max(0, self.length("i")))

    def tags(self) -> None:
        """Go over tagged fields."""
        if self.flexible:
            for _ in range(self.varint()):
                self.varint()
                self.skip(self.varint())


def read_request(frame: bytes) -> Request:
    """The head of a request's frame (without its length). Raises :class:`WireError`."""
    reader = Reader(frame)
    api_key, version, correlation_id = reader.integer("h"), reader.integer("h"), reader.integer("i")
    client_id = reader.text()
    if version >= _FLEXIBLE_FROM.get(api_key, 1 << 15):
        # The client id stays in the old form in the newer head, and tagged fields follow it.
        reader.flexible = True
        reader.tags()
    return Request(api_key, version, correlation_id, client_id, frame, reader.at)


@dataclass(frozen=True, slots=True)
class Partitions:
    """What a request names: topic → its partitions, in its order; `acks` of a Produce (0: no response will come)."""

    topics: tuple[tuple[str, tuple[int, ...]], ...]
    acks: int = -1


def produced(request: Request) -> Partitions:
    """What a Produce request of version 3 to 12 writes to. Raises :class:`WireError`."""
    body = request.body
    body.text()
    acks = body.integer("h")
    body.integer("i")
    topics = []
    for _ in range(body.count()):
        name = body.text() or ""
        partitions = []
        for _ in range(body.count()):
            partitions.append(body.integer("i"))
            body.blob()
            body.tags()
        body.tags()
        topics.append((name, tuple(partitions)))
    return Partitions(tuple(topics), acks)


def committed(request: Request) -> Partitions:
    """What an OffsetCommit request of version 2 to 9 is about. Raises :class:`WireError`."""
    body = request.body
    body.text()
    body.integer("i")
    body.text()
    if request.version >= 7:
        body.text()
    if request.version <= 4:
        body.integer("q")
    return _offsets(body, has_epochs=request.version >= 6)


def committed_in_transaction(request: Request) -> Partitions:
    """What a TxnOffsetCommit request of version 0 to 5 is about. Raises :class:`WireError`."""
    body = request.body
    body.text()
    body.text()
    body.integer("q")
    body.integer("h")
    if request.version >= 3:
        body.integer("i")
        body.text()
        body.text()
    return _offsets(body, has_epochs=request.version >= 2)


def _offsets(body: Reader, *, has_epochs: bool) -> Partitions:
    topics = []
    for _ in range(body.count()):
        name = body.text() or ""
        partitions = []
        for _ in range(body.count()):
            partitions.append(body.integer("i"))
            body.integer("q")
            if has_epochs:
                body.integer("i")
            body.text()
            body.tags()
        body.tags()
        topics.append((name, tuple(partitions)))
    return Partitions(tuple(topics))


def session_timeout_ms(request: Request) -> int:
    """How long the group waits for the member of a JoinGroup request. Raises :class:`WireError`."""
    body = request.body
    body.text()
    return body.integer("i")


def correlation_of(frame: bytes) -> int:
    """The correlation id of a response's frame. Raises :class:`WireError`."""
    return Reader(frame).integer("i")


def with_known_versions(frame: bytes, version: int) -> bytes:
    """The response to an ApiVersions request (of this version), offering no version beyond those in `HIGHEST`."""
    reader = Reader(frame, 4, version >= 3)
    if reader.integer("h") != 0:
        return frame
    changed = bytearray(frame)
    for _ in range(reader.count()):
        api_key, _, highest_at = reader.integer("h"), reader.integer("h"), reader.at
        highest = reader.integer("h")
        reader.tags()
        if highest > HIGHEST.get(api_key, highest):
            struct.pack_into(">h", changed, highest_at, HIGHEST[api_key])
    return bytes(changed)
