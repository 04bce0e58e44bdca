"""The state of one run: a value, replaced and never changed in place.

A step's execution has a path that names its place in the run: `a`, `p/x` (child x of p), `l[3]/x` (iteration 3 of
loop l), `f:left/x` (branch left of fork_join f), nested at will. Ids are escaped, so that no two places share a path.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from system.engine.definition import Definition
from system.engine.transitions import RunStatus, StepStatus
from system.engine.values import quoted

_TASK_NAMESPACE = uuid.UUID("6f0c1f5e-6d0e-4f0e-9a51-5d3f7c1b8a42")
_RESERVED = re.compile(r"[%/:\[\]]")


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One execution of a step: a row of `step_executions`.

    `parent` is the path of the composite's execution around it, `iteration` and `branch` its place there. `attempt`
    counts from 1 and is part of the task's identity; `generation` is the number of accepted retries before it began.
    """

    path: str
    step_id: str
    status: StepStatus
    input_data: Any
    started_at: datetime
    parent: str | None = None
    iteration: int | None = None
    branch: str | None = None
    output_data: Any = None
    error_message: str | None = None
    completed_at: datetime | None = None
    attempt: int = 1
    generation: int = 0
    task_id: str | None = None

    @property
    def failure(self) -> str:
        """The message of what fails because this step has: it names the step as it is written and says why."""
        return f"step {quoted(self.step_id)} failed: {self.error_message}"


@dataclass(frozen=True, slots=True)
class ParallelFrame:
    """Progress of a parallel step: children started and in flight."""

    started: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class LoopFrame:
    """Progress of a loop: `items` after max_iterations was applied; iterations started, in flight and failed."""

    items: tuple[Any, ...]
    started: int = 0
    in_flight: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ForkFrame:
    """Progress of a fork_join: branches that have not ended, and those that failed."""

    open: frozenset[str]
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ConditionalFrame:
    """What a conditional decided."""

    result: bool
    branch_step_id: str | None


Frame = ParallelFrame | LoopFrame | ForkFrame | ConditionalFrame

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RunState:
    """One run. `definition` is None only for a run whose plan was never accepted.

    `steps` maps paths to the current record of each place, `frames` paths to the progress of open composites, and
    `in_flight` task ids to paths. `clock` is the latest time that an event brought: time never runs backwards in a run.
    `accepted_at` is the latest moment of which it is known that the run was requested, cancelled or retried: in a run
    that was retried, a cancellation that is not later is one of the past.
    """

    run_id: str
    status: RunStatus
    definition: Definition | None
    input_data: Any
    created_at: datetime
    generation: int = 0
    error_message: str | None = None
    steps: Mapping[str, StepRecord] = field(default_factory=lambda: _EMPTY)
    frames: Mapping[str, Frame] = field(default_factory=lambda: _EMPTY)
    in_flight: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    clock: datetime | None = None
    accepted_at: datetime | None = None


def task_id(run_id: str, path: str, attempt: int) -> str:
    """The id of the task for an attempt of a step: the same arguments always give the same id (contract section 1)."""
    return str(uuid.uuid5(_TASK_NAMESPACE, f"{run_id}\n{path}\n{attempt}"))


def escape(name: str) -> str:
    """A step id or branch name as a part of a path."""
    return _RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", name)


def child_path(parent: str | None, step_id: str, iteration: int | None = None, branch: str | None = None) -> str:
    """The path of a step within its parent's execution; of a top-level step when `parent` is None."""
    if parent is None:
        return escape(step_id)
    if iteration is not None:
        return f"{parent}[{iteration}]/{escape(step_id)}"
    if branch is not None:
        return f"{branch_path(parent, branch)}/{escape(step_id)}"
    return f"{parent}/{escape(step_id)}"


def branch_path(parent: str, branch: str) -> str:
    """The path of a branch, which is also that of its timer."""
    return f"{parent}:{escape(branch)}"
