"""The contract's tables as they are at one moment, whatever columns they have."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import psycopg2
import psycopg2.errors
import psycopg2.extras
from psycopg2 import sql

from harness.observer.parsing import loads

TABLES: Final = ("workflow_definitions", "workflow_runs", "step_executions", "agents", "audit_logs")
"""The tables of section 2 of the contract."""

MOST_ROWS: Final = 5000
_CONNECT_SECONDS = 5
_STATEMENT_MS = 20_000


def read_table(database_url: str, table: str) -> list[dict[str, Any]] | str:
    """The rows of one of `TABLES`, the newest first where the table knows; at most MOST_ROWS. Values are JSON, times ISO
    8601 in UTC. A sentence instead, when there is no such table or the database does not answer."""
    if table not in TABLES:
        raise ValueError(f"the contract has no table {table!r}")
    try:
        with contextlib.closing(
            psycopg2.connect(
                database_url,
                connect_timeout=_CONNECT_SECONDS,
                application_name="plumbline-observer",
                options=f"-c timezone=UTC -c statement_timeout={_STATEMENT_MS}",
            )
        ) as connection:
            psycopg2.extras.register_default_jsonb(connection, loads=loads)
            with connection.cursor() as cursor:
                # An executor's table need not have the column; the alias stands in for it then, and orders nothing.
                cursor.execute(
                    sql.SQL(
                        "SELECT to_jsonb(t) FROM {} AS t ORDER BY to_jsonb(t) ->> 'created_at' DESC NULLS LAST LIMIT {}"
                    ).format(sql.Identifier(table), sql.Literal(MOST_ROWS))
                )
                return [row for (row,) in cursor.fetchall()]
    except psycopg2.errors.UndefinedTable:
        return f"there is no table {table}"
    except psycopg2.OperationalError as error:
        return f"the database does not answer: {' '.join(str(error).split())}"
