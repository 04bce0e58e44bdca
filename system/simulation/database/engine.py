"""SQLAlchemy's Engine and Connection over the tables in memory, as far as the reference uses them.

A statement is known by its text and carried out by the function that `statements` has for it; what SQLAlchemy builds
from expressions goes to `expressions`. One that is not known is refused loudly. Every statement, commit and connection
is a call to the world: the scheduler may let it fail before or after it took effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import psycopg2
from sqlalchemy import TextClause
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.exc import DataError, IntegrityError, InvalidRequestError, OperationalError

from system.simulation.database import expressions, statements
from system.simulation.database.answers import Answer, Taken
from system.simulation.database.jsonb import Unstorable
from system.simulation.database.tables import Blocked, Session, Tables, Transaction
from system.simulation.machine import Machine, Process

_LOCK_TIMEOUT_SECONDS = 5.0
_IDLE_IN_TRANSACTION_SECONDS = 10.0


class Server:
    """The database server: the tables, and whether it answers."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tables = Tables(statements.TABLES)
        self.is_down = False
        self.sessions: dict[Session, None] = {}

    def stop(self) -> None:
        """The server ends at once: every connection is lost, what is committed stays."""
        self.is_down = True
        for session in list(self.sessions):
            session.die()
        self.sessions.clear()

    def start(self) -> None:
        """The server answers again."""
        self.is_down = False


class _Coded(psycopg2.OperationalError):
    pgcode = "40P01"


class _Duplicate(psycopg2.IntegrityError):
    """With the name of the constraint where the real one has it."""

    pgcode = "23505"

    def __init__(self, constraint: str) -> None:
        super().__init__(f'duplicate key value violates unique constraint "{constraint}"')
        self._constraint = constraint

    @property
    def diag(self) -> Any:  # type: ignore[override]
        return _Diagnostics(self._constraint, str(self))


class _Diagnostics:
    def __init__(self, constraint: str, message: str) -> None:
        self.constraint_name = constraint
        self.message_primary = message
        self.table_name = self.column_name = None


def _lost(statement: str) -> OperationalError:
    said = psycopg2.OperationalError("server closed the connection unexpectedly")
    return OperationalError(statement, None, said, connection_invalidated=True)


class MemoryEngine:
    """Engine of one process."""

    def __init__(self, server: Server, process: Process) -> None:
        self.server = server
        self.process = process
        self._idle: list[Session] = []
        self._sessions: dict[Session, None] = {}
        process.at_death.append(self._die)
        process.at_pause.append(self._paused)

    def connect(self) -> MemoryConnection:
        """A connection, from those that were given back if there is one."""
        self.process.check()
        if self._idle:
            return MemoryConnection(self, self._idle.pop())
        fate = self.server.machine.point("connect", "connect")
        if fate is not None or self.server.is_down:
            raise OperationalError("connect", None, psycopg2.OperationalError("connection refused"))
        session = Session(self.server.tables)
        self.server.sessions[session] = None
        self._sessions[session] = None
        return MemoryConnection(self, session)

    def begin(self) -> _Begun:
        """A connection in a transaction that commits at the end of the block."""
        return _Begun(self.connect())

    def execution_options(self, **options: Any) -> _Autocommitting:
        """An engine whose connections commit each statement."""
        assert options == {"isolation_level": "AUTOCOMMIT"}, options
        return _Autocommitting(self)

    def dispose(self) -> None:
        """Close what is idle."""
        for session in self._idle:
            self.close(session)
        self._idle.clear()

    def give_back(self, session: Session) -> None:
        """A connection is not used any more."""
        if session.alive and self.process.alive:
            self._idle.append(session)

    def close(self, session: Session) -> None:
        """End a session."""
        self.server.sessions.pop(session, None)
        self._sessions.pop(session, None)
        session.die()

    def broken(self, session: Session) -> None:
        """A connection was found lost: the idle ones are not believed either."""
        self.close(session)
        self.dispose()

    def _die(self) -> None:
        # The server sees the sockets close soon, not at once.
        sessions = [session for session in self._sessions if session.alive]
        if sessions:
            self.server.machine.soon(
                None, f"the server notices the end of {self.process.name}", lambda: self._gone(sessions)
            )

    def _gone(self, sessions: list[Session]) -> None:
        for session in sessions:
            self.close(session)

    def _paused(self) -> None:
        held = [session.transaction for session in self._sessions if session.transaction is not None]
        if held:

            def expire() -> None:
                for transaction in held:
                    if self.process.paused and transaction.session.transaction is transaction:
                        self.close(transaction.session)

            self.server.machine.after(
                _IDLE_IN_TRANSACTION_SECONDS, None, f"the server ends transactions of {self.process.name}", expire
            )


class _Autocommitting:
    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine

    def connect(self) -> MemoryConnection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def execution_options(self, **options: Any) -> MemoryEngine:
        assert options == {"isolation_level": "READ COMMITTED"}, options
        return self._engine


class _Begun:
    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection

    def __enter__(self) -> MemoryConnection:
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, _: Any, __: TracebackType | None) -> None:
        try:
            if kind is None:
                self._connection.commit()
        finally:
            self._connection.close()


