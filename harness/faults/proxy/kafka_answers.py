"""Responses that a broker could have given, with an error of our choice. Source: the protocol guide of Apache Kafka 4."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from harness.faults.proxy.kafka_wire import (
    CONSUMER_GROUP_HEARTBEAT,
    HEARTBEAT,
    JOIN_GROUP,
    OFFSET_COMMIT,
    PRODUCE,
    SYNC_GROUP,
    TXN_OFFSET_COMMIT,
    Partitions,
    Request,
    committed,
    committed_in_transaction,
    produced,
)

NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, COORDINATOR_LOAD_IN_PROGRESS = 6, 7, 14
ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS = 22, 25, 27
TOPIC_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED = 29, 30

ERRORS: Final[dict[tuple[int, str], int]] = {
    (PRODUCE, "error_retriable"): NOT_LEADER_OR_FOLLOWER,
    (PRODUCE, "error_late"): NOT_LEADER_OR_FOLLOWER,
    (PRODUCE, "error_lost"): REQUEST_TIMED_OUT,
    (PRODUCE, "error_fatal"): TOPIC_AUTHORIZATION_FAILED,
    (OFFSET_COMMIT, "error_retriable"): COORDINATOR_LOAD_IN_PROGRESS,
    (OFFSET_COMMIT, "error_lost"): REQUEST_TIMED_OUT,
    (OFFSET_COMMIT, "error_fatal"): ILLEGAL_GENERATION,
    (TXN_OFFSET_COMMIT, "error_retriable"): COORDINATOR_LOAD_IN_PROGRESS,
    (TXN_OFFSET_COMMIT, "error_lost"): REQUEST_TIMED_OUT,
    (TXN_OFFSET_COMMIT, "error_fatal"): ILLEGAL_GENERATION,
    (CONSUMER_GROUP_HEARTBEAT, "error_retriable"): COORDINATOR_LOAD_IN_PROGRESS,
    (CONSUMER_GROUP_HEARTBEAT, "error_fatal"): UNKNOWN_MEMBER_ID,
    (JOIN_GROUP, "error_retriable"): COORDINATOR_LOAD_IN_PROGRESS,
    (JOIN_GROUP, "error_fatal"): GROUP_AUTHORIZATION_FAILED,
    (SYNC_GROUP, "error_retriable"): REBALANCE_IN_PROGRESS,
    (HEARTBEAT, "error_retriable"): REBALANCE_IN_PROGRESS,
    (HEARTBEAT, "error_fatal"): UNKNOWN_MEMBER_ID,
}
"""(API key, kind of fault) → the error code that a broker would give."""


class _Writer:
    def __init__(self, flexible: bool) -> None:
        self.parts: list[bytes] = []
        self._flexible = flexible

    def integer(self, form: str, value: int) -> None:
        self.parts.append(struct.pack(f">{form}", value))

    def length(self, value: int, form: str = "h") -> None:
        if not self._flexible:
            self.integer(form, value)
            return
        value += 1
        while value > 0x7F:
            self.integer("B", value & 0x7F | 0x80)
            value >>= 7
        self.integer("B", value)

    def text(self, value: str | None) -> None:
        self.length(-1 if value is None else len(value.encode()))
        self.parts.append(b"" if value is None else value.encode())

    def tags(self) -> None:
        if self._flexible:
            self.parts.append(b"\x00")


def answer(request: Request, error: int) -> bytes:
    """The frame (without its length) that refuses a request with an error.

    Raises:
        KeyError: no answer is known for the request's API key.
    """
    writer = _Writer(request.is_flexible)
    writer.integer("i", request.correlation_id)
    writer.tags()
    _BODIES[request.api_key](writer, request, error)
    writer.tags()
    return b"".join(writer.parts)


def _produce(writer: _Writer, request: Request, error: int) -> None:
    _each(writer, produced(request), lambda: _produced_partition(writer, request.version, error))
    writer.integer("i", 0)


def _produced_partition(writer: _Writer, version: int, error: int) -> None:
    writer.integer("h", error)
    writer.integer("q", -1)
    writer.integer("q", -1)
    if version >= 5:
        writer.integer("q", -1)
    if version >= 8:
        writer.length(0, "i")
        writer.text(None)


def _offset_commit(writer: _Writer, request: Request, error: int) -> None:
    if request.version >= 3:
        writer.integer("i", 0)
    _each(writer, committed(request), lambda: writer.integer("h", error))


def _each(writer: _Writer, partitions: Partitions, write: Callable[[], None]) -> None:
    writer.length(len(partitions.topics), "i")
    for name, numbers in partitions.topics:
        writer.text(name)
        writer.length(len(numbers), "i")
        for number in numbers:
            writer.integer("i", number)
            write()
            writer.tags()
        writer.tags()


def _join_group(writer: _Writer, request: Request, error: int) -> None:
    if request.version >= 2:
        writer.integer("i", 0)
    writer.integer("h", error)
    writer.integer("i", -1)
    if request.version >= 7:
        writer.text(None)
        writer.text(None)
    else:
        writer.text("")
    writer.text("")
    if request.version >= 9:
        writer.integer("B", 0)
    writer.text("")
    writer.length(0, "i")


def _sync_group(writer: _Writer, request: Request, error: int) -> None:
    if request.version >= 1:
        writer.integer("i", 0)
    writer.integer("h", error)
    if request.version >= 5:
        writer.text(None)
        writer.text(None)
    writer.length(0, "i")


def _txn_offset_commit(writer: _Writer, request: Request, error: int) -> None:
    writer.integer("i", 0)
    _each(writer, committed_in_transaction(request), lambda: writer.integer("h", error))


def _consumer_group_heartbeat(writer: _Writer, request: Request, error: int) -> None:
    del request
    writer.integer("i", 0)
    writer.integer("h", error)
    writer.text(None)
    writer.text(None)
    writer.integer("i", 0)
    writer.integer("i", 0)
    writer.integer("b", -1)


def _heartbeat(writer: _Writer, request: Request, error: int) -> None:
    if request.version >= 1:
        writer.integer("i", 0)
    writer.integer("h", error)


_BODIES = {
    PRODUCE: _produce,
    OFFSET_COMMIT: _offset_commit,
    JOIN_GROUP: _join_group,
    SYNC_GROUP: _sync_group,
    HEARTBEAT: _heartbeat,
    TXN_OFFSET_COMMIT: _txn_offset_commit,
    CONSUMER_GROUP_HEARTBEAT: _consumer_group_heartbeat,
}
