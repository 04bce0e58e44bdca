"""Connections to PostgreSQL, with the limits that keep a hung process from holding others up."""

from __future__ import annotations

from enum import Enum
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from system import json_values
from system.adapters.prepared import use_prepared

# A process that stops in the middle of a transaction (paused machine, debugger, SIGSTOP) must not keep its row locks:
# PostgreSQL ends such a transaction, and the process finds its commit refused when it goes on.
_SESSION_OPTIONS = (
    "-c idle_in_transaction_session_timeout=10s -c lock_timeout=5s -c statement_timeout=60s -c timezone=UTC"
)

# A plan is kept from when a table was small, when to read it whole was best, until autovacuum has looked at what it became:
# for a minute, in which a burst of runs makes it several times as long.
_BY_KEY_OPTIONS = (
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan"
)


def connect(
    database_url: str, *, pool_size: int, application_name: str, autocommit: bool = False, by_key: bool = False
) -> Engine:
    """An engine whose connections notice a dead peer within some ten seconds; JSON travels through orjson.

    Args:
        autocommit: each statement commits by itself, where a connection is not taken with the isolation level READ COMMITTED:
            to have it the other way round costs a fifth of what a short statement does.
        by_key: all statements find their rows by an index, however many others there are, and are planned once.
    """
    engine = create_engine(
        database_url,
        **({"isolation_level": "AUTOCOMMIT"} if autocommit else {}),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=False,
        # What PostgreSQL says of a row must not reach a log: it may hold an agent's secrets or a user's data.
        hide_parameters=True,
        json_serializer=lambda value: json_values.dumps(value).decode(),
        json_deserializer=_loads,
        connect_args={
            "application_name": application_name,
            "options": f"{_SESSION_OPTIONS} {_BY_KEY_OPTIONS}" if by_key else _SESSION_OPTIONS,
            "connect_timeout": 5,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
    )
    # By SQLAlchemy's own way psycopg2 may ask the server, at a moment at which an error is not taken for one of the database.
    engine.dialect.set_isolation_level = _set_isolation_level  # type: ignore[assignment]
    use_prepared(engine)
    return engine


def _set_isolation_level(connection: Any, level: str) -> None:
    """AUTOCOMMIT, or a transaction of the server's own level, which is READ COMMITTED."""
    connection.autocommit = level == "AUTOCOMMIT"


def _loads(value: str | bytes) -> Any:
    return json_values.loads(value.encode() if isinstance(value, str) else value)


def reason_of(error: SQLAlchemyError) -> str:
    """Why the database refused, in one line and without the data that PostgreSQL quotes in its details."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    return " ".join(str(primary or cause).split())[:500]


class Blame(Enum):
    """What a failure of the database says of the work that it was asked for."""

    WORK = "the database will never take this work"
    UNKNOWN = "the work or the database is at fault"
    SURROUNDINGS = "the same work will be taken another time"


# Classes of SQLSTATE that speak of the values: cardinality, data, integrity, views and triggers that check, limits.
_ABOUT_VALUES = ("21", "22", "23", "44", "54", "P0")
_QUERY_CANCELED = "57014"


def blame_of(error: SQLAlchemyError) -> Blame:
    """Where a failure lies. An error that is not known to speak of the values speaks of the surroundings: a connection
    that broke or was not to be had, a full disk, a lock, a missing table or right; whoever mends that wants no work
    lost meanwhile. A statement that ran into its time limit and an internal error of the server may be either's."""
    if not isinstance(error, DBAPIError) or error.connection_invalidated:
        return Blame.SURROUNDINGS
    code = getattr(error.orig, "pgcode", None)
    if code is None:
        # Of the client's library: about the connection, or about values that it cannot write down.
        return Blame.SURROUNDINGS if isinstance(error, OperationalError | InterfaceError) else Blame.WORK
    if code[:2] in _ABOUT_VALUES:
        return Blame.WORK
    return Blame.UNKNOWN if code == _QUERY_CANCELED or code.startswith("XX") else Blame.SURROUNDINGS
