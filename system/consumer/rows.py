"""Between the engine's values and rows: plain functions, no database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from system.engine.definition import AgentStep, Definition, ForkJoinStep
from system.engine.state import RunState, StepRecord


@dataclass(slots=True)
class HeldRun:
    """A run as the consumer holds it: its state, and what its row said when that state was read or written.

    `is_new` when it has no row yet. A change takes only if the row still says the same (fencing).
    """

    state: RunState
    revision: int
    row_status: str
    plan_digest: str | None
    is_new: bool = False
    resume_from_step: str | None = None
    awaits_outbox: int | None = None
    early_cancellation: bool = False
    early_cancelled_by: str | None = None
    workflow_name: str | None = None


def record_of(row: RowMapping) -> StepRecord:
    """The engine's record of a row of step_executions."""
    parent, iteration, branch = place_of(row["path"])
    return StepRecord(
        path=row["path"],
        step_id=row["step_id"],
        status=row["status"],
        input_data=row["input_data"],
        started_at=row["started_at"],
        parent=parent,
        iteration=iteration,
        branch=row["branch_name"] if branch else None,
        output_data=row["output_data"],
        error_message=row["error_message"],
        completed_at=row["completed_at"],
        attempt=row["attempt"],
        generation=row["generation"],
        task_id=row["task_id"],
    )


def place_of(path: str) -> tuple[str | None, int | None, bool]:
    """(path of the execution around it, iteration there, whether it stands in a branch) of a path.

    Names in a path are escaped, so that its signs can be told from its names.
    """
    around, _, _ = path.rpartition("/")
    if not around:
        return None, None, False
    if around.endswith("]"):
        opening = around.rindex("[")
        return around[:opening], int(around[opening + 1 : -1]), False
    colon = around.rfind(":")
    if colon > around.rfind("/"):
        return around[:colon], None, True
    return around, None, False


def row_of(run_id: str, definition: Definition, record: StepRecord) -> dict[str, Any]:
    """The row of step_executions for a record, its JSON columns as values."""
    step = definition.steps[record.step_id]
    kind = step.kind
    parent = None if step.slot is None else definition.steps[step.slot.parent]
    return {
        "run_id": run_id,
        "step_id": record.step_id,
        "step_name": step.name,
        "agent_name": kind.agent_name if isinstance(kind, AgentStep) else None,
        "status": record.status,
        "input_data": record.input_data,
        "output_data": record.output_data,
        "error_message": record.error_message,
        "started_at": record.started_at,
        "completed_at": record.completed_at,
        "parent_step_id": None if parent is None else parent.id,
        "branch_name": _nearest_branch(definition, record.step_id),
        "join_policy": kind.join_policy if isinstance(kind, ForkJoinStep) else None,
        "path": record.path,
        "generation": record.generation,
        "attempt": record.attempt,
        "task_id": record.task_id,
    }


def _nearest_branch(definition: Definition, step_id: str) -> str | None:
    """The branch of the nearest fork_join around a step, however deep it runs in it (TBL-06)."""
    slot = definition.steps[step_id].slot
    while slot is not None and slot.branch is None:
        slot = definition.steps[slot.parent].slot
    return None if slot is None else slot.branch


@dataclass(frozen=True, slots=True)
class NewRow:
    """What a run that has no row yet gets from its execution request."""

    workflow_id: str | None
    workflow_name: str | None
    input_data: Any


@dataclass(slots=True)
class RunChange:
    """What one batch changes of one run: from what was `held` to `state`, with the rows that go with it.

    `input_data` is given when the row has none. `steps` holds the last record per (path, generation); timers are
    (kind, path). `plan` is given when it may not be stored yet, `new_row` when the run has no row.
    """

    held: HeldRun
    state: RunState
    steps: dict[tuple[str, int], StepRecord] = field(default_factory=dict)
    superseded: list[tuple[str, int]] = field(default_factory=list)
    timers_set: dict[tuple[str, str], datetime] = field(default_factory=dict)
    timers_cleared: list[tuple[str, str]] = field(default_factory=list)
    plan_digest: str | None = None
    plan: Any = None
    new_row: NewRow | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancelled_by: str | None = None
    was_cancelled_early: bool = False
    input_data: Any = None
