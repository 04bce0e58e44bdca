"""A caller that watches a run's row: the same for every contender, so that none has the better instrument."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

import psycopg2

_POLL_SECONDS = 0.001
_RUN_DEADLINE_SECONDS = 60.0


class RowWatch:
    """One connection to a database, each statement its own transaction."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg2.connect(database_url)
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def one(self, statement: str, *values: Any) -> Any:
        """The first column of the first row; None when there is none."""
        self._cursor.execute(statement, values)
        row = self._cursor.fetchone() if self._cursor.description else None
        return None if row is None else row[0]

    def all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows."""
        self._cursor.execute(statement, values)
        return self._cursor.fetchall()

    def wait_for(self, statement: str, run_id: str, good: str, bad: frozenset[str]) -> None:
        """Ask for a status, every millisecond, until it is the good one.

        Raises:
            RuntimeError: it became a bad one.
            TimeoutError: neither happened within a minute.
        """
        deadline = time.monotonic() + _RUN_DEADLINE_SECONDS
        while (status := self.one(statement, run_id)) != good:
            if status in bad:
                raise RuntimeError(f"run {run_id} ended {status}; expected {good}: look into the logs of its engine")
            if time.monotonic() > deadline:
                raise TimeoutError(f"run {run_id} is {status} after {_RUN_DEADLINE_SECONDS:.0f} s; expected {good}")
            time.sleep(_POLL_SECONDS)
