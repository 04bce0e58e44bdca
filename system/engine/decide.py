"""`decide(state, event, now) -> (state, decisions)`: all that the executor knows about executing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from system.engine import forks
from system.engine.decisions import Decision, Ignored, SetTimer, StepSuperseded
from system.engine.events import (
    BranchTimedOut,
    CancellationRequested,
    Event,
    ExecutionRequested,
    PlanRejected,
    ResultReceived,
    RunTimedOut,
)
from system.engine.progress import Progress
from system.engine.state import ParallelFrame, RunState, StepRecord
from system.engine.transitions import STEP_ENDED, TERMINAL, StepStatus
from system.engine.values import quoted

Outcome = tuple[RunState, list[Decision]]


def decide(state: RunState, event: Event, now: datetime) -> Outcome:
    """Work one event into a run.

    Disorder that is to be expected (a duplicate, a late or a foreign message) is answered with `Ignored` and the state
    as it was; nothing is raised for it. Equal arguments give equal answers.
    """
    state, (decisions,) = decide_many(state, (event,), now)
    return state, decisions


def decide_many(state: RunState, events: Sequence[Event], now: datetime) -> tuple[RunState, list[list[Decision]]]:
    """Work several events into a run, in the order given; returns the decisions of each.

    The same as `decide` once for each, with the state copied once for all of them: a run with ten thousand steps costs
    the copy once per batch and not once per result.
    """
    progress = Progress(state, now)
    told: list[list[Decision]] = []
    changed = False
    for event in events:
        instead = _work_in(progress, event)
        changed = changed or instead is None
        told.append([instead] if instead is not None else progress.take_decisions())
    return progress.state() if changed else state, told


def _work_in(progress: Progress, event: Event) -> Decision | None:
    """Change the run by an event, or leave it as it is and return what is to be done instead."""
    if isinstance(event, ExecutionRequested):
        return _execution_requested(progress, event)
    if isinstance(event, PlanRejected):
        return _plan_rejected(progress, event)
    if isinstance(event, CancellationRequested):
        return _cancellation_requested(progress, event)
    if isinstance(event, ResultReceived):
        return _result_received(progress, event)
    if isinstance(event, BranchTimedOut):
        return _branch_timed_out(progress, event)
    return _run_timed_out(progress, event)


def _execution_requested(progress: Progress, event: ExecutionRequested) -> Decision | None:
    if progress.status != "PENDING":
        return Ignored(f"the run is {progress.status}: this request is a duplicate")
    # Open steps are left where a cancelled run was retried before this executor heard of the cancellation.
    _end_open_steps(progress, "CANCELLED", None)
    progress.accept(event.requested_at)
    resume_from_step = event.resume_from_step
    if resume_from_step is not None and resume_from_step not in progress.definition.chain_position:
        progress.change_run(
            "FAILED",
            f"the run cannot be resumed from step {quoted(resume_from_step)}: "
            "a step of the plan's top level is expected, and its plan has none of that name",
        )
        return None
    _supersede(progress, resume_from_step)
    progress.change_run("RUNNING")
    progress.begin(progress.definition.start_step)
    progress.drain()
    return None


def _supersede(progress: Progress, resume_from_step: str | None) -> None:
    """Set aside what of earlier work does not count on: all but COMPLETED steps and what lies in a COMPLETED composite.

    A record that was CANCELLED in flight stays until its step begins again, since it keeps the attempt.
    """
    if not progress.steps:
        return
    definition = progress.definition
    first_again = len(definition.chain)
    if resume_from_step is not None:
        first_again = definition.chain_position[resume_from_step]
    within_completed: set[str] = set()
    superseded: list[StepRecord] = []
    # Parents come before their children, so that a child finds its parent judged.
    for record in sorted(progress.steps.values(), key=lambda record: record.path.count("/")):
        # Asked of the definition: after a second retry the record of a parent may be gone that has yet to begin again.
        top_level = (record.step_id, *definition.ancestors(record.step_id))[-1]
        if definition.chain_position[top_level] >= first_again:
            superseded.append(record)
        elif record.status == "COMPLETED" or record.parent in within_completed:
            within_completed.add(record.path)
        elif record.status != "CANCELLED" or record.task_id is None:
            superseded.append(record)
    for record in superseded:
        del progress.steps[record.path]
        progress.decisions.append(StepSuperseded(record.path, record.generation))


def _plan_rejected(progress: Progress, event: PlanRejected) -> Decision | None:
    if progress.status != "PENDING":
        return Ignored(f"the run is {progress.status}: its plan was judged before")
    _end_open_steps(progress, "CANCELLED", None)
    progress.change_run("FAILED", event.reason)
    return None


def _cancellation_requested(progress: Progress, event: CancellationRequested) -> Decision | None:
    if progress.status == "CANCELLED":
        # Whoever accepted the cancellation has set the run's row; what is left to do is to end its steps.
        if not progress.open_paths():
            return Ignored("the run is CANCELLED already")
    elif progress.status in TERMINAL:
        return Ignored(f"the run is {progress.status}: a cancellation comes too late")
    elif progress.is_retried and progress.accepted_at is not None and event.requested_at <= progress.accepted_at:
        return Ignored("the cancellation is older than the retry that was accepted since")
    _end_open_steps(progress, "CANCELLED", None)
    if progress.status != "CANCELLED":
        progress.change_run("CANCELLED")
    progress.remember(max(event.requested_at, progress.now))
    return None


def _end_open_steps(progress: Progress, status: StepStatus, error: str | None) -> None:
    for path in progress.open_paths():
        progress.abandon(path, status, error)


def _result_received(progress: Progress, event: ResultReceived) -> Decision | None:
    if progress.status != "RUNNING":
        return Ignored(f"the run is {progress.status}: the result is late")
    path = progress.in_flight.get(event.task_id)
    if path is None:
        return Ignored("no such task is in flight: a duplicate, a late or a foreign result")
    if event.succeeded:
        progress.complete(path, event.output)
    else:
        progress.fail(path, event.error_message or "the agent gave no reason")
    progress.drain()
    return None


def _branch_timed_out(progress: Progress, event: BranchTimedOut) -> Decision | None:
    if progress.status != "RUNNING":
        return Ignored(f"the run is {progress.status}: its timers do not matter")
    found = forks.find_open_branch(progress, event.path)
    if found is None:
        return Ignored("the branch has ended already")
    path, branch, due_at = found
    if progress.now < due_at:
        # A timer from before a retry: the branch that stands at its path now has time left.
        return SetTimer(event.path, due_at)
    forks.time_out_branch(progress, path, branch)
    progress.drain()
    return None


def _run_timed_out(progress: Progress, event: RunTimedOut) -> Decision | None:
    if progress.status != "RUNNING":
        return Ignored(f"the run is {progress.status}: its deadline does not matter")
    message = f"the run did not end within its deadline of {event.limit_seconds} s"
    _end_open_steps(progress, "FAILED", message)
    progress.change_run("FAILED", message)
    return None


def restore(state: RunState, records: Iterable[StepRecord], now: datetime) -> Outcome:
    """The state of a run from its rows, after the process that held it is gone.

    Args:
        state: the run as its row tells it, without steps.
        records: the step rows that are not superseded.

    Returns:
        the state as it was when the rows were written, and the decisions that carry on what the rows lack; none in
        the ordinary case, since rows are written in one transaction with all that follows from an event.
    """
    steps = {record.path: record for record in records}
    if state.status != "RUNNING":
        # Open steps of a run that is not RUNNING wait only to be ended: which kind of frame they have does not matter.
        running = {path: record for path, record in steps.items() if record.status not in STEP_ENDED}
        in_flight = {record.task_id: path for path, record in running.items() if record.task_id is not None}
        frames = {path: ParallelFrame() for path, record in running.items() if record.task_id is None}
        return replace(state, steps=steps, in_flight=in_flight, frames=frames), []
    progress = Progress(replace(state, steps=steps), state.clock or now, restoring=True)
    progress.begin(progress.definition.start_step)
    progress.drain()
    return progress.state(), progress.decisions
