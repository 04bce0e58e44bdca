"""A run while one event is worked into it: a private copy of the state that steps are begun and ended on.

Begun and ended steps go through a queue instead of calling each other, so that ten thousand iterations which end at
once need no deep stack. Meeting a step that has a record already is how both a retry and the return of a run from its
rows work: what has ended counts as ended, what is in flight stays in flight, and only what is missing is begun.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import datetime
from typing import Any

from system.engine import composites
from system.engine.decisions import ClearTimer, Decision, PublishTask, RunChanged, SetTimer, StepChanged, StepSuperseded
from system.engine.definition import AgentStep, Definition, Step
from system.engine.references import Unresolved, resolve
from system.engine.scope import Place
from system.engine.state import Frame, RunState, StepRecord, child_path, task_id
from system.engine.transitions import STEP_ENDED, RunStatus, StepStatus, check_run, check_step


class Progress:
    """The working copy. `decisions` collects what must be done; `state()` is the outcome."""

    def __init__(self, state: RunState, now: datetime, *, restoring: bool = False) -> None:
        self._before = state
        self._restoring = restoring
        self.now = max(now, state.clock or now, state.created_at)
        self.status: RunStatus = state.status
        self.error_message = state.error_message
        self.generation = state.generation
        self.accepted_at = state.accepted_at
        self.steps = dict(state.steps)
        self.frames: dict[str, Frame] = dict(state.frames)
        self.in_flight = dict(state.in_flight)
        self.decisions: list[Decision] = []
        self._ended: deque[str] = deque()

    @property
    def run_id(self) -> str:
        return self._before.run_id

    @property
    def definition(self) -> Definition:
        definition = self._before.definition
        assert definition is not None, "a run without an accepted plan has no steps"
        return definition

    def state(self) -> RunState:
        """The state that the copy has become."""
        return replace(
            self._before,
            status=self.status,
            error_message=self.error_message,
            generation=self.generation,
            accepted_at=self.accepted_at,
            steps=self.steps,
            frames=self.frames,
            in_flight=self.in_flight,
            clock=self.now,
        )

    def change_run(self, status: RunStatus, error_message: str | None = None) -> None:
        """Give the run a new status."""
        check_run(self.status, status)
        self.status, self.error_message = status, error_message
        self.decisions.append(RunChanged(status, error_message, self.now))

    def place(self, parent: str | None, iteration: int | None) -> Place:
        """The scope of references at a place below `parent`."""
        return Place(self.definition, self._before.input_data, self.steps, self.frames, parent, iteration)

    def begin(
        self, step_id: str, parent: str | None = None, iteration: int | None = None, branch: str | None = None
    ) -> None:
        """Begin a step at its place, or take up the execution that is there already."""
        path = child_path(parent, step_id, iteration, branch)
        step = self.definition.steps[step_id]
        known = self.steps.get(path)
        if known is None or known.status == "CANCELLED":
            self._begin_anew(step, path, parent, iteration, branch, known)
        elif known.status in STEP_ENDED:
            self._ended.append(path)
        elif isinstance(step.kind, AgentStep):
            assert known.task_id is not None
            self.in_flight[known.task_id] = path
        else:
            composites.open_composite(self, step, path)

    def _begin_anew(
        self, step: Step, path: str, parent: str | None, iteration: int | None, branch: str | None,
        known: StepRecord | None,
    ) -> None:  # fmt: skip
        # What was in flight when its run was cancelled keeps its attempt: the same work, so the same task.
        attempt = self.generation + 1 if known is None else known.attempt
        if known is not None:
            self.decisions.append(StepSuperseded(path, known.generation))
        record = StepRecord(
            path=path,
            step_id=step.id,
            status="RUNNING",
            input_data=None,
            started_at=self.now,
            parent=parent,
            iteration=iteration,
            branch=branch,
            attempt=attempt,
            generation=self.generation,
        )
        try:
            input_data = resolve(step.input_mapping, self.place(parent, iteration))
        except Unresolved as error:
            self._fail_unbegun(record, str(error))
            return
        except RecursionError:
            self._fail_unbegun(record, "a value for its input is nested too deeply")
            return
        kind = step.kind
        if isinstance(kind, AgentStep):
            task = task_id(self.run_id, path, attempt)
            self._note(None, replace(record, input_data=input_data, task_id=task))
            self.in_flight[task] = path
            self.decisions.append(PublishTask(task, step.id, path, kind.agent_name, input_data))
        else:
            self._note(None, replace(record, input_data=input_data))
            composites.open_composite(self, step, path)

    def _fail_unbegun(self, record: StepRecord, error: str) -> None:
        self._note(None, replace(record, status="FAILED", error_message=error, completed_at=self.now))
        self._ended.append(record.path)

    def complete(self, path: str, output: Any) -> None:
        """A step's execution ended well."""
        self._end(path, "COMPLETED", output, None)
        self._ended.append(path)

    def fail(self, path: str, error: str) -> None:
        """A step's execution failed; its parent, or the run, decides what follows."""
        self._end(path, "FAILED", None, error)
        self._ended.append(path)

    def abandon(self, path: str, status: StepStatus, error: str | None) -> None:
        """End an open execution without telling its parent, which has ended or is about to."""
        self._end(path, status, None, error)

    def _end(self, path: str, status: StepStatus, output: Any, error: str | None) -> None:
        record = self.steps[path]
        self.frames.pop(path, None)
        if record.task_id is not None:
            self.in_flight.pop(record.task_id, None)
        self._note(
            record.status,
            replace(record, status=status, output_data=output, error_message=error, completed_at=self.now),
        )

    def _note(self, old: StepStatus | None, record: StepRecord) -> None:
        check_step(old, record.status)
        self.steps[record.path] = record
        self.decisions.append(StepChanged(record))

    def open_paths(self, below: str = "") -> list[str]:
        """Paths of the executions that are RUNNING, outermost first; only those under the path prefix `below`."""
        paths = [path for path in (*self.frames, *self.in_flight.values()) if path.startswith(below)]
        return sorted(paths, key=lambda path: (path.count("/"), path))

    def set_timer(self, path: str, due_at: datetime) -> None:
        # A run that returns from its rows finds its timers among them.
        if not self._restoring:
            self.decisions.append(SetTimer(path, due_at))

    def clear_timer(self, path: str) -> None:
        if not self._restoring:
            self.decisions.append(ClearTimer(path))

    def drain(self) -> None:
        """Work off what has ended until nothing more follows from it."""
        while self._ended:
            path = self._ended.popleft()
            record = self.steps[path]
            if record.parent is not None:
                composites.child_ended(self, record)
            elif record.status == "COMPLETED":
                self._go_on(record)
            else:
                self.change_run("FAILED", f"step {record.step_id!r} failed: {record.error_message}")

    def _go_on(self, record: StepRecord) -> None:
        following = self.definition.steps[record.step_id].next_step
        if following is None:
            self.change_run("COMPLETED")
        else:
            self.begin(following)
