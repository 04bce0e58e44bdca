"""A run while one event is worked into it: a private copy of the state that steps are begun and ended on.

Begun and ended steps go through a queue instead of calling each other, so that neither ten thousand iterations which
end at once nor deep nesting need a deep stack. Meeting a step that has a record already is how both a retry and the
return of a run from its rows work: what has ended counts as ended, what is in flight stays in flight, and only what is
missing is begun.
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
from system.engine.transitions import RunStatus, StepStatus, check_run, check_step
from system.engine.values import DEEPEST_VALUE, is_deeper_than


class Progress:
    """The working copy. `decisions` collects what must be done; `state()` is the outcome."""

    def __init__(self, state: RunState, now: datetime, *, restoring: bool = False) -> None:
        self._before = state
        # Executions that are found again, not begun: their timers are among the rows of the run, too.
        self._found = frozenset(state.steps) if restoring else frozenset()
        self.now = max(now, state.clock or now, state.created_at)
        self.status: RunStatus = state.status
        self.error_message = state.error_message
        self.generation = state.generation
        self.accepted_at = state.accepted_at
        self.steps = dict(state.steps)
        self.frames: dict[str, Frame] = dict(state.frames)
        self.in_flight = dict(state.in_flight)
        self.decisions: list[Decision] = []
        # Paths of composites that are to be opened and of executions that have ended, in the order of happening.
        self._waiting: deque[str] = deque()

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

    @property
    def is_retried(self) -> bool:
        """Whether a retry has led here; one that did not count the generation up shows by what it left."""
        return self.generation > 0 or (self.status == "PENDING" and bool(self.steps))

    def accept(self, requested_at: datetime) -> None:
        """Take up the run, for the first time or after a retry.

        Whoever accepted a retry may know the contract's columns only, and not have counted the generation. It is made
        up for here: else a new attempt would carry the id of the one before, and its row the key of that one's.
        """
        self.remember(requested_at)
        newest = max((record.generation for record in self.steps.values()), default=-1)
        self.generation = max(self.generation, newest + 1)

    def remember(self, moment: datetime) -> None:
        """Take every cancellation up to `moment` for one of the past, should the run be retried."""
        self.accepted_at = moment if self.accepted_at is None else max(self.accepted_at, moment)

    def take_decisions(self) -> list[Decision]:
        """What has been decided since this was asked last."""
        taken, self.decisions = self.decisions, []
        return taken

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
        elif known.task_id is not None and known.status == "RUNNING":
            self.in_flight[known.task_id] = path
        else:
            self._waiting.append(path)

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
        if is_deeper_than(input_data, DEEPEST_VALUE):
            self._fail_unbegun(record, f"its input is nested deeper than {DEEPEST_VALUE} levels")
            return
        kind = step.kind
        if isinstance(kind, AgentStep):
            task = task_id(self.run_id, path, attempt)
            self._note(None, replace(record, input_data=input_data, task_id=task))
            self.in_flight[task] = path
            self.decisions.append(PublishTask(task, step.id, path, kind.agent_name, input_data))
        else:
            self._note(None, replace(record, input_data=input_data))
            self._waiting.append(path)

    def _fail_unbegun(self, record: StepRecord, error: str) -> None:
        self._note(None, replace(record, status="FAILED", error_message=error, completed_at=self.now))
        self._waiting.append(record.path)

    def complete(self, path: str, output: Any) -> None:
        """A step's execution ended well, unless its output is one that cannot be handed on."""
        if is_deeper_than(output, DEEPEST_VALUE):
            self.fail(path, f"its output is nested deeper than {DEEPEST_VALUE} levels")
            return
        self._end(path, "COMPLETED", output, None)
        self._waiting.append(path)

    def fail(self, path: str, error: str) -> None:
        """A step's execution failed; its parent, or the run, decides what follows."""
        self._end(path, "FAILED", None, error)
        self._waiting.append(path)

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

    def set_timer(self, fork: str, path: str, due_at: datetime) -> None:
        """Have the end of a branch's time told, unless its fork_join, which stands at the path `fork`, was found."""
        if fork not in self._found:
            self.decisions.append(SetTimer(path, due_at))

    def clear_timer(self, fork: str, path: str) -> None:
        """Forget the time of a branch. A timer that stays does no harm: what it tells is ignored."""
        if fork not in self._found:
            self.decisions.append(ClearTimer(path))

    def drain(self) -> None:
        """Open what is to be opened and work off what has ended, until nothing more follows from it."""
        while self._waiting:
            path = self._waiting.popleft()
            record = self.steps[path]
            if record.status == "RUNNING":
                composites.open_composite(self, self.definition.steps[record.step_id], path)
            elif record.parent is not None:
                composites.child_ended(self, record)
            elif record.status == "COMPLETED":
                self._go_on(record)
            else:
                self.change_run("FAILED", record.failure)

    def _go_on(self, record: StepRecord) -> None:
        following = self.definition.steps[record.step_id].next_step
        if following is None:
            self.change_run("COMPLETED")
        else:
            self.begin(following)
