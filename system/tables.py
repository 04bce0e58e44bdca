"""The tables of the contract (section 2) and those that the reference needs beside them, declared once.

`migrations/` brings a database to this shape, and a test holds the two together. Columns that the contract does not
name have server defaults, so that whoever plays the API may insert a run with the contract's columns alone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _time(name: str, *, required: bool = False) -> Column[Any]:
    return Column(
        name, DateTime(timezone=True), nullable=not required, server_default=text("now()") if required else None
    )


workflow_definitions = Table(
    "workflow_definitions",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("workflow_data", JSONB, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    _time("created_at", required=True),
    _time("updated_at", required=True),
    Column("created_by", Text),
    Column("updated_by", Text),
    CheckConstraint("status IN ('active', 'inactive', 'deleted')", name="status"),
)
# Among active definitions a name is taken once; a deleted one gives its name free.
Index(
    "uq_workflow_definitions_active_name",
    workflow_definitions.c.name,
    unique=True,
    postgresql_where=text("status = 'active'"),
)
Index("ix_workflow_definitions_created_at_id", workflow_definitions.c.created_at, workflow_definitions.c.id)

# Every version that a definition has had, the current one among them.
workflow_definition_versions = Table(
    "workflow_definition_versions",
    metadata,
    Column("definition_id", Uuid, ForeignKey("workflow_definitions.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("workflow_data", JSONB, nullable=False),
    _time("created_at", required=True),
    Column("created_by", Text),
)

# The plans that runs were started with, each once: a run points at its own by the digest of its canonical JSON.
workflow_plans = Table(
    "workflow_plans",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("plan", JSONB, nullable=False),
    _time("created_at", required=True),
)

workflow_runs = Table(
    "workflow_runs",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("workflow_id", Text),
    Column("workflow_name", Text),
    Column("workflow_definition_id", Uuid),
    Column("status", Text, nullable=False, server_default=text("'PENDING'")),
    Column("input_data", JSONB),
    Column("error_message", Text),
    Column("triggered_by", Text),
    _time("created_at", required=True),
    _time("updated_at", required=True),
    _time("started_at"),
    _time("completed_at"),
    _time("cancelled_at"),
    Column("cancelled_by", Text),
    # Extension: what the reference keeps to go on with a run. `revision` fences: it grows with each change that the
    # executor makes, and a change made on an older revision does not take.
    # `accepted_at` is when the request or the retry was made that the run is in now.
    Column("plan_digest", Text),
    _time("accepted_at"),
    Column("revision", Integer, nullable=False, server_default=text("0")),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("resume_from_step", Text),
    # The newest entries of the outbox that tell of this run: the API's with its last request, the executor's with its
    # updates. While the latter stands, the updates may not be with Kafka yet.
    Column("outbox_id", BigInteger),
    Column("updates_outbox_id", BigInteger),
    UniqueConstraint("run_id"),
    CheckConstraint("status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')", name="status"),
    # Rows are updated a few times and then stay: room on the page keeps these updates in place.
    postgresql_with={"fillfactor": "70"},
)
Index("ix_workflow_runs_created_at_id", workflow_runs.c.created_at, workflow_runs.c.id)
Index("ix_workflow_runs_workflow_id_created_at", workflow_runs.c.workflow_id, workflow_runs.c.created_at)
Index(
    "ix_workflow_runs_definition",
    workflow_runs.c.workflow_definition_id,
    workflow_runs.c.created_at,
)
Index("ix_workflow_runs_status_created_at", workflow_runs.c.status, workflow_runs.c.created_at)

step_executions = Table(
    "step_executions",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("step_name", Text),
    Column("agent_name", Text),
    Column("status", Text, nullable=False),
    Column("input_data", JSONB),
    Column("output_data", JSONB),
    Column("error_message", Text),
    _time("started_at"),
    _time("completed_at"),
    Column("parent_step_id", Text),
    Column("branch_name", Text),
    Column("join_policy", Text),
    # Extension: `path` names the place of this execution in its run (step, iteration, branch), `generation` the
    # accepted retries before it; a row whose step runs again after a retry is superseded and stays as history.
    Column("path", Text, nullable=False),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    Column("task_id", Text),
    Column("superseded", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED')", name="status"),
    postgresql_with={"fillfactor": "80"},
)

# A path may be longer than an index holds, hence its digest.
Index(
    "uq_step_executions_place",
    step_executions.c.run_id,
    text("md5(path)"),
    step_executions.c.generation,
    unique=True,
)

# Deadlines that must outlive the process that set them; at most one of a kind for a place in a run.
timers = Table(
    "timers",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("path", Text, nullable=False),
    _time("due_at", required=True),
)
Index("uq_timers_place", timers.c.run_id, timers.c.kind, text("md5(path)"), unique=True)
Index("ix_timers_due_at", timers.c.due_at)

# Cancellations that arrived before their run.
early_cancellations = Table(
    "early_cancellations",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("cancelled_by", Text),
    Column("reason", Text),
    _time("received_at", required=True),
)

# Messages that are owed to Kafka: written with the rows that they tell of, removed once Kafka has them. `owner` is the
# advisory lock that the process that wrote them holds for as long as it lives.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("owner", BigInteger, nullable=False),
    Column("messages", Text, nullable=False),
    _time("created_at", required=True),
)

# What was executed under an Idempotency-Key.
execution_keys = Table(
    "execution_keys",
    metadata,
    Column("definition_id", Uuid, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("body_digest", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    _time("created_at", required=True),
)
# For retention, which deletes keys with their runs.
Index("ix_execution_keys_run_id", execution_keys.c.run_id)

agents = Table(
    "agents",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text),
    Column("auth_type", Text),
    Column("auth_config", JSONB),
    Column("timeout_ms", Integer, nullable=False, server_default=text("30000")),
    Column("retry_config", JSONB),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    _time("created_at", required=True),
    _time("updated_at", required=True),
    UniqueConstraint("name"),
    CheckConstraint("status IN ('active', 'inactive')", name="status"),
    CheckConstraint("timeout_ms > 0", name="timeout_ms"),
)

audit_logs = Table(
    "audit_logs",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("entity_type", Text, nullable=False),
    Column("entity_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text),
    Column("details", JSONB),
    _time("created_at", required=True),
)
Index("ix_audit_logs_entity", audit_logs.c.entity_type, audit_logs.c.entity_id, audit_logs.c.id)
