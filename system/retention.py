"""Runs that ended long ago, written to an archive if wanted and then deleted, in batches of a short transaction each.

A batch locks its runs first and leaves out those that somebody else holds. A retry of one of them that comes at the same
moment either holds the row already (the run stays) or waits for the batch and then finds no run (API: 404); a consumer that
decided on an earlier state finds its revision gone and writes nothing (fencing). What belongs to a run goes in the same
transaction, its idempotency keys among it: a key without its run could never be used again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, Engine, text

# Whoever may still owe Kafka a message of a run keeps it. `updated_at` is the moment of the end: nothing changes it later.
# The cursor walks the index (created_at, id), so that no batch passes by the rows of the batches before it.
_OF_THE_OLD = """
    FROM workflow_runs r
    WHERE r.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND r.updated_at < :ended_before
      AND r.created_at < :ended_before
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.id IN (r.outbox_id, r.updates_outbox_id))
"""
_CHOOSE_AND_LOCK = text(
    f"""
    SELECT r.run_id, r.id, r.created_at {_OF_THE_OLD}
      AND (r.created_at, r.id) > (:after_created, :after_id)
    ORDER BY r.created_at, r.id LIMIT :batch FOR UPDATE OF r SKIP LOCKED
    """
)
# jsonb, whose text has no line breaks of its own; numbers keep their digits.
_LINES = text(
    """
    SELECT jsonb_build_object(
        'run', to_jsonb(r), 'plan', (SELECT p.plan FROM workflow_plans p WHERE p.digest = r.plan_digest),
        'steps', coalesce((SELECT jsonb_agg(to_jsonb(s) ORDER BY s.id) FROM step_executions s
                           WHERE s.run_id = r.run_id), '[]'),
        'audit_logs', coalesce((SELECT jsonb_agg(to_jsonb(a) ORDER BY a.id) FROM audit_logs a
                                WHERE a.entity_type = 'run' AND a.entity_id = r.run_id), '[]'))::text
    FROM workflow_runs r WHERE r.run_id = ANY(:run_ids) ORDER BY r.created_at, r.id
    """
)
_DELETIONS = tuple(
    text(statement)
    for statement in (
        "DELETE FROM step_executions WHERE run_id = ANY(:run_ids)",
        "DELETE FROM timers WHERE run_id = ANY(:run_ids)",
        "DELETE FROM early_cancellations WHERE run_id = ANY(:run_ids)",
        "DELETE FROM execution_keys WHERE run_id = ANY(:run_ids)",
        "DELETE FROM audit_logs WHERE entity_type = 'run' AND entity_id = ANY(:run_ids)",
        "DELETE FROM workflow_runs WHERE run_id = ANY(:run_ids)",
    )
)
_COUNT = text(f"SELECT count(*) {_OF_THE_OLD}")
_EARLIEST = datetime.fromisoformat("0001-01-02T00:00:00+00:00")


class ArchiveError(Exception):
    """The archive cannot be written: which file, and why."""


class Archive:
    """A file of JSON lines, one for each run: `{run, plan, steps, audit_logs}`, each as its rows stood.

    It is appended to. A last line without its end is from a process that died while it wrote: its run was not deleted
    then, so the piece is cut off. One process writes to a file at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise ArchiveError(f"{path} cannot be opened for writing: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._cut_torn_line()
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except BlockingIOError as error:
            self._file.close()
            raise ArchiveError(
                f"{path} is being written by another process; wait for it or name another file"
            ) from error
        except OSError as error:
            self._file.close()
            raise ArchiveError(f"{path}: {error.strerror}") from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, lines: Sequence[str]) -> None:
        """Write lines; when this returns they are on the disk.

        Raises:
            ArchiveError: they may not be, or in part.
        """
        left = memoryview("".join(f"{line}\n" for line in lines).encode())
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ArchiveError(
                f"{self._path} cannot be written: {error.strerror}; nothing of this batch deleted"
            ) from error

    def _cut_torn_line(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        at = end
        while at > 0:
            start = max(0, at - 65_536)
            self._file.seek(start)
            found = self._file.read(at - start).rfind(b"\n")
            if found >= 0:
                at = start + found + 1
                break
            at = start
        if at < end:
            self._file.truncate(at)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last run that was looked at, in the order of (created_at, id)."""

    created_at: datetime = _EARLIEST
    id: int = 0


def count(engine: Engine, ended_before: datetime) -> int:
    """How many runs would be deleted."""
    with engine.connect() as connection:
        return int(connection.execute(_COUNT, {"ended_before": ended_before}).scalar_one())


def delete(engine: Engine, ended_before: datetime, batch: int, archive: Archive | None) -> Iterator[int]:
    """Delete runs that ended before a moment; yields the number in each batch once it is committed.

    With an archive, the lines of a batch are on the disk before its transaction commits. A process that dies in between
    leaves lines of runs that are still there: they are written once more the next time, and nothing is lost.

    Raises:
        ArchiveError: the batch was rolled back.
        sqlalchemy.exc.SQLAlchemyError: the database refused, or is away.
    """
    cursor: Cursor | None = Cursor()
    while cursor is not None:
        with engine.begin() as connection:
            cursor, deleted = _one_batch(connection, ended_before, batch, archive, cursor)
        if deleted:
            yield deleted


def _one_batch(
    connection: Connection, ended_before: datetime, batch: int, archive: Archive | None, cursor: Cursor
) -> tuple[Cursor | None, int]:
    bounds = {
        "ended_before": ended_before,
        "batch": batch,
        "after_created": cursor.created_at,
        "after_id": cursor.id,
    }
    rows = connection.execute(_CHOOSE_AND_LOCK, bounds).all()
    if not rows:
        return None, 0
    run_ids = [row.run_id for row in rows]
    if archive is not None:
        archive.append(list(connection.execute(_LINES, {"run_ids": run_ids}).scalars()))
    for statement in _DELETIONS:
        connection.execute(statement, {"run_ids": run_ids})
    return Cursor(rows[-1].created_at, rows[-1].id), len(rows)
