"""Which of many runs have ended: one cheap statement for all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2

from harness.subject import Binding

_CONNECT_SECONDS = 3
_DEFINITIONS_SQL = "SELECT name FROM workflow_definitions WHERE name = ANY(%(names)s)"
_ENDS = ["COMPLETED", "FAILED", "CANCELLED"]


class StatusReader:
    """Asks through the subject's binding, over a connection of its own. Belongs to one thread."""

    def __init__(self, database_url: str, binding: Binding) -> None:
        runs = binding.runs_sql.rstrip().rstrip(";").replace("%", "%%")
        self._sql = f"SELECT run_id FROM ({runs}) AS r WHERE run_id = ANY(%(ids)s) AND status = ANY(%(ends)s)"
        self._database_url = database_url
        self._connection: Any = None

    def ended(self, run_ids: Sequence[str]) -> list[str]:
        """Those that are in a terminal status; none while the database does not answer."""
        if not run_ids:
            return []
        return self._asked(self._sql, {"ids": list(run_ids), "ends": _ENDS})

    def _asked(self, sql: str, values: Mapping[str, Any]) -> list[str]:
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(
                    self._database_url, connect_timeout=_CONNECT_SECONDS, application_name="plumbline-explorer"
                )
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(sql, values)
                return [found for (found,) in cursor.fetchall()]
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            self.close()
            return []

    def definitions(self, names: Sequence[str]) -> list[str]:
        """Those of the names that a row of workflow_definitions has."""
        if not names:
            return []
        return self._asked(_DEFINITIONS_SQL, {"names": list(names)})

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None
