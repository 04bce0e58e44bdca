"""The structure of a plan: which step stands where (contract, section 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_MOST_STEPS = 20_000


class NotAPlan(ValueError):
    """A plan that the contract refuses, or that the oracle cannot follow."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A step's place in its parent: `name` is the branch of a fork_join, `position` the place in its list."""

    parent: str
    name: str | None
    position: int


@dataclass(frozen=True)
class Plan:
    """A plan that is sound in its structure: every step that is named exists, each in one place."""

    start: str
    steps: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, plan: Any) -> Plan:
        """Raises NotAPlan."""
        if not isinstance(plan, Mapping) or not isinstance(plan.get("steps"), Mapping):
            raise NotAPlan("no steps")
        steps = plan["steps"]
        if len(steps) > _MOST_STEPS or not all(isinstance(step, Mapping) for step in steps.values()):
            raise NotAPlan("steps are objects")
        found = cls(str(plan.get("start_step")), steps)
        try:
            placed = [*found.chain, *found.slots]
        except (LookupError, TypeError, AttributeError) as error:
            raise NotAPlan(str(error)) from error
        if len(placed) != len(set(placed)) or set(placed) != set(steps):
            raise NotAPlan("a step has not exactly one place")
        if any(found.top(step) not in found.chain for step in steps):
            raise NotAPlan("a step contains itself")
        return found

    def kind(self, step: str) -> str:
        """agent, parallel, conditional, loop or fork_join."""
        return str(self.steps[step].get("type", "agent"))

    def children(self, step: str) -> list[tuple[str | None, list[str]]]:
        """Lists of steps inside a step, each with the name of its branch, `then` or `else`."""
        data = self.steps[step]
        match self.kind(step):
            case "parallel":
                return [(None, list(data["parallel_steps"]))]
            case "loop":
                return [(None, list(data["loop_config"]["loop_body"]))]
            case "fork_join":
                return [(name, list(branch["steps"])) for name, branch in data["fork_join_config"]["branches"].items()]
            case "conditional":
                both = (("then", data.get("if_true_step")), ("else", data.get("if_false_step")))
                return [(name, [step]) for name, step in both if step is not None]
            case "agent":
                return []
            case other:
                raise LookupError(f"no type {other}")

    @cached_property
    def chain(self) -> list[str]:
        """The steps at top level, in order."""
        found: list[str] = []
        step: Any = self.start
        while step is not None:
            if len(found) > len(self.steps):
                raise LookupError("a cycle through next_step")
            found.append(step)
            step = self.steps[step].get("next_step")
        return found

    @cached_property
    def slots(self) -> dict[str, Slot]:
        """Step → its place in its parent, for every step that has one."""
        found: dict[str, Slot] = {}
        for parent in self.steps:
            for name, steps in self.children(parent):
                for position, step in enumerate(steps):
                    if step in found or step not in self.steps:
                        raise LookupError(f"{step} has not exactly one place")
                    found[step] = Slot(parent, name, position)
        return found

    def above(self, step: str) -> Iterator[str]:
        """The composites that contain a step, nearest first."""
        seen = 0
        while step in self.slots:
            step = self.slots[step].parent
            seen += 1
            if seen > len(self.steps):
                raise NotAPlan("a step contains itself")
            yield step

    def loops_around(self, step: str) -> tuple[str, ...]:
        """The loops whose bodies contain a step, outermost first."""
        return tuple(reversed([parent for parent in self.above(step) if self.kind(parent) == "loop"]))

    def time_out(self, fork: str, branch: str) -> float | None:
        """The seconds that a branch of a fork_join may take, its own before those of all; None when it has no time-out."""
        config = self.steps[fork]["fork_join_config"]
        seconds: float | None = config["branches"][branch].get("timeout_seconds") or config.get(
            "branch_timeout_seconds"
        )
        return seconds

    def may_time_out(self, step: str) -> bool:
        """Whether a step stands, at any depth, in a branch that has a time-out."""
        slots = [self.slots[one] for one in (step, *self.above(step)) if one in self.slots]
        return any(
            self.kind(slot.parent) == "fork_join" and self.time_out(slot.parent, str(slot.name)) is not None
            for slot in slots
        )

    def inside(self, step: str) -> Iterator[str]:
        """A step and all that it contains."""
        yield step
        for _, steps in self.children(step):
            for child in steps:
                yield from self.inside(child)

    def leaves(self, step: str) -> list[str]:
        """The agent steps in a step, itself included."""
        return [found for found in self.inside(step) if self.kind(found) == "agent"]

    def top(self, step: str) -> str:
        """The step of the chain that a step is in, or is."""
        return next(reversed([step, *self.above(step)]))

    @cached_property
    def agents(self) -> list[str]:
        """All agent steps."""
        return [step for step in self.steps if self.kind(step) == "agent"]
