"""What the consumer asks of PostgreSQL: the runs of a batch, and one transaction for all that the batch changed.

Nothing is locked between reading and writing. Each change names the revision and status that it was decided on, and the
transaction is given up when one of them is not the row's any more: a consumer that was paused, expelled or simply
slower than another can never write over what came after (fencing).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, text

from system import json_values
from system.adapters.prepared import prepared
from system.consumer.messages import CancellationRequest
from system.consumer.rows import RunChange, row_of
from system.outbox import Outbox, encode
from system.ports import Message

_LOAD_RUNS = prepared(
    """
    SELECT r.run_id, r.workflow_name, r.status, r.revision, r.generation, r.input_data, r.error_message,
           r.created_at, r.updated_at,
           r.started_at, r.accepted_at, r.plan_digest, r.resume_from_step, o.id AS awaits_outbox,
           c.run_id IS NOT NULL AS early_cancellation, c.cancelled_by AS early_cancelled_by
    FROM workflow_runs r
    LEFT JOIN outbox o ON o.id = r.updates_outbox_id AND o.owner <> :owner
    LEFT JOIN early_cancellations c ON c.run_id = r.run_id
    WHERE r.run_id = ANY(:run_ids)
    """
)
_LOAD_STEPS = prepared(
    """
    SELECT run_id, path, step_id, status, input_data, started_at, branch_name, output_data, error_message, completed_at,
           attempt, generation, task_id
    FROM step_executions WHERE run_id = ANY(:run_ids) AND NOT superseded ORDER BY id
    """
)
_LOAD_PLANS = text("SELECT digest, plan FROM workflow_plans WHERE digest = ANY(:digests)")
_SAVE_PLANS = text(
    """
    INSERT INTO workflow_plans (digest, plan)
    SELECT x.digest, x.plan FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS x(digest text, plan jsonb)
    ORDER BY x.digest ON CONFLICT DO NOTHING
    """
)
# Two that meet a run without a row, one with its request and one with its cancellation, take turns here.
_TAKE_TURNS = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(id, 0)) FROM unnest(cast(:run_ids AS text[])) AS id ORDER BY id"
)
_EARLY_CANCELLATIONS = text("SELECT run_id, cancelled_by, reason FROM early_cancellations WHERE run_id = ANY(:run_ids)")
_FORGET_EARLY_CANCELLATIONS = text("DELETE FROM early_cancellations WHERE run_id = ANY(:run_ids)")
_SAVE_EARLY_CANCELLATION = text(
    """
    INSERT INTO early_cancellations (run_id, cancelled_by, reason, received_at)
    VALUES (:run_id, :cancelled_by, :reason, :received_at) ON CONFLICT DO NOTHING
    """
)
_INSERT_RUNS = text(
    """
    INSERT INTO workflow_runs (run_id, workflow_id, workflow_name, status, input_data, created_at, updated_at)
    SELECT x.run_id, x.workflow_id, x.workflow_name, 'PENDING', x.input_data, x.created_at, x.created_at
    FROM jsonb_to_recordset(cast(:rows AS jsonb))
        AS x(run_id text, workflow_id text, workflow_name text, input_data jsonb, created_at timestamptz)
    ORDER BY x.run_id ON CONFLICT (run_id) DO NOTHING
    """
)
# All of a batch in one statement, so that it costs one round trip however many runs it touches. The status is compared by
# what no index can be searched for: before PostgreSQL has looked at the table, it takes one that thousands of rows are equal
# in for as good as that of run_id.
_WRITE = prepared(
    """
    WITH delivered AS (
        DELETE FROM outbox WHERE id = ANY(cast(:delivered AS bigint[]))
    ), entry AS (
        INSERT INTO outbox (owner, messages) SELECT :owner, :messages WHERE cast(:messages AS text) IS NOT NULL RETURNING id
    ), changed AS (
        UPDATE workflow_runs r SET
            status = x.status, error_message = x.error_message, updated_at = x.updated_at,
            revision = r.revision + 1,
            generation = x.generation, input_data = coalesce(r.input_data, x.input_data),
            started_at = coalesce(r.started_at, x.started_at),
            completed_at = CASE WHEN x.status = 'RUNNING' THEN NULL ELSE coalesce(x.completed_at, r.completed_at) END,
            cancelled_at = CASE WHEN x.status = 'RUNNING' THEN NULL ELSE coalesce(r.cancelled_at, x.cancelled_at) END,
            cancelled_by = CASE WHEN x.status = 'RUNNING' THEN NULL ELSE coalesce(r.cancelled_by, x.cancelled_by) END,
            accepted_at = coalesce(x.accepted_at, r.accepted_at), plan_digest = coalesce(x.plan_digest, r.plan_digest),
            resume_from_step = CASE WHEN x.status = 'PENDING' THEN r.resume_from_step END,
            updates_outbox_id = coalesce((SELECT id FROM entry), r.updates_outbox_id)
        FROM jsonb_to_recordset(cast(:runs AS jsonb)) AS x(
            run_id text, seen_revision int, seen_status text, status text, error_message text, updated_at timestamptz,
            generation int, started_at timestamptz, completed_at timestamptz, cancelled_at timestamptz,
            cancelled_by text, accepted_at timestamptz, plan_digest text, input_data jsonb)
        WHERE r.run_id = x.run_id AND r.revision = x.seen_revision AND r.status IS NOT DISTINCT FROM x.seen_status
        RETURNING r.run_id
    ), written AS (
        INSERT INTO step_executions (
            run_id, step_id, step_name, agent_name, status, input_data, output_data, error_message, started_at,
            completed_at, parent_step_id, branch_name, join_policy, path, generation, attempt, task_id)
        SELECT x.run_id, x.step_id, x.step_name, x.agent_name, x.status, x.input_data, x.output_data, x.error_message,
            x.started_at, x.completed_at, x.parent_step_id, x.branch_name, x.join_policy, x.path, x.generation,
            x.attempt, x.task_id
        FROM jsonb_to_recordset(cast(:steps AS jsonb)) AS x(
            run_id text, step_id text, step_name text, agent_name text, status text, input_data jsonb,
            output_data jsonb, error_message text, started_at timestamptz, completed_at timestamptz,
            parent_step_id text, branch_name text, join_policy text, path text, generation int, attempt int,
            task_id text)
        ON CONFLICT (run_id, md5(path), generation) DO UPDATE SET
            status = excluded.status, output_data = excluded.output_data, error_message = excluded.error_message,
            completed_at = excluded.completed_at
    )
    SELECT (SELECT id FROM entry), (SELECT array_agg(run_id) FROM changed)
    """
)
_SUPERSEDE = text(
    """
    UPDATE step_executions s SET superseded = true
    FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS x(run_id text, path text, generation int)
    WHERE s.run_id = x.run_id AND md5(s.path) = md5(x.path) AND s.generation = x.generation
    """
)
_SET_TIMERS = text(
    """
    INSERT INTO timers (run_id, kind, path, due_at)
    SELECT x.run_id, x.kind, x.path, x.due_at
    FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS x(run_id text, kind text, path text, due_at timestamptz)
    ON CONFLICT (run_id, kind, md5(path)) DO UPDATE SET due_at = excluded.due_at
    """
)
_CLEAR_TIMERS = text(
    """
    DELETE FROM timers t USING jsonb_to_recordset(cast(:rows AS jsonb)) AS x(run_id text, kind text, path text)
    WHERE t.run_id = x.run_id AND t.kind = x.kind AND md5(t.path) = md5(x.path)
    """
)
_CLEAR_RUN_TIMERS = text("DELETE FROM timers WHERE run_id = ANY(:run_ids)")
_DUE_TIMERS = text("SELECT run_id, kind, path FROM timers WHERE due_at <= :now ORDER BY due_at LIMIT :limit")
_UNANSWERED = text(
    """
    SELECT run_id FROM workflow_runs
    WHERE status = 'RUNNING' AND plan_digest IS NOT NULL AND created_at < :before AND updated_at < :before
    ORDER BY created_at LIMIT :limit
    """
)


class Conflict(Exception):
    """Rows changed since they were read: `run_ids` must be loaded and decided anew. Nothing was written."""

    def __init__(self, run_ids: Collection[str]) -> None:
        self.run_ids = frozenset(run_ids)
        super().__init__(f"{len(self.run_ids)} runs were changed by somebody else meanwhile")


class ConsumerStore:
    """The consumer's side of the database."""

    def __init__(self, engine: Engine, outbox: Outbox, *, runs_have_deadlines: bool) -> None:
        self._engine = engine
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._runs_have_deadlines = runs_have_deadlines
        self._outbox = outbox

    def load_runs(self, run_ids: Collection[str]) -> list[RowMapping]:
        """The rows of these runs; of those that do not exist, nothing. `awaits_outbox` is the id of an entry of another
        process that tells of the run and may not have reached Kafka."""
        with self._reading.connect() as connection:
            rows = connection.execute(_LOAD_RUNS, {"run_ids": list(run_ids), "owner": self._outbox.owner})
            return list(rows.mappings())

    def load_steps(self, run_ids: Collection[str]) -> dict[str, list[RowMapping]]:
        """Rows of step_executions that count (not superseded), by run, in the order in which they were begun."""
        found: dict[str, list[RowMapping]] = {run_id: [] for run_id in run_ids}
        if found:
            with self._reading.connect() as connection:
                for row in connection.execute(_LOAD_STEPS, {"run_ids": list(run_ids)}).mappings():
                    found[row["run_id"]].append(row)
        return found

    def load_plans(self, digests: Collection[str]) -> dict[str, Any]:
        """Plans by digest."""
        if not digests:
            return {}
        with self._reading.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(_LOAD_PLANS, {"digests": list(digests)})}

    def keep_early_cancellation(self, request: CancellationRequest, received_at: datetime) -> bool:
        """Keep a cancellation whose run is not known yet; False when the run is known by now."""
        with self._engine.begin() as connection:
            connection.execute(_TAKE_TURNS, {"run_ids": [request.run_id]})
            connection.execute(
                _SAVE_EARLY_CANCELLATION,
                {
                    "run_id": request.run_id,
                    "cancelled_by": request.cancelled_by,
                    "reason": request.reason,
                    "received_at": received_at,
                },
            )
        # Looked for only after the commit: a run that was begun meanwhile without knowing of this is found here.
        with self._reading.connect() as connection:
            known = connection.execute(text("SELECT 1 FROM workflow_runs WHERE run_id = :id"), {"id": request.run_id})
            return known.first() is None

    def early_cancellations(self, run_ids: Collection[str]) -> dict[str, str | None]:
        """Runs among these for which a cancellation was kept → who cancelled."""
        with self._reading.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(_EARLY_CANCELLATIONS, {"run_ids": list(run_ids)})}

    def due_timers(self, now: datetime, limit: int) -> list[tuple[str, str, str]]:
        """(run_id, kind, path) of timers that are due, oldest first. They stay until a change clears them."""
        with self._reading.connect() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(_DUE_TIMERS, {"now": now, "limit": limit})]

    def unanswered_runs(self, before: datetime, limit: int) -> list[str]:
        """Runs that are RUNNING and have not moved since `before`."""
        with self._reading.connect() as connection:
            return list(connection.execute(_UNANSWERED, {"before": before, "limit": limit}).scalars())

    def write(
        self, changes: Sequence[RunChange], messages: Sequence[Message], cleared_timers: Sequence[tuple[str, str, str]]
    ) -> int | None:
        """Write all that a batch changed and owes, in one transaction.

        Returns:
            the id of the outbox's entry, None when there was nothing to send.

        Raises:
            Conflict: some rows are not what the changes were decided on.
            sqlalchemy.exc.DBAPIError: the database refused, or is away; whether a lost commit took effect is unknown.
        """
        delivered = self._outbox.take_delivered()
        try:
            with self._engine.begin() as connection:
                self._write_new_runs(connection, changes)
                entry = self._write_changes(connection, changes, messages, delivered)
                self._write_rare(connection, changes, cleared_timers)
        except BaseException:
            self._outbox.give_back(delivered)
            raise
        return entry

    def _write_new_runs(self, connection: Connection, changes: Sequence[RunChange]) -> None:
        plans = {change.plan_digest: change.plan for change in changes if change.plan is not None}
        if plans:
            rows = [{"digest": digest, "plan": plan} for digest, plan in plans.items()]
            connection.execute(_SAVE_PLANS, {"rows": _json(rows)})
        new = [change for change in changes if change.held.is_new]
        if not new:
            return
        run_ids = [change.state.run_id for change in new]
        connection.execute(_TAKE_TURNS, {"run_ids": run_ids})
        # What was kept since the runs were looked up is seen now: whoever keeps a cancellation holds the same locks.
        early = set(connection.execute(_EARLY_CANCELLATIONS, {"run_ids": run_ids}).scalars())
        rows = [_new_row(change) for change in new]
        inserted = connection.execute(_INSERT_RUNS, {"rows": _json(rows)}).rowcount
        missed = early.difference(change.state.run_id for change in new if change.was_cancelled_early)
        if missed or inserted < len(new):
            raise Conflict(missed or run_ids)

    def _write_changes(
        self, connection: Connection, changes: Sequence[RunChange], messages: Sequence[Message], delivered: list[int]
    ) -> int | None:
        steps = [
            row_of(change.state.run_id, change.state.definition, record)
            for change in changes
            if change.state.definition is not None
            for record in change.steps.values()
        ]
        entry, changed = connection.execute(
            _WRITE,
            {
                "delivered": delivered,
                "owner": self._outbox.owner,
                "messages": encode(messages) if messages else None,
                "runs": _json([_run_row(change) for change in changes]),
                "steps": _json(steps),
            },
        ).one()
        missed = {change.state.run_id for change in changes}.difference(changed or ())
        if missed:
            raise Conflict(missed)
        return None if entry is None else int(entry)

    def _write_rare(
        self, connection: Connection, changes: Sequence[RunChange], cleared: Sequence[tuple[str, str, str]]
    ) -> None:
        superseded = [
            {"run_id": change.state.run_id, "path": path, "generation": generation}
            for change in changes
            for path, generation in change.superseded
        ]
        if superseded:
            connection.execute(_SUPERSEDE, {"rows": _json(superseded)})
        gone = [{"run_id": run_id, "kind": kind, "path": path} for run_id, kind, path in cleared] + [
            {"run_id": change.state.run_id, "kind": kind, "path": path}
            for change in changes
            for kind, path in change.timers_cleared
        ]
        if gone:
            connection.execute(_CLEAR_TIMERS, {"rows": _json(gone)})
        timers = [
            {"run_id": change.state.run_id, "kind": kind, "path": path, "due_at": due_at}
            for change in changes
            for (kind, path), due_at in change.timers_set.items()
        ]
        if timers:
            connection.execute(_SET_TIMERS, {"rows": _json(timers)})
        ended = [change.state.run_id for change in changes if change.ended_at is not None]
        if ended and self._may_have_timers(changes):
            connection.execute(_CLEAR_RUN_TIMERS, {"run_ids": ended})
        early = [change.state.run_id for change in changes if change.was_cancelled_early]
        if early:
            connection.execute(_FORGET_EARLY_CANCELLATIONS, {"run_ids": early})

    def _may_have_timers(self, changes: Sequence[RunChange]) -> bool:
        definitions = [change.state.definition for change in changes if change.ended_at is not None]
        return self._runs_have_deadlines or any(d is not None and d.has_timeouts for d in definitions)


def _new_row(change: RunChange) -> dict[str, Any]:
    assert change.new_row is not None
    return {
        "run_id": change.state.run_id,
        "workflow_id": change.new_row.workflow_id,
        "workflow_name": change.new_row.workflow_name,
        "input_data": change.new_row.input_data,
        "created_at": change.state.created_at,
    }


def _run_row(change: RunChange) -> dict[str, Any]:
    state, held = change.state, change.held
    return {
        "run_id": state.run_id,
        "seen_revision": held.revision,
        "seen_status": held.row_status,
        "status": state.status,
        "error_message": state.error_message,
        "updated_at": state.clock,
        "generation": state.generation,
        "started_at": change.started_at,
        "completed_at": change.ended_at if state.status in ("COMPLETED", "FAILED") else None,
        "cancelled_at": change.ended_at if state.status == "CANCELLED" else None,
        "cancelled_by": change.cancelled_by,
        "accepted_at": state.accepted_at,
        "plan_digest": change.plan_digest,
        "input_data": change.input_data,
    }


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return json_values.dumps(rows).decode()
