"""What the references of a step see, at its place in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from system.engine.definition import Definition, LoopStep
from system.engine.references import Unresolved
from system.engine.state import Frame, LoopFrame, StepRecord, child_path, escape
from system.engine.values import quoted


@dataclass(frozen=True, slots=True)
class Place:
    """The scope of a step that runs, or is about to, within the execution `parent` (None at the top level)."""

    definition: Definition
    workflow_input: Any
    steps: Mapping[str, StepRecord]
    frames: Mapping[str, Frame]
    parent: str | None
    iteration: int | None

    def output_of(self, step_id: str) -> Any:
        """Output of the execution of `step_id` that this place sees: the same iteration's inside a loop."""
        path = escape(step_id) if self.definition.steps[step_id].slot is None else self._path_of(step_id)
        record = self.steps.get(path)
        if record is None:
            raise Unresolved(f"step {quoted(step_id)} did not run")
        if record.status != "COMPLETED":
            raise Unresolved(f"step {quoted(step_id)} did not complete")
        return record.output_data

    def loop_variable(self, name: str) -> Any:
        """Value of a variable of the innermost loop around this place."""
        parent, iteration = self.parent, self.iteration
        while parent is not None and iteration is None:
            record = self.steps[parent]
            parent, iteration = record.parent, record.iteration
        frame = self.frames.get(parent) if parent is not None else None
        if iteration is None or not isinstance(frame, LoopFrame):
            raise Unresolved("it stands in no loop")
        if name == "item":
            return frame.items[iteration]
        total = len(frame.items)
        return {"index": iteration, "total": total, "is_first": iteration == 0, "is_last": iteration == total - 1}[name]

    def _path_of(self, step_id: str) -> str:
        around = self._enclosing()
        return self._path_below(step_id, around)

    def _enclosing(self) -> dict[str, tuple[str, int | None]]:
        """Step id of each execution around this place → (its path, the iteration of it that this place is in)."""
        around: dict[str, tuple[str, int | None]] = {}
        parent, iteration = self.parent, self.iteration
        while parent is not None:
            record = self.steps[parent]
            around[record.step_id] = (parent, iteration)
            parent, iteration = record.parent, record.iteration
        return around

    def _path_below(self, step_id: str, around: Mapping[str, tuple[str, int | None]]) -> str:
        slot = self.definition.steps[step_id].slot
        if slot is None:
            return escape(step_id)
        if slot.parent in around:
            parent, iteration = around[slot.parent]
        else:
            parent, iteration = self._path_below(slot.parent, around), None
        in_loop = isinstance(self.definition.steps[slot.parent].kind, LoopStep)
        return child_path(parent, step_id, iteration if in_loop else None, slot.branch)
