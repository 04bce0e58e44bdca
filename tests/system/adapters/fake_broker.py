"""A broker that says what a test has it say: enough of the protocol for a client to find it, and to send messages to it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from confluent_kafka import KafkaError

PRODUCE, METADATA, FIND_COORDINATOR, API_VERSIONS, INIT_PRODUCER_ID = 0, 3, 10, 18, 22
FIRST_AND_LAST_VERSION = {
    PRODUCE: (0, 3), 1: (4, 4), METADATA: (0, 4), 8: (2, 2), 9: (1, 1), FIND_COORDINATOR: (0, 2), 11: (0, 5), 12: (0, 3),
    13: (0, 1), 14: (0, 3), API_VERSIONS: (0, 3), INIT_PRODUCER_ID: (0, 1),
}  # fmt: skip
TOPIC = b"topic"


class FakeBroker:
    """One broker, one topic of one partition, and no coordinator.

    `knows_itself` False has it say that there is no broker; so many of the next messages as `duplicates` says are called
    duplicates of others."""

    def __init__(self) -> None:
        self.knows_itself = True
        self.duplicates = 0
        self.requests: Counter[int] = Counter()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._socket.getsockname()[1]
        self._answers: dict[int, Callable[[], bytes]] = {
            API_VERSIONS: _api_versions,
            METADATA: self._metadata,
            INIT_PRODUCER_ID: lambda: struct.pack(">ihqh", 0, 0, 7, 0),
            PRODUCE: self._produced,
            FIND_COORDINATOR: lambda: struct.pack(">ihhihi", 0, KafkaError.COORDINATOR_NOT_AVAILABLE, -1, -1, 0, -1),
        }

    @property
    def address(self) -> str:
        """host:port"""
        return f"127.0.0.1:{self._port}"

    @contextlib.contextmanager
    def serving(self) -> Iterator[FakeBroker]:
        """Take connections until the end of the block."""
        accepting = threading.Thread(target=self._accept, daemon=True)
        accepting.start()
        yield self
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        accepting.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while size := connection.recv(4, socket.MSG_WAITALL):
                request = connection.recv(struct.unpack(">i", size)[0], socket.MSG_WAITALL)
                api, _, correlation = struct.unpack(">hhi", request[:8])
                self.requests[api] += 1
                answer = struct.pack(">i", correlation) + self._answers[api]()
                connection.sendall(struct.pack(">i", len(answer)) + answer)

    def _produced(self) -> bytes:
        error, offset = 0, 0
        if self.duplicates:
            self.duplicates -= 1
            error, offset = KafkaError.DUPLICATE_SEQUENCE_NUMBER, -1
        return struct.pack(">i", 1) + _text(TOPIC) + struct.pack(">iihqqi", 1, 0, error, offset, -1, 0)

    def _metadata(self) -> bytes:
        itself = struct.pack(">i", 1) + _text(b"127.0.0.1") + struct.pack(">ih", self._port, -1)
        brokers = struct.pack(">i", 1) + itself if self.knows_itself else struct.pack(">i", 0)
        leader, error = (1, 0) if self.knows_itself else (-1, KafkaError.LEADER_NOT_AVAILABLE)
        partition = struct.pack(">hii", error, 0, leader) + struct.pack(">iiii", 1, 1, 1, 1)
        topics = struct.pack(">ih", 1, 0) + _text(TOPIC) + b"\0" + struct.pack(">i", 1) + partition
        return struct.pack(">i", 0) + brokers + _text(b"cluster") + struct.pack(">i", leader) + topics


def _api_versions() -> bytes:
    apis = b"".join(struct.pack(">hhhB", api, *both, 0) for api, both in FIRST_AND_LAST_VERSION.items())
    return struct.pack(">hB", 0, len(FIRST_AND_LAST_VERSION) + 1) + apis + struct.pack(">iB", 0, 0)


def _text(value: bytes) -> bytes:
    return struct.pack(">h", len(value)) + value
