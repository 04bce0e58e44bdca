"""Changes to workflow_runs that the API makes. Each is one statement or one transaction, conditional on the status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, Text, cast, exists, select, text, update

from system.adapters.prepared import prepared
from system.tables import execution_keys, step_executions, workflow_plans, workflow_runs

_R = workflow_runs.c
_S = step_executions.c

_NAMES = (
    "run_id",
    "workflow_id",
    "workflow_name",
    "workflow_definition_id",
    "status",
    "input_data",
    "error_message",
    "triggered_by",
    "created_at",
    "updated_at",
    "started_at",
    "completed_at",
    "cancelled_at",
    "cancelled_by",
    "accepted_at",
    "generation",
    "plan_digest",
    "outbox_id",
)
# `input_data` is handed on as the text that the database holds: nothing is parsed, and no number loses a digit.
COLUMNS = tuple(cast(_R[name], Text).label(name) if name == "input_data" else _R[name] for name in _NAMES)

RUN_ID = "uq_workflow_runs_run_id"
IDEMPOTENCY_KEY = "pk_execution_keys"

# One statement, so that accepting a run costs one round trip and one commit. The definition is looked at in the same
# snapshot: a plan from memory is used only while it is the current version of an active definition.
_START = """
    WITH definition AS (
        SELECT FROM workflow_definitions WHERE id = :definition_id AND version = :version AND status = 'active'
    ), entry AS (
        INSERT INTO outbox (owner, messages) SELECT :owner, :messages FROM definition RETURNING id
    ){keep_plan}
    INSERT INTO workflow_runs (run_id, workflow_id, workflow_name, workflow_definition_id, status, input_data,
                               triggered_by, created_at, updated_at, accepted_at, plan_digest,
                               outbox_id)
    SELECT :run_id, :workflow_id, :workflow_name, :definition_id, 'PENDING', cast(:input_data AS jsonb),
           :triggered_by, :created_at, :created_at, :created_at, :plan_digest, entry.id
    FROM entry
    RETURNING outbox_id
"""
_KEEP_PLAN = """, plan AS (
        INSERT INTO workflow_plans (digest, plan) SELECT :plan_digest, cast(:plan AS jsonb) FROM definition
        ON CONFLICT DO NOTHING
    )"""
_START_KNOWN_PLAN = prepared(_START.format(keep_plan=""))
_START_NEW_PLAN = text(_START.format(keep_plan=_KEEP_PLAN))


def start(connection: Connection, values: Mapping[str, Any], *, keep_plan: bool) -> int | None:
    """Insert a PENDING run and the outbox entry of its request; returns the entry's id.

    None when the definition is not active, or not at that version any more: nothing was written then.

    Raises:
        IntegrityError: on `RUN_ID` when the run is there already.
    """
    statement = _START_NEW_PLAN if keep_plan else _START_KNOWN_PLAN
    outbox_id: int | None = connection.execute(statement, values).scalar_one_or_none()
    return outbox_id


def outbox_entry_of(connection: Connection, run_id: str) -> int | None:
    """The newest entry of the outbox that tells of a run; None when there is no such run."""
    entry: int | None = connection.execute(select(_R.outbox_id).where(_R.run_id == run_id)).scalar_one_or_none()
    return entry


def keyed_run(connection: Connection, definition_id: UUID, key: str) -> RowMapping | None:
    """run_id, body_digest and the run's row fields of what was executed under an Idempotency-Key."""
    keys = execution_keys.c
    query = (
        select(keys.body_digest, *COLUMNS)
        .join_from(execution_keys, workflow_runs, keys.run_id == _R.run_id)
        .where(keys.definition_id == definition_id, keys.idempotency_key == key)
    )
    return connection.execute(query).mappings().one_or_none()


def keep_key(connection: Connection, definition_id: UUID, key: str, body_digest: str, run_id: str) -> None:
    """Note that a run was executed under a key.

    Raises:
        IntegrityError: on `IDEMPOTENCY_KEY` when the key is taken; waits for whoever is taking it.
    """
    connection.execute(
        execution_keys.insert(),
        {"definition_id": definition_id, "idempotency_key": key, "body_digest": body_digest, "run_id": run_id},
    )


def get(connection: Connection, run_id: str) -> RowMapping | None:
    """The run's row."""
    return connection.execute(select(*COLUMNS).where(_R.run_id == run_id)).mappings().one_or_none()


def lock(connection: Connection, run_id: str) -> RowMapping | None:
    """The run's row, which nobody changes before the transaction ends."""
    query = select(*COLUMNS).where(_R.run_id == run_id).with_for_update()
    return connection.execute(query).mappings().one_or_none()


def cancel(connection: Connection, run_id: str, cancelled_by: str | None, now: datetime) -> RowMapping | None:
    """Set CANCELLED if the run is PENDING or RUNNING; returns the row as changed."""
    return _change(
        connection,
        run_id,
        ("PENDING", "RUNNING"),
        {
            "status": "CANCELLED",
            "cancelled_at": now,
            "cancelled_by": cancelled_by,
            "updated_at": now,
            "revision": _R.revision + 1,
        },
    )


def retry(connection: Connection, run_id: str, resume_from_step: str | None, now: datetime) -> RowMapping | None:
    """Set PENDING again if the run is FAILED or CANCELLED, with what told of its end cleared (RES-13)."""
    return _change(
        connection,
        run_id,
        ("FAILED", "CANCELLED"),
        {
            "status": "PENDING",
            "generation": _R.generation + 1,
            "revision": _R.revision + 1,
            "resume_from_step": resume_from_step,
            "completed_at": None,
            "cancelled_at": None,
            "cancelled_by": None,
            "error_message": None,
            "updated_at": now,
            "accepted_at": now,
        },
    )


def point_at_entry(connection: Connection, run_id: str, outbox_id: int) -> None:
    """Say which entry of the outbox tells of the run."""
    connection.execute(update(workflow_runs).where(_R.run_id == run_id).values(outbox_id=outbox_id))


def plan_of(connection: Connection, digest: str) -> Mapping[str, Any] | None:
    """The plan that a run was started with."""
    query = select(workflow_plans.c.plan).where(workflow_plans.c.digest == digest)
    plan: Mapping[str, Any] | None = connection.execute(query).scalar_one_or_none()
    return plan


def reached(connection: Connection, run_id: str, step_id: str) -> bool:
    """Whether the run has begun a step."""
    query = select(exists().where(_S.run_id == run_id, _S.step_id == step_id))
    return bool(connection.execute(query).scalar_one())


def _change(
    connection: Connection, run_id: str, allowed: tuple[str, ...], values: Mapping[str, Any]
) -> RowMapping | None:
    statement = (
        update(workflow_runs).where(_R.run_id == run_id, _R.status.in_(allowed)).values(**values).returning(*COLUMNS)
    )
    return connection.execute(statement).mappings().one_or_none()
