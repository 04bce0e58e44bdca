"""One client's connection to PostgreSQL, message by message, simple and extended protocol."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from harness.faults.points import Kind
from harness.faults.proxy import postgres_wire as wire
from harness.faults.proxy.gate import Closed, Connection, Decision, Gate, Passage

MOST_BYTES = 256 * 1024 * 1024
"""The largest message that is taken."""

_COPYING = frozenset((b"G", b"H", b"W"))


NameOf = Callable[[str], str]
"""What a table is called in fault points."""


async def serve(
    gate: Gate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name_of: NameOf = lambda table: table
) -> None:
    """Carry one client's connection until either side ends it."""
    connection = await gate.connect(reader, writer)
    if connection is None:
        return
    line = _Line(connection, name_of)
    await connection.run(asyncio.create_task(line.requests()), asyncio.create_task(line.responses()))


@dataclass(slots=True)
class _Unit:
    """What the server is to answer: a `query` or a `sync` with a ReadyForQuery, an `execute` with a CommandComplete."""

    kind: str
    sql: bytes = b""
    token: object = None
    """For the decider, once this is committed."""

    is_write: bool = False
    """It only begins to change data, within a transaction: done, it is answered, and nothing is committed yet."""

    error: Kind | None = None
    """The server's answer to it is made into this error."""


