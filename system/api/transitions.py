"""Cancelling and retrying runs: conditional on the status in the row, in one transaction with audit row and outbox."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping

from system import json_values
from system.api import store_audit, store_runs, store_workflows
from system.api.database import Database
from system.api.execution import Backlog, refuse_oversize
from system.api.messages import cancellation_request, execution_request, plan_document
from system.api.problems import Problem, not_found, shown
from system.outbox import Outbox
from system.ports import Clock, Message
from system.settings import Settings

_NEXT = timedelta(microseconds=1)
# What was asked for, and its moment, once it has been written in a transaction that may have been committed.
_Begun = tuple[Message, datetime]


class Transitions:
    """Changes of a run's status that clients ask for.

    The moments of one run's changes are in the order in which they were accepted, whatever the clocks of several API
    processes say and however long a request waits for the row: by them the executor tells a cancellation that a retry
    has overtaken from one that is meant for it.
    """

    def __init__(self, settings: Settings, database: Database, outbox: Outbox, backlog: Backlog, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._outbox = outbox
        self._backlog = backlog
        self._clock = clock

    def cancel(self, run_id: str, reason: str | None, actor: str | None) -> RowMapping:
        """Cancel a run that is PENDING or RUNNING; one that is CANCELLED already stays as it is (CAN-06).

        Raises:
            Problem: 404 for an unknown run, 409 for one that has ended otherwise.
        """
        self._backlog.admit()
        begun: list[_Begun] = []
        now = self._clock.now()
        row, entry = self._database.transaction(
            lambda connection, _: self._cancel(connection, run_id, reason, actor, now, begun)
        )
        if entry is not None:
            self._backlog.send(entry, begun[0][0])
        return row

    def _cancel(
        self,
        connection: Connection,
        run_id: str,
        reason: str | None,
        actor: str | None,
        now: datetime,
        begun: list[_Begun],
    ) -> tuple[RowMapping, int | None]:
        before = store_runs.lock(connection, run_id)
        if before is not None and before["accepted_at"] is not None:
            now = max(now, before["accepted_at"] + _NEXT)
        row = store_runs.cancel(connection, run_id, actor, now)
        if row is None:
            row = self._not_cancelled(before, run_id)
            # Our own, if the transaction whose connection was lost had been committed: nobody has sent its entry yet.
            return row, row["outbox_id"] if begun and row["cancelled_at"] == begun[0][1] else None
        message = cancellation_request(self._settings.kafka_cancellation_topic, run_id, actor, reason, now)
        begun[:] = [(message, now)]
        entry = self._outbox.write(connection, [message])
        store_runs.point_at_entry(connection, run_id, entry)
        store_audit.note(connection, "run", run_id, "cancel", actor, {"reason": reason})
        return row, entry

    def _not_cancelled(self, row: RowMapping | None, run_id: str) -> RowMapping:
        if row is None:
            raise not_found("run", run_id)
        if row["status"] != "CANCELLED":
            raise Problem(
                409,
                f"the run is {row['status']}; only a run that is PENDING or RUNNING can be cancelled",
                members={"run_status": row["status"]},
            )
        return row

    def retry(self, run_id: str, resume_from_step: str | None, actor: str | None) -> RowMapping:
        """Make a FAILED or CANCELLED run go on, from its last completed step or from `resume_from_step`.

        Raises:
            Problem: 404 for an unknown run, 409 for a status or a step that it cannot go on from.
        """
        self._backlog.admit()
        begun: list[_Begun] = []
        now = self._clock.now()
        row, entry = self._database.transaction(
            lambda connection, _: self._retry(connection, run_id, resume_from_step, actor, now, begun)
        )
        if entry is not None:
            self._backlog.send(entry, begun[0][0])
        return row

    def _retry(
        self,
        connection: Connection,
        run_id: str,
        resume_from_step: str | None,
        actor: str | None,
        now: datetime,
        begun: list[_Begun],
    ) -> tuple[RowMapping, int | None]:
        before = store_runs.lock(connection, run_id)
        if before is None:
            raise not_found("run", run_id)
        if begun and before["accepted_at"] == begun[0][1]:
            # The transaction whose connection was lost had been committed: nobody has sent its entry yet.
            return before, before["outbox_id"]
        if before["status"] not in ("FAILED", "CANCELLED"):
            raise Problem(
                409,
                f"the run is {before['status']}; only a run that is FAILED or CANCELLED can be retried",
                members={"run_status": before["status"]},
            )
        if before["cancelled_at"] is not None:
            now = max(now, before["cancelled_at"])
        plan = self._plan(connection, before)
        if resume_from_step is not None:
            _check_step(connection, run_id, plan, resume_from_step)
        message = execution_request(
            self._settings.kafka_execution_topic,
            run_id,
            json_values.dumps(plan),
            (before["input_data"] or "{}").encode(),
            now,
            resume_from_step,
        )
        refuse_oversize(message, self._settings.kafka_max_message_bytes)
        begun[:] = [(message, now)]
        row = store_runs.retry(connection, run_id, resume_from_step, now)
        assert row is not None, "the row is locked, and its status was looked at"
        entry = self._outbox.write(connection, [message])
        store_runs.point_at_entry(connection, run_id, entry)
        store_audit.note(connection, "run", run_id, "retry", actor, _cleared(before, resume_from_step))
        return row, entry

    def _plan(self, connection: Connection, run: RowMapping) -> Mapping[str, Any]:
        plan = store_runs.plan_of(connection, run["plan_digest"]) if run["plan_digest"] else None
        if plan is None and run["workflow_definition_id"] is not None:
            version = str(run["workflow_id"] or "").rpartition("-")[2]
            number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else None
            data = store_workflows.version(connection, run["workflow_definition_id"], number) if number else None
            if number and data is not None:
                return plan_document(number, data)
        if plan is None:
            raise Problem(409, "the run cannot be retried: the plan that it was started with is not in the database")
        return plan


def top_level_steps(plan: Mapping[str, Any]) -> Iterator[str]:
    """The ids of the steps from start_step along next_step; each once, whatever the plan says."""
    steps, seen = plan.get("steps"), set()
    step_id = plan.get("start_step")
    while isinstance(steps, dict) and isinstance(step_id, str) and step_id in steps and step_id not in seen:
        seen.add(step_id)
        yield step_id
        step = steps[step_id]
        step_id = step.get("next_step") if isinstance(step, dict) else None


def _check_step(connection: Connection, run_id: str, plan: Mapping[str, Any], step_id: str) -> None:
    chain = list(top_level_steps(plan))
    if step_id not in chain:
        raise Problem(
            409,
            f"resume_from_step must be a top-level step of the run's plan ({shown(', '.join(chain))}); "
            f"found {shown(step_id)}",
        )
    if step_id != chain[0] and not store_runs.reached(connection, run_id, step_id):
        raise Problem(409, f"the run never reached the step {shown(step_id)}, so it cannot go on from there")


def _cleared(before: RowMapping, resume_from_step: str | None) -> dict[str, Any]:
    """What the retry takes out of the row, kept in the audit log."""
    return {
        "from_status": before["status"],
        "resume_from_step": resume_from_step,
        "error_message": before["error_message"],
        "completed_at": before["completed_at"],
        "cancelled_at": before["cancelled_at"],
        "cancelled_by": before["cancelled_by"],
        "generation": before["generation"] + 1,
    }
