"""What stands between a process and what it speaks to: whoever decides about its crossings, and whether bytes flow."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from harness.faults.points import Boundary, Kind


class Passage(Enum):
    """What becomes of a request or its acknowledgement."""

    PASS = "pass"
    CLOSE = "close"
    """The connection is reset and nothing more goes through it."""
    REFUSE = "refuse"
    """An error is answered instead."""


@dataclass(slots=True)
class Decision:
    """About one crossing; `error` says which kind of error is answered when it is refused."""

    passage: Passage = Passage.PASS
    error: Kind | None = None
    token: object = None
    """What the decider wants to have back with the acknowledgement; None when it does not want to hear of that."""


PASSED = Decision()


class Decider(Protocol):
    """Decides about crossings; called in the loop of the proxies, and may take its time: nothing moves meanwhile."""

    async def before(self, process: str, boundary: Boundary, names: Sequence[str]) -> Decision:
        """A request has arrived and was not passed on."""

    async def after(self, token: object) -> Decision:
        """It has taken effect, and the acknowledgement was not passed on."""

    def joined(self, process: str, session_timeout_ms: int) -> None:
        """A process asks to become a member of a group that would wait so long for it."""


class Gate:
    """One kind of connection of one process: to Kafka, or to PostgreSQL. Belongs to the loop of the proxies."""

    def __init__(self, process: str, decider: Decider, upstream: tuple[str, int]) -> None:
        self.process = process
        self.decider = decider
        self.upstream = upstream
        self._open = asyncio.Event()
        self._open.set()
        self._shut_by: set[object] = set()
        self._connections: set[Connection] = set()

    async def passable(self) -> None:
        """Wait until bytes flow."""
        await self._open.wait()

    def shut(self, by: object) -> None:
        """Let no byte through any more; connections stay as they are, as when a cable is pulled."""
        self._shut_by.add(by)
        self._open.clear()

    def open(self, by: object) -> None:
        """Let bytes through again, once all others who have shut it have opened it as well."""
        self._shut_by.discard(by)
        if not self._shut_by:
            self._open.set()

    def reset(self) -> None:
        """Reset every connection."""
        for connection in list(self._connections):
            connection.reset()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection | None:
        """The connection of a client that was just accepted; None when what it wants to reach does not accept it."""
        await self.passable()
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.upstream, limit=_BUFFER)
        except OSError:
            _abort(writer)
            return None
        connection = Connection(self, reader, writer, up_reader, up_writer)
        self._connections.add(connection)
        return connection

    def forget(self, connection: Connection) -> None:
        """It has ended."""
        self._connections.discard(connection)


_BUFFER = 1 << 20


class Connection:
    """A client's connection and ours to the server behind it."""

    def __init__(
        self,
        gate: Gate,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        self.gate = gate
        self.reader = reader
        self.writer = writer
        self.up_reader = up_reader
        self.up_writer = up_writer

    async def to_server(self, data: bytes) -> None:
        """Pass bytes on to the server once the gate is open."""
        await self.gate.passable()
        self.up_writer.write(data)
        await self.up_writer.drain()

    async def to_client(self, data: bytes) -> None:
        """Pass bytes on to the client once the gate is open."""
        await self.gate.passable()
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End both sides at once: the client finds its connection reset."""
        _abort(self.writer)
        _abort(self.up_writer)

    async def run(self, *pumps: asyncio.Task[None]) -> None:
        """Wait until one of the pumps has ended, and end the rest; raises what a pump raised but for lost connections."""
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # Nobody waits any more until a server that stands still has taken what it was sent.
            self.reset()
            raise
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.gate.forget(self)
            self.writer.close()
            self.up_writer.close()
        for pump in done:
            error = pump.exception() if not pump.cancelled() else None
            if error is not None and not isinstance(error, OSError | EOFError | Closed):
                raise error


class Closed(Exception):
    """A connection was reset on purpose."""


def _abort(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        # Lingering for no time makes the end a reset rather than an orderly close.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