class MemoryResult(IteratorResult[Any]):
    """A result of SQLAlchemy's, with the number of rows that a statement changed."""

    rowcount = -1


_METADATA: dict[tuple[str, ...], SimpleResultMetaData] = {}


def _result(answer: Answer) -> MemoryResult:
    keys, rows, rowcount = answer
    metadata = _METADATA.get(keys)
    if metadata is None:
        metadata = _METADATA[keys] = SimpleResultMetaData(keys)
    result = MemoryResult(metadata, iter(rows))
    result.rowcount = rowcount
    return result


class MemoryConnection:
    """Connection of SQLAlchemy's. Used by one thread at a time, as a context manager or until `close`."""

    def __init__(self, engine: MemoryEngine, session: Session) -> None:
        self._engine = engine
        self._machine = engine.server.machine
        self._session = session
        self._autocommit = False
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execution_options(self, **options: Any) -> Self:
        assert options == {"isolation_level": "AUTOCOMMIT"}, options
        self._autocommit = True
        return self

    def execute(self, statement: Any, parameters: Any = None) -> MemoryResult:
        """Carry a statement out.

        Raises:
            OperationalError: the connection was lost, or others are in the way.
            IntegrityError, DataError: as of PostgreSQL.
        """
        if isinstance(statement, TextClause):
            found = statements.BY_TEXT.get(statement.text)
            if found is None:
                raise InvalidRequestError(f"the simulated database does not know this statement:\n{statement.text}")
            title, work = found
            return self._perform(title, work, parameters or {})
        title, built = expressions.compiled(statement)
        return self._perform(title, built, parameters or {})

    def exec_driver_sql(self, statement: str) -> MemoryResult:
        """As `execute`, for the texts that the reference hands to the driver."""
        if statement not in ("SELECT 1", "SET LOCAL synchronous_commit = off"):
            raise InvalidRequestError(f"the simulated database does not know this statement: {statement}")
        return self._perform(statement, statements.nothing, {})

    def _perform(
        self, title: str, work: Callable[[Transaction, Mapping[str, Any]], Answer], parameters: Any
    ) -> MemoryResult:
        self._engine.process.check()
        fate = self._machine.point("db", title)
        session = self._session
        if fate == "lost before" or not session.alive:
            self._engine.broken(session)
            raise _lost(title)
        if fate == "deadlock":
            self._rollback()
            raise OperationalError(title, None, _Coded("deadlock detected"))
        transaction = session.begin()
        transaction_time = self._machine.now
        try:
            answer = self._unblocked(title, lambda: work(transaction, {"now()": transaction_time(), **parameters}))
        except Taken as taken:
            self._rollback()
            raise IntegrityError(title, None, _Duplicate(taken.constraint)) from None
        except Unstorable as error:
            self._rollback()
            raise DataError(title, None, psycopg2.DataError(str(error))) from None
        if self._autocommit:
            transaction.commit()
        if fate == "lost after":
            self._engine.broken(session)
            raise _lost(title)
        return _result(answer)

    def _unblocked(self, title: str, work: Callable[[], Answer]) -> Answer:
        deadline = self._machine.seconds + _LOCK_TIMEOUT_SECONDS
        while True:
            try:
                return work()
            except Blocked as blocked:
                self._await(title, blocked.by, deadline)

    def _await(self, title: str, holder: Session, deadline: float) -> None:
        machine, session = self._machine, self._session
        actor = machine.current
        waiting: Session | None = holder
        while waiting is not None:
            if waiting is session:
                self._rollback()
                raise OperationalError(title, None, _Coded("deadlock detected"))
            waiting = waiting.waits_for
        left = deadline - machine.seconds
        if actor is None or left <= 0:
            self._rollback()
            raise OperationalError(title, None, psycopg2.OperationalError("canceling statement due to lock timeout"))
        session.waits_for = holder
        holder.on_end.append(lambda: machine.wake(actor))
        try:
            machine.wait(f"lock: {title}", left)
        finally:
            session.waits_for = None
        if not session.alive:
            self._engine.broken(session)
            raise _lost(title)

    def commit(self) -> None:
        """Commit; when the connection is lost on the way, nobody knows whether it took effect."""
        self._engine.process.check()
        fate = self._machine.point("db", "COMMIT")
        session = self._session
        if fate in ("lost before", "deadlock") or not session.alive:
            self._engine.broken(session)
            raise _lost("COMMIT")
        if session.transaction is not None:
            session.transaction.commit()
        if fate == "lost after":
            self._engine.broken(session)
            raise _lost("COMMIT")

    def _rollback(self) -> None:
        if self._session.alive and self._session.transaction is not None:
            self._session.transaction.rollback()

    def close(self) -> None:
        """Undo what was not committed and give the connection back."""
        if not self._closed:
            self._closed = True
            if self._engine.process.alive:
                self._rollback()
                self._engine.give_back(self._session)

    def invalidate(self) -> None:
        """Close the session itself."""
        if self._engine.process.alive:
            self._closed = True
            self._engine.close(self._session)
