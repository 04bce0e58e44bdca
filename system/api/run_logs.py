"""The log of a run: its ordered events, told from the rows of the run, its steps and the audit log (API-25)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from system.api import store_runs
from system.tables import audit_logs, step_executions

_A = audit_logs.c
_S = step_executions.c

# Events of one instant keep the order in which they can have happened.
_RANK = {
    "run.accepted": 0,
    "run.started": 1,
    "step.started": 2,
    "step.completed": 3,
    "step.failed": 3,
    "step.cancelled": 3,
    "step.skipped": 3,
    "run.cancel_requested": 4,
    "run.completed": 5,
    "run.failed": 5,
    "run.cancelled": 5,
    "run.retry_accepted": 6,
}


def events(connection: Connection, run_id: str) -> list[dict[str, Any]] | None:
    """Events {timestamp, level, event, message, step_id, status, details} of a run; None when there is no such run."""
    run = store_runs.get(connection, run_id)
    if run is None:
        return None
    audit = connection.execute(
        select(_A.action, _A.actor, _A.details, _A.created_at)
        .where(_A.entity_type == "run", _A.entity_id == run_id)
        .order_by(_A.id)
    ).mappings()
    steps = connection.execute(
        select(
            _S.step_id,
            _S.agent_name,
            _S.status,
            _S.error_message,
            _S.started_at,
            _S.completed_at,
            _S.path,
            _S.attempt,
            _S.generation,
            _S.superseded,
        )
        .where(_S.run_id == run_id)
        .order_by(_S.id)
    ).mappings()
    found = [*_of_run(run), *_of_audit(audit.all()), *(event for row in steps for event in _of_step(row))]
    return sorted(found, key=lambda event: (event["timestamp"], _RANK[event["event"]]))


def _event(
    name: str,
    timestamp: datetime,
    message: str,
    *,
    status: str,
    step_id: str | None = None,
    level: str = "INFO",
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "timestamp": timestamp,
        "level": level,
        "event": name,
        "message": message,
        "step_id": step_id,
        "status": status,
        "details": None if details is None else dict(details),
    }


def _of_run(run: RowMapping) -> Iterator[dict[str, Any]]:
    by = f" from {run['triggered_by']}" if run["triggered_by"] else ""
    yield _event("run.accepted", run["created_at"], f"run accepted{by}", status="PENDING")
    if run["started_at"] is not None:
        yield _event("run.started", run["started_at"], "run started", status="RUNNING")
    yield from _of_end(run["status"], run)


def _of_end(status: str, end: Mapping[str, Any] | RowMapping) -> Iterator[dict[str, Any]]:
    """How a run ended; `end` has the columns that tell of it, from the row or from what a retry cleared."""
    if status == "CANCELLED" and end["cancelled_at"] is not None:
        by = f" by {end['cancelled_by']}" if end["cancelled_by"] else ""
        yield _event("run.cancelled", _time(end["cancelled_at"]), f"run cancelled{by}", status=status, level="WARNING")
    elif status == "COMPLETED" and end["completed_at"] is not None:
        yield _event("run.completed", _time(end["completed_at"]), "run completed", status=status)
    elif status == "FAILED" and end["completed_at"] is not None:
        why = f": {end['error_message']}" if end["error_message"] else ""
        yield _event("run.failed", _time(end["completed_at"]), f"run failed{why}", status=status, level="ERROR")


def _of_audit(rows: Sequence[RowMapping]) -> Iterator[dict[str, Any]]:
    for row in rows:
        details = row["details"] or {}
        by = f" by {row['actor']}" if row["actor"] else ""
        if row["action"] == "cancel":
            reason = f": {details['reason']}" if details.get("reason") else ""
            yield _event(
                "run.cancel_requested", row["created_at"], f"cancellation accepted{by}{reason}", status="CANCELLED"
            )
        elif row["action"] == "retry":
            yield from _of_end(details["from_status"], details)
            step = details.get("resume_from_step")
            told = f" from step {step}" if step else ""
            yield _event(
                "run.retry_accepted",
                row["created_at"],
                f"retry {details['generation']} accepted{by}{told}",
                status="PENDING",
                step_id=step,
            )


def _of_step(row: RowMapping) -> Iterator[dict[str, Any]]:
    details = {name: row[name] for name in ("path", "attempt", "generation", "superseded")}
    at = f" on {row['agent_name']}" if row["agent_name"] else ""
    name = row["step_id"]
    if row["started_at"] is not None:
        yield _event(
            "step.started",
            row["started_at"],
            f"step {name} started{at}",
            status="RUNNING",
            step_id=name,
            details=details,
        )
    status = row["status"]
    if row["completed_at"] is not None and status in ("COMPLETED", "FAILED", "CANCELLED", "SKIPPED"):
        why = f": {row['error_message']}" if row["error_message"] else ""
        yield _event(
            f"step.{status.lower()}",
            row["completed_at"],
            f"step {name} {status.lower()}{why}",
            status=status,
            step_id=name,
            level="ERROR" if status == "FAILED" else "INFO",
            details=details,
        )


def _time(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
