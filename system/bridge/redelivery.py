"""Tasks that arrive again: what says that they need no call.

A task comes again when a bridge died before its offset was committed, or when its executor was not sure that Kafka
had it. Its result may be in the database already, or have been given by this very process a moment ago.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(run_id, task_id): a task_id alone would let one run answer for another."""

_APPLIED = text(
    """
    SELECT run_id, task_id FROM step_executions
    WHERE run_id = ANY(:run_ids) AND task_id = ANY(:task_ids)
    -- A step that was cancelled in flight and begun again has two rows for one task: it is waited for again.
    GROUP BY run_id, task_id HAVING bool_and(status NOT IN ('RUNNING', 'PENDING'))
    """
)
_UNDEFINED = ("42P01", "42703")


class AnsweredTasks:
    """The newest results of this process, by task; bounded by number and by bytes, the oldest go first."""

    def __init__(self, *, limit: int = 50_000, limit_bytes: int = 64 << 20) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._results: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> bytes | None:
        """The encoded AgentResult of a task, if it is still kept."""
        return self._results.get(key)

    def add(self, key: Key, result: bytes) -> None:
        """Keep a result that Kafka has."""
        self._bytes += len(result) - len(self._results.pop(key, b""))
        self._results[key] = result
        while len(self._results) > self._limit or self._bytes > self._limit_bytes:
            self._bytes -= len(self._results.popitem(last=False)[1])


class AppliedResults:
    """Asks the executor's database which tasks have had their result applied."""

    def __init__(self, engine: Engine, *, patience_seconds: float) -> None:
        self._engine = engine
        self._patience_seconds = patience_seconds
        self._asking = True

    async def among(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the tasks whose step has ended. Empty when the database stays away for longer than the patience,
        or is that of an executor that keeps no task_id: the tasks are then called, under the same idempotency key."""
        if not keys or not self._asking:
            return set()
        try:
            async with asyncio.timeout(self._patience_seconds):
                while True:
                    try:
                        return await asyncio.to_thread(self._among, keys)
                    except DBAPIError as error:
                        if getattr(error.orig, "pgcode", None) in _UNDEFINED:
                            log.info("the database keeps no task_id of steps: redelivered tasks are called again")
                            self._asking = False
                            return set()
                        log.warning(
                            "asking again which tasks have been answered: %s", str(error.orig).partition("\n")[0]
                        )
                    await asyncio.sleep(0.25)
        except (TimeoutError, SQLAlchemyError) as error:
            log.warning(
                "%d tasks that may have been answered are called again, since the database did not say: %s",
                len(keys),
                type(error).__name__,
            )
            return set()

    def _among(self, keys: Sequence[Key]) -> set[Key]:
        with self._engine.connect() as connection:
            rows = connection.execute(
                _APPLIED,
                {"run_ids": sorted({run_id for run_id, _ in keys}), "task_ids": [task_id for _, task_id in keys]},
            )
            return {(row[0], row[1]) for row in rows} & set(keys)
