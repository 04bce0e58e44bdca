"""The rows of runs: read in one statement each time, so that a run and its steps are of one moment."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import psycopg2

from harness.observer.parsing import loads
from harness.subject import RUN_COLUMNS, STEP_COLUMNS, Binding

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 3
_STATEMENT_MS = 10_000
_AGAIN_SECONDS = 0.1
_LONG = 8192
_MOST_KNOWN = 4096


@dataclass
class Rows:
    """What the database holds of one run: the contract's columns, times as ISO 8601 in UTC."""

    run: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)


class DatabaseAway(Exception):
    """The database does not answer now."""


class RowReader:
    """Reads rows through the subject's binding, over one connection. Hold `lock` from a reading until what was read is
    written down: then the order in a history is that of the readings."""

    def __init__(self, database_url: str, binding: Binding) -> None:
        self._database_url = database_url
        runs, steps = (sql.rstrip().rstrip(";").replace("%", "%%") for sql in (binding.runs_sql, binding.steps_sql))
        self._sql = (
            f"SELECT 'run', to_jsonb(r)::text FROM ({runs}) AS r WHERE r.run_id = ANY(%(ids)s) "
            f"UNION ALL SELECT 'step', to_jsonb(s)::text FROM ({steps}) AS s WHERE s.run_id = ANY(%(ids)s)"
        )
        self.lock = threading.RLock()
        self._connection: Any = None
        self._not_before = 0.0
        self.away_since: float | None = None
        """When the database went away, by the monotonic clock; None while it answers."""

    def read(self, run_ids: Collection[str]) -> dict[str, Rows]:
        """Rows of every run that was asked for. Raises :class:`DatabaseAway`; a next call tries again.

        Any other error of the database is raised as it is: then a query of the binding cannot be used.
        """
        with self.lock:
            if not run_ids:
                return {}
            if time.monotonic() < self._not_before:
                raise DatabaseAway
            try:
                with self._connected().cursor() as cursor:
                    cursor.execute(self._sql, {"ids": list(run_ids)})
                    found = cursor.fetchall()
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                log.debug("the database is away: %s", error)
                self._drop()
                raise DatabaseAway from error
            self.away_since = None
        rows = {run_id: Rows() for run_id in run_ids}
        for what, text in found:
            parse = _parsed if len(text) > _LONG else _known
            run_id, row = parse(what, text)
            if what == "run":
                rows[run_id].run = row
            else:
                rows[run_id].steps.append(row)
        for of_run in rows.values():
            of_run.steps.sort(key=_order)
        return rows

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            if self._connection is not None:
                with contextlib.suppress(psycopg2.Error):
                    self._connection.close()
                self._connection = None

    def _connected(self) -> Any:
        if self._connection is None:
            connection = psycopg2.connect(
                self._database_url,
                connect_timeout=_CONNECT_SECONDS,
                application_name="plumbline-observer",
                options=f"-c timezone=UTC -c statement_timeout={_STATEMENT_MS}",
            )
            connection.autocommit = True
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        self.close()
        self._not_before = time.monotonic() + _AGAIN_SECONDS
        if self.away_since is None:
            self.away_since = time.monotonic()


def _parsed(what: str, text: str) -> tuple[str, dict[str, Any]]:
    """The run that a row is of, and the contract's columns of it."""
    row = loads(text)
    if what == "run":
        return row["run_id"], {name: row[name] for name in RUN_COLUMNS if name in row}
    return row["run_id"], {name: row.get(name) for name in STEP_COLUMNS}


_known = lru_cache(_MOST_KNOWN)(_parsed)
"""Most rows of a reading are as they were in the one before it. What is read is never changed, so that all may have the same."""


def _order(row: dict[str, Any]) -> tuple[str, int, str]:
    identity = row.get("id")
    return (str(row.get("started_at") or "~"), identity if isinstance(identity, int) else 0, str(identity))
