"""What happened to a run. Each event may arrive twice, late, or for a run that has moved on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ExecutionRequested:
    """The run shall start, or go on after an accepted retry. The state holds its definition and input.

    `requested_at` is the request's own timestamp.
    """

    requested_at: datetime
    resume_from_step: str | None = None


@dataclass(frozen=True, slots=True)
class PlanRejected:
    """The run's plan or input cannot be executed."""

    reason: str


@dataclass(frozen=True, slots=True)
class CancellationRequested:
    """Somebody wants the run to end. `requested_at` is the request's own timestamp."""

    requested_at: datetime


@dataclass(frozen=True, slots=True)
class ResultReceived:
    """The outcome of a task: `output` counts when it succeeded, `error_message` when not."""

    task_id: str
    succeeded: bool
    output: Any = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class BranchTimedOut:
    """The time of one branch of a fork_join is over. `path` is the timer's, as `SetTimer` gave it."""

    path: str


@dataclass(frozen=True, slots=True)
class RunTimedOut:
    """The run's own deadline has passed."""

    limit_seconds: int


Event = ExecutionRequested | PlanRejected | CancellationRequested | ResultReceived | BranchTimedOut | RunTimedOut
