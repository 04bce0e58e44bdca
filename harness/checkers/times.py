"""Times in rows: in order, and one for each end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.view import views
from harness.history import History
from harness.verdict import Finding


def _in_order(history: History) -> list[Finding]:
    """completed_at before started_at or created_at in one row (CMP-10).

    Sound because only times of one row are compared, as the subject wrote them; a time that is absent or not readable is
    left out. A run's created_at may be another process's: it is compared with completed_at of the same row only.
    """
    found = []
    seen = views(history)
    if not seen.plays("consumer"):
        return []
    for run in seen.runs.values():
        for read in run.reads:
            ended = moment(read.row.get("completed_at")) or moment(read.row.get("cancelled_at"))
            created = moment(read.row.get("created_at"))
            if ended is not None and created is not None and ended < created:
                explanation = (
                    f"run {run.id} ended at {ended.isoformat()}, before it was created at {created.isoformat()}"
                )
                found.append(
                    Finding("times_in_order", "CMP-10", "times out of order", explanation, (read.seq,), run.id)
                )
                break
        for row in run.rows:
            begun, ended = moment(row.latest.get("started_at")), moment(row.latest.get("completed_at"))
            if begun is not None and ended is not None and ended < begun:
                explanation = f"step {row.step} ended at {ended.isoformat()}, before it started at {begun.isoformat()}"
                found.append(
                    Finding("times_in_order", "CMP-10", "times out of order", explanation, (row.last_seq,), run.id)
                )
    return found


def _of_end(history: History) -> list[Finding]:
    """A run that has ended without the time of its end, or with the other one (CMP-11).

    Sound because it looks at one row as it was read, with a terminal status in it; a row without the column is not judged.
    A run that the harness cancelled or retried in the API's place has times that the harness wrote: left out.
    """
    found = []
    seen = views(history)
    if not seen.plays("consumer"):
        return []
    for run in seen.runs.values():
        if not seen.plays("api") and (run.cancel_asks or run.retry_asks):
            continue
        for read in run.reads:
            wrong = _wrong_end(read.row) if read.reader != "rest" else None
            if wrong is not None:
                explanation = f"run {run.id} is {read.status} and {wrong}"
                found.append(
                    Finding("times_of_end", "CMP-11", "wrong time of the end", explanation, (read.seq,), run.id)
                )
                break
    return found


def _wrong_end(row: Mapping[str, Any]) -> str | None:
    status = row.get("status")
    own, other = ("cancelled_at", "completed_at") if status == "CANCELLED" else ("completed_at", "cancelled_at")
    if status not in ("COMPLETED", "FAILED", "CANCELLED") or own not in row or other not in row:
        return None
    if row[own] is None:
        return f"has no {own}"
    return f"has {other} set" if row[other] is not None else None


def moment(value: Any) -> datetime | None:
    """An ISO 8601 time; one without an offset is UTC (MSG-08). None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


CHECKERS = (
    Checker(
        "times_in_order",
        "completed_at >= started_at >= created_at, in each row.",
        ("CMP-10",),
        _in_order,
        ("database",),
    ),
    Checker("times_of_end", "Each end has its own time and not the other's.", ("CMP-11",), _of_end, ("database",)),
)
