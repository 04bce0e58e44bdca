"""Transactions of the API, done again once when the connection was lost under them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from system.api.problems import Problem, unavailable

T = TypeVar("T")

_SERIALIZATION_FAILURE = "40001"
_DEADLOCK = "40P01"
_UNDEFINED_TABLE = "42P01"
_UNDEFINED_COLUMN = "42703"


class Uncertain(Exception):
    """A change may have been committed or not: the connection was lost, and so was the next one."""


class Database:
    """Runs the work of one request in one transaction. The engine's connections commit each statement by itself.

    A connection that was lost is replaced once. Whether the lost transaction had committed is then not known, and the
    work is told so (`again=True`): it has to find out from what it reads, or be such that a second time changes nothing.
    """

    def __init__(self, engine: Engine) -> None:
        self._autocommit = engine
        self._transactional = engine.execution_options(isolation_level="READ COMMITTED")

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that changes nothing; each statement sees what is committed when it begins."""
        try:
            return self._autocommitted(work)
        except DBAPIError as error:
            if not _worth_another(error):
                raise
        return self._autocommitted(work)

    def transaction(self, work: Callable[[Connection, bool], T]) -> T:
        """Run work and commit it.

        Raises:
            Uncertain: the connection was lost, and the second attempt did not get far enough to tell what had happened.
        """

        def attempt(again: bool) -> T:
            with self._transactional.begin() as connection:
                return work(connection, again)

        return self._twice(attempt)

    def statement(self, work: Callable[[Connection, bool], T]) -> T:
        """Run work of a single statement, which commits by itself: one round trip instead of three.

        Raises:
            Uncertain: as for `transaction`.
        """
        return self._twice(lambda again: self._autocommitted(lambda connection: work(connection, again)))

    def _autocommitted(self, work: Callable[[Connection], T]) -> T:
        with self._autocommit.connect() as connection:
            return work(connection)

    def _twice(self, attempt: Callable[[bool], T]) -> T:
        try:
            return attempt(False)
        except DBAPIError as error:
            if not _worth_another(error):
                raise
            first_lost = lost(error)
        try:
            return attempt(first_lost)
        except DBAPIError as error:
            if isinstance(error, IntegrityError) or not (first_lost or lost(error)):
                raise
            raise Uncertain("the connection to the database was lost while a change was being written") from error


def lost(error: DBAPIError) -> bool:
    """Whether the connection broke, so that nobody knows what became of a commit that was under way."""
    return error.connection_invalidated


def constraint_of(error: DBAPIError) -> str | None:
    """Name of the constraint that a statement ran into."""
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "constraint_name", None)


def told(error: SQLAlchemyError) -> str:
    """What may be logged of an error: its kind and place, and no value of a row or a parameter."""
    original = getattr(error, "orig", None)
    code = getattr(original, "pgcode", None)
    if code is None:
        # Of the client's library, about the connection.
        lines = str(original or error).strip().splitlines()
        return f"{type(original or error).__name__}: {lines[0] if lines else 'no more is known'}"
    diagnosis = getattr(original, "diag", None)
    place = [
        f"{part} {name}"
        for part in ("table", "column", "constraint")
        if (name := getattr(diagnosis, f"{part}_name", None))
    ]
    if code.startswith("42"):
        # About the statement, which is ours: a name in it that the database does not know.
        place.append(str(getattr(diagnosis, "message_primary", "")))
    return " ".join([f"{type(original).__name__}, SQLSTATE {code}", *place])


def problem_of(error: SQLAlchemyError) -> Problem | None:
    """What the client is told of an error that is about the database's state or reach; None if it is our mistake."""
    if isinstance(error, PoolTimeout):
        return unavailable("all connections to the database are busy; try again")
    if not isinstance(error, DBAPIError):
        return None
    code = getattr(error.orig, "pgcode", None)
    if error.connection_invalidated or (code is None and isinstance(error, (InterfaceError, OperationalError))):
        return unavailable("the database cannot be reached; try again")
    if code in (_UNDEFINED_TABLE, _UNDEFINED_COLUMN):
        return unavailable("the database lacks tables of this version; bring it up to date with: alembic upgrade head")
    if code is None:
        return None
    # Classes: 08 connection, 25 transaction state, 40 rollback, 53 resources, 55 locks, 57 intervention, 58 system.
    if code[:2] in ("08", "25", "40", "53", "55", "57", "58"):
        return unavailable(f"the database cannot serve the request now (SQLSTATE {code}); try again")
    if code[:2] == "22":
        return Problem(422, f"the request holds a value that the database cannot hold (SQLSTATE {code})")
    return None


def _worth_another(error: DBAPIError) -> bool:
    return lost(error) or getattr(error.orig, "pgcode", None) in (_SERIALIZATION_FAILURE, _DEADLOCK)