class _Line:
    def __init__(self, connection: Connection, name_of: NameOf) -> None:
        self._connection = connection
        self._name_of = name_of
        self._decider = connection.gate.decider
        self._process = connection.gate.process
        self._units: deque[_Unit] = deque()
        self._statements: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}
        self._prepared: dict[bytes, bytes] = {}
        self._in_transaction = False
        self._has_written = False
        self._has_failed = False
        self._changed: set[str] = set()
        self._implicit: list[bytes] = []
        self._held: list[bytes] = []

    async def requests(self) -> None:
        """Pass messages on, each commit once it may take effect."""
        await self._startup()
        while True:
            kind, payload = await _message(self._connection.reader)
            data = wire.message(kind, payload)
            match kind:
                case b"Q":
                    data = await self._query(payload[:-1], data)
                case b"P":
                    name, at = wire.text_at(payload, 0)
                    self._statements[name] = self._meant(wire.text_at(payload, at)[0])
                case b"B":
                    portal, at = wire.text_at(payload, 0)
                    self._portals[portal] = self._statements.get(wire.text_at(payload, at)[0], b"")
                case b"E":
                    data = await self._execute(self._portals.get(wire.text_at(payload, 0)[0], b""), data)
                case b"F":
                    # A function call of the old kind: it is answered like a query, and what it does is not seen.
                    self._units.append(_Unit("query"))
                case b"S":
                    data = await self._sync(data)
            await self._connection.to_server(data)

    async def responses(self) -> None:
        """Pass messages on, the acknowledgement of each commit once the process may know."""
        while True:
            kind, payload = await _message(self._connection.up_reader)
            data = wire.message(kind, payload)
            unit = self._units[0] if self._units else None
            if unit is not None and unit.error is not None and kind == b"C":
                # The transaction is given up in the commit's place: nobody is to hear of that but by the error.
                continue
            if unit is not None and unit.error is not None and kind == b"E":
                data = wire.error_response(*wire.MESSAGES[unit.error])
            self._note(kind, payload)
            if unit is None or unit.token is None or kind in _COPYING:
                await self._release(data)
            elif kind == b"E":
                # It has not taken effect after all.
                unit.token = None
                await self._release(data)
            elif kind == b"Z" or (kind == b"C" and payload != b"BEGIN\0" and (unit.is_write or payload == b"COMMIT\0")):
                await self._acknowledge(unit, data)
            else:
                self._held.append(data)

    async def _startup(self) -> None:
        while True:
            (size,) = struct.unpack(">I", await self._connection.reader.readexactly(4))
            if not 8 <= size <= 100_000:
                raise ValueError(f"a first message of {size} bytes is not PostgreSQL's protocol")
            payload = await self._connection.reader.readexactly(size - 4)
            (code,) = struct.unpack_from(">I", payload)
            if code in (wire.SSL_REQUEST, wire.GSS_REQUEST):
                # What is encrypted cannot be understood here.
                await self._connection.to_client(b"N")
                continue
            await self._connection.to_server(struct.pack(">I", size) + payload)
            if code == wire.CANCEL_REQUEST:
                raise Closed
            return

    def _meant(self, sql: bytes) -> bytes:
        """The statement that SQL's own EXECUTE carries out, as it was prepared; any other is what it is."""
        kept = wire.prepared(sql)
        if kept is not None:
            self._prepared[kept[0]] = kept[1]
            return sql
        name = wire.executed(sql)
        return sql if name is None else self._prepared.get(name, sql)

    async def _query(self, sql: bytes, data: bytes) -> bytes:
        begun = wire.after_begin(sql)
        if begun is not None:
            self._follow(b"BEGIN")
        sql = self._meant(sql if begun is None else begun)
        unit = _Unit("query", sql)
        is_explicit = wire.commits(sql)
        names: set[str] = set()
        if is_explicit and not self._has_failed:
            names = self._changed | self._outstanding() | (set(wire.tables(sql)) if wire.may_change(sql) else set())
        elif not is_explicit and not self._in_transaction and not wire.begins(sql) and wire.may_change(sql):
            names = set(wire.tables(sql))
        elif not is_explicit and self._begins_to_write(sql):
            unit.is_write, names = True, set(wire.tables(sql))
        self._follow(sql)
        if names:
            decision = await self._before(names, is_write=unit.is_write)
            unit.token = decision.token
            if decision.passage is Passage.REFUSE and decision.error is not None:
                unit.error = decision.error
                ahead = b"ROLLBACK; " if is_explicit else b"BEGIN; " if begun is not None else b""
                data = wire.message(b"Q", ahead + b"SELECT 1/0\0")
        self._units.append(unit)
        return data

    async def _execute(self, sql: bytes, data: bytes) -> bytes:
        unit = _Unit("execute", sql)
        if wire.commits(sql) and not self._has_failed and (names := self._changed | self._outstanding()):
            decision = await self._before(names)
            unit.token = decision.token
            if decision.passage is Passage.REFUSE and decision.error is not None:
                unit.error = decision.error
                data = _execute_nothing()
        elif not self._in_transaction and not wire.begins(sql) and wire.may_change(sql):
            self._implicit.append(sql)
        elif self._begins_to_write(sql):
            unit.is_write = True
            decision = await self._before(set(wire.tables(sql)), is_write=True)
            unit.token = decision.token
            if decision.passage is Passage.REFUSE and decision.error is not None:
                unit.error = decision.error
                data = _execute_nothing()
        self._follow(sql)
        self._units.append(unit)
        return data

    async def _sync(self, data: bytes) -> bytes:
        unit = _Unit("sync")
        if self._implicit and not self._in_transaction:
            decision = await self._before({table for sql in self._implicit for table in wire.tables(sql)})
            unit.token = decision.token
            if decision.passage is Passage.REFUSE and decision.error is not None:
                # Something that fails, ahead of the Sync that would commit.
                self._units.append(_Unit("execute", error=decision.error))
                data = _execute_nothing() + data
        self._implicit.clear()
        self._units.append(unit)
        return data

    def _begins_to_write(self, sql: bytes) -> bool:
        """Whether it is the first statement of a transaction that changes data."""
        if not self._in_transaction or self._has_written or self._has_failed or not wire.may_change(sql):
            return False
        self._has_written = True
        return True

    async def _before(self, names: set[str], *, is_write: bool = False) -> Decision:
        called = sorted({self._name_of(name) for name in names})
        decision = await self._decider.before(self._process, "write" if is_write else "commit", called)
        if decision.passage is Passage.CLOSE:
            self._connection.reset()
            raise Closed
        if decision.passage is Passage.REFUSE and decision.error is not None:
            await self._end_if_fatal(decision.error)
        return decision

    async def _acknowledge(self, unit: _Unit, data: bytes) -> None:
        token, unit.token = unit.token, None
        decision = await self._decider.after(token)
        if decision.passage is Passage.CLOSE:
            self._connection.reset()
            raise Closed
        if decision.passage is Passage.REFUSE and decision.error is not None:
            await self._end_if_fatal(decision.error)
        await self._release(data)

    async def _end_if_fatal(self, error: Kind) -> None:
        severity, code, text = wire.MESSAGES[error]
        if severity == "FATAL":
            await self._connection.to_client(wire.error_response(severity, code, text))
            raise Closed

    async def _release(self, data: bytes) -> None:
        held, self._held = self._held, []
        await self._connection.to_client(b"".join((*held, data)))

    def _follow(self, sql: bytes) -> None:
        """Keep account of whether the client is in a transaction, as it sends."""
        if wire.begins(sql):
            self._in_transaction, self._has_written = True, False
        if wire.commits(sql) or wire.rolls_back(sql):
            self._in_transaction = self._has_written = False

    def _outstanding(self) -> set[str]:
        """Tables that statements of this transaction may have changed whose answers have not come yet."""
        return {table for unit in self._units if wire.may_change(unit.sql) for table in wire.tables(unit.sql)}

    def _note(self, kind: bytes, payload: bytes) -> None:
        """Follow the server's answers: what was changed, and how the transaction stands."""
        unit = self._units[0] if self._units else None
        if kind == b"C" and unit is not None:
            if wire.has_changed(unit.sql, payload[:-1]):
                self._changed.update(wire.tables(unit.sql))
            if unit.kind == "execute":
                self._units.popleft()
        elif kind in (b"s", b"I") and unit is not None and unit.kind == "execute":
            self._units.popleft()
        elif kind == b"E":
            # The rest up to the Sync is left out by the server.
            while self._units and self._units[0].kind == "execute":
                self._units.popleft()
        elif kind == b"Z":
            while self._units and self._units[0].kind == "execute":
                self._units.popleft()
            if self._units:
                self._units.popleft()
            self._has_failed = payload == b"E"
            if payload == b"I":
                self._changed.clear()
            if not self._units:
                self._in_transaction = payload != b"I"


def _execute_nothing() -> bytes:
    return wire.message(b"E", wire.NO_SUCH_PORTAL.encode() + b"\0\0\0\0\0")


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    (size,) = struct.unpack_from(">I", head, 1)
    if not 4 <= size <= MOST_BYTES:
        raise ValueError(f"a message of {size} bytes; a message has at most {MOST_BYTES}")
    return head[:1], await reader.readexactly(size - 4)
