"""The rows of the executor that the harness plays, in the contract's columns alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from harness.oracle.composites import Ended
from harness.runner.played_run import Step
from harness.runner.tables import ContractTables

STEPS_SQL: Final = "SELECT * FROM plumbline.step_executions"
"""Where the observer finds the steps."""

_CREATE: Final = """
CREATE SCHEMA IF NOT EXISTS plumbline;
CREATE TABLE IF NOT EXISTS plumbline.step_executions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id text NOT NULL, step_id text NOT NULL, step_name text,
    agent_name text, status text NOT NULL, input_data jsonb, output_data jsonb, error_message text, started_at timestamptz,
    completed_at timestamptz, parent_step_id text, branch_name text, join_policy text);
CREATE INDEX IF NOT EXISTS step_executions_of_run ON plumbline.step_executions (run_id)
"""
_INSERT_RUN: Final = """
INSERT INTO workflow_runs (run_id, workflow_id, workflow_name, status, input_data, created_at, updated_at)
VALUES (%(run_id)s, %(workflow_id)s, %(workflow_name)s, 'PENDING', %(input_data)s, now(), now()) ON CONFLICT DO NOTHING
"""
_TAKE_UP: Final = """
UPDATE workflow_runs SET status = 'RUNNING', updated_at = now() WHERE run_id = %(run_id)s AND status = ANY(%(from)s)
"""
_END_RUN: Final = """
UPDATE workflow_runs SET status = %(status)s, error_message = %(error)s, completed_at = now(), updated_at = now()
WHERE run_id = %(run_id)s AND status = 'RUNNING'
"""
_CANCEL_RUN: Final = """
UPDATE workflow_runs SET status = 'CANCELLED', cancelled_at = now(), cancelled_by = %(by)s, updated_at = now()
WHERE run_id = %(run_id)s AND status = ANY(%(from)s)
"""
_BEGIN_STEP: Final = """
INSERT INTO plumbline.step_executions (run_id, step_id, step_name, agent_name, status, input_data, started_at, parent_step_id)
SELECT run_id, %(step)s, %(name)s, %(agent)s, 'RUNNING', %(input)s::jsonb, now(), %(parent)s
FROM workflow_runs WHERE run_id = %(run_id)s AND status = 'RUNNING' FOR UPDATE RETURNING id
"""
_END_STEP: Final = """
UPDATE plumbline.step_executions
SET status = %(status)s, output_data = %(output)s::jsonb, error_message = %(error)s, completed_at = now()
WHERE id = %(id)s
"""


class PlayedRows:
    """Used from several threads: every change is a transaction on a connection of its own.

    Runs are the subject's rows. Steps go into a table of the harness's own, in a schema of its own: the subject's may have
    columns that only its executor can fill.
    """

    def __init__(self, tables: ContractTables) -> None:
        self._tables = tables
        self._ids: dict[str, Any] = {}

    def create(self) -> None:
        """Make the table of steps. Raises :class:`SetUpBroke`."""
        with self._tables.writing() as cursor:
            cursor.execute(_CREATE)

    def take_up(self, request: Mapping[str, Any], *, again: bool = False) -> bool:
        """RUNNING, if the run is PENDING or has no row yet; whether it was so. `again`: or was made RUNNING by a call
        whose answer was lost."""
        plan = request.get("workflow_plan")
        plan = plan if isinstance(plan, Mapping) else {}
        values = {
            "run_id": request["run_id"],
            "workflow_id": plan.get("workflow_id"),
            "workflow_name": plan.get("name"),
            "input_data": json.dumps(request["input_data"]),
        }
        with self._tables.writing() as cursor:
            cursor.execute(_INSERT_RUN, values)
            from_statuses = ["PENDING", "RUNNING"] if again else ["PENDING"]
            cursor.execute(_TAKE_UP, {"run_id": request["run_id"], "from": from_statuses})
            return bool(cursor.rowcount)

    def end_run(self, run_id: str, error: str | None) -> None:
        """COMPLETED, or FAILED with an error, if the run is RUNNING."""
        with self._tables.writing() as cursor:
            status = "COMPLETED" if error is None else "FAILED"
            cursor.execute(_END_RUN, {"run_id": run_id, "status": status, "error": error})

    def cancel(self, run_id: str, by: str | None, from_statuses: list[str]) -> bool:
        """CANCELLED, if the run is in one of these statuses; whether the run is known."""
        with self._tables.writing() as cursor:
            cursor.execute(_CANCEL_RUN, {"run_id": run_id, "by": by, "from": from_statuses})
            cursor.execute("SELECT 1 FROM workflow_runs WHERE run_id = %s", (run_id,))
            return cursor.fetchone() is not None

    def begin_step(self, run_id: str, step: Step) -> bool:
        """A RUNNING row, once for a task, if the run is RUNNING; whether it was so."""
        values = {
            "run_id": run_id,
            "step": step.id,
            "name": step.name,
            "agent": step.agent,
            "input": json.dumps(step.input),
            "parent": next((part for part in reversed(step.path[:-1]) if isinstance(part, str)), None),
        }
        with self._tables.writing() as cursor:
            if step.task_id in self._ids:
                cursor.execute("SELECT 1 FROM workflow_runs WHERE run_id = %s AND status = 'RUNNING'", (run_id,))
                return cursor.fetchone() is not None
            cursor.execute(_BEGIN_STEP, values)
            row = cursor.fetchone()
            if row is None:
                return False
            self._ids[step.task_id] = row[0]
            return True

    def end_step(self, step: Step, end: Ended) -> None:
        """The step's end in its row."""
        is_done = end.status == "COMPLETED"
        values = {
            "id": self._ids[step.task_id],
            "status": end.status,
            "output": json.dumps(end.output) if is_done and end.output is not None else None,
            "error": None if is_done else end.output,
        }
        with self._tables.writing() as cursor:
            cursor.execute(_END_STEP, values)
