"""Connections to PostgreSQL, with the limits that keep a hung process from holding others up."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from system import json_values

# A process that stops in the middle of a transaction (paused machine, debugger, SIGSTOP) must not keep its row locks:
# PostgreSQL ends such a transaction, and the process finds its commit refused when it goes on.
_SESSION_OPTIONS = (
    "-c idle_in_transaction_session_timeout=10s -c lock_timeout=5s -c statement_timeout=60s -c timezone=UTC"
)


def connect(database_url: str, *, pool_size: int, application_name: str) -> Engine:
    """An engine whose connections notice a dead peer within some ten seconds; JSON travels through orjson."""
    return create_engine(
        database_url,
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
            "options": _SESSION_OPTIONS,
            "connect_timeout": 5,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
    )


def _loads(value: str | bytes) -> Any:
    return json_values.loads(value.encode() if isinstance(value, str) else value)


def reason_of(error: SQLAlchemyError) -> str:
    """Why the database refused, in one line and without the data that PostgreSQL quotes in its details."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    return " ".join(str(primary or cause).split())[:500]
