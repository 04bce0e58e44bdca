"""A workflow definition in memory: steps, how they are nested and chained, templates and conditions parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from system.engine.conditions import Condition
from system.engine.references import Template

OnError = Literal["stop", "continue", "collect"]
JoinPolicy = Literal["all", "any", "majority", "n_of_m"]


@dataclass(frozen=True, slots=True)
class AgentStep:
    """One call of an agent."""

    agent_name: str


@dataclass(frozen=True, slots=True)
class ParallelStep:
    """Children side by side; fails when one fails, after all have ended."""

    children: tuple[str, ...]
    max_parallelism: int


@dataclass(frozen=True, slots=True)
class ConditionalStep:
    """One of two children, or nothing where the branch taken has none."""

    condition: Condition
    if_true: str | None
    if_false: str | None


@dataclass(frozen=True, slots=True)
class LoopStep:
    """The body once per item of a collection; `max_parallelism` is 1 for a sequential loop."""

    collection: Template
    body: tuple[str, ...]
    max_parallelism: int
    max_iterations: int | None
    on_error: OnError


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch of a fork_join: its steps in order; `timeout_seconds` is None for no limit."""

    name: str
    steps: tuple[str, ...]
    timeout_seconds: float | None


@dataclass(frozen=True, slots=True)
class ForkJoinStep:
    """Branches side by side, judged by the policy once each has ended or timed out."""

    branches: tuple[Branch, ...]
    join_policy: JoinPolicy
    n_required: int


StepKind = AgentStep | ParallelStep | ConditionalStep | LoopStep | ForkJoinStep


@dataclass(frozen=True, slots=True)
class Slot:
    """Where in its parent a step runs: `index` counts within parallel_steps, loop_body or the branch's steps."""

    parent: str
    index: int
    branch: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a definition. `slot` is None for a step of the top-level chain."""

    id: str
    name: str
    kind: StepKind
    next_step: str | None
    input_mapping: Template
    slot: Slot | None


@dataclass(frozen=True)
class Definition:
    """A definition that passed every check. `chain` holds the top-level steps in the order in which they run."""

    name: str
    start_step: str
    steps: Mapping[str, Step]
    chain: tuple[str, ...]
    workflow_id: str | None = None
    version: str | None = None
    chain_position: Mapping[str, int] = field(init=False)
    has_timeouts: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "chain_position", {step: index for index, step in enumerate(self.chain)})
        forks = [step.kind for step in self.steps.values() if isinstance(step.kind, ForkJoinStep)]
        timed = any(branch.timeout_seconds is not None for fork in forks for branch in fork.branches)
        object.__setattr__(self, "has_timeouts", timed)

    def ancestors(self, step_id: str) -> tuple[str, ...]:
        """The composite steps around a step, innermost first."""
        found: list[str] = []
        slot = self.steps[step_id].slot
        while slot is not None:
            found.append(slot.parent)
            slot = self.steps[slot.parent].slot
        return tuple(found)


def step_type(kind: StepKind) -> str:
    """The word of the workflow format for a kind of step."""
    return _TYPES[type(kind)]


_TYPES: dict[type, str] = {
    AgentStep: "agent",
    ParallelStep: "parallel",
    ConditionalStep: "conditional",
    LoopStep: "loop",
    ForkJoinStep: "fork_join",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a definition, where (JSON pointer, RFC 6901), and what to write instead where that is known."""

    pointer: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{self.pointer or '/'}: {self.message}{hint}"


class InvalidDefinition(ValueError):
    """A definition that cannot run; `problems` holds every mistake that was found."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("; ".join(str(problem) for problem in problems))


RawDefinition = Mapping[str, Any]
