"""What must be done because of an event; carried out by the consumer, in the order given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from system.engine.state import StepRecord
from system.engine.transitions import RunStatus


@dataclass(frozen=True, slots=True)
class RunChanged:
    """The run has a new status."""

    status: RunStatus
    error_message: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class StepChanged:
    """An execution of a step began or ended; the record is its row."""

    record: StepRecord


@dataclass(frozen=True, slots=True)
class StepSuperseded:
    """The row of this path and generation stays as history; the step runs again."""

    path: str
    generation: int


@dataclass(frozen=True, slots=True)
class PublishTask:
    """An agent is to be asked for an attempt, once the record's row is durable."""

    task_id: str
    step_id: str
    path: str
    agent_name: str
    input_data: Any


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Feed `BranchTimedOut(path)` back at `due_at`."""

    path: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class ClearTimer:
    """The timer of that path is not needed any more."""

    path: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event changes nothing, and why."""

    reason: str


Decision = RunChanged | StepChanged | StepSuperseded | PublishTask | SetTimer | ClearTimer | Ignored
