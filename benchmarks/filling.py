"""Finished runs by the million, as copies of one that the reference has really carried out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import psycopg2
from psycopg2 import sql

from benchmarks.contender import Say

_CHUNK = 50_000
_NAME = "bench-filled"
_TABLES = ("workflow_runs", "step_executions")
_FILLED = "filled-"


def fill(database_url: str, runs: int, say: Say) -> None:
    """Add finished runs with their steps, until there are this many copies of the run that ended last, and have PostgreSQL
    look at the tables as its autovacuum would. The copies are spread over the days before. Raises RuntimeError when there is
    no run to copy."""
    with contextlib.closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT run_id FROM workflow_runs WHERE status = 'COMPLETED' ORDER BY id DESC LIMIT 1")
        template = cursor.fetchone()
        if template is None:
            raise RuntimeError("no run has ended well yet; one must be carried out before it can be copied")
        cursor.execute("SELECT count(*) FROM workflow_runs WHERE workflow_name = %s", [_NAME])
        present = int(cursor.fetchone()[0])  # type: ignore[index]
        statements = [_copying(table, _columns(cursor, table)) for table in _TABLES]
        for first in range(present + 1, runs + 1, _CHUNK):
            last = min(first + _CHUNK - 1, runs)
            for statement in statements:
                cursor.execute(statement, [first, last, template[0]])
            say(f"{last:,} of {runs:,} finished runs are there")
        cursor.execute("VACUUM (ANALYZE)")


def empty(database_url: str) -> None:
    """Remove every run; nothing may be under way."""
    with contextlib.closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("TRUNCATE workflow_runs, step_executions")
        connection.cursor().execute("VACUUM (ANALYZE)")


def size_mib(database_url: str) -> float:
    """What the database takes on disk."""
    with contextlib.closing(psycopg2.connect(database_url)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0]) / 1024**2  # type: ignore[index]


def _columns(cursor: psycopg2.extensions.cursor, table: str) -> list[str]:
    cursor.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND table_schema = 'public' "
        "AND column_name <> 'id' ORDER BY ordinal_position",
        [table],
    )
    return [row[0] for row in cursor.fetchall()]


def _copying(table: str, columns: Sequence[str]) -> sql.Composed:
    """An INSERT of copies: of the run with its own id and age, of its steps with their own task_id."""
    age = sql.SQL("(g.number * interval '1 second')")
    changed = {
        "run_id": sql.SQL("{} || g.number").format(sql.Literal(_FILLED)),
        "workflow_name": sql.Literal(_NAME),
        "workflow_id": sql.Literal(_NAME),
        "task_id": sql.SQL("gen_random_uuid()::text"),
        "created_at": sql.SQL("t.created_at - {}").format(age),
        "outbox_id": sql.SQL("NULL"),
        "updates_outbox_id": sql.SQL("NULL"),
    }
    return sql.SQL("INSERT INTO {} ({}) SELECT {} FROM generate_series(%s, %s) AS g(number), {} AS t WHERE t.run_id = %s").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(changed.get(name, sql.Identifier("t", name)) for name in columns),
        sql.Identifier(table),
    )  # fmt: skip
