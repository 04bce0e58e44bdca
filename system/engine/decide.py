"""`decide(state, event, now) -> (state, decisions)`: all that the executor knows about executing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from system.engine import composites
from system.engine.decisions import Decision, Ignored, StepSuperseded
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

Outcome = tuple[RunState, list[Decision]]


def decide(state: RunState, event: Event, now: datetime) -> Outcome:
    """Work one event into a run.

    Disorder that is to be expected (a duplicate, a late or a foreign message) is answered with `Ignored` and the state
    as it was; nothing is raised for it. Equal arguments give equal answers.
    """
    if isinstance(event, ExecutionRequested):
        return _execution_requested(state, event, now)
    if isinstance(event, PlanRejected):
        return _plan_rejected(state, event, now)
    if isinstance(event, CancellationRequested):
        return _cancellation_requested(state, event, now)
    if isinstance(event, ResultReceived):
        return _result_received(state, event, now)
    if isinstance(event, BranchTimedOut):
        return _branch_timed_out(state, event, now)
    return _run_timed_out(state, event, now)


def _ignored(state: RunState, reason: str) -> Outcome:
    return state, [Ignored(reason)]


def _execution_requested(state: RunState, event: ExecutionRequested, now: datetime) -> Outcome:
    if state.status != "PENDING":
        return _ignored(state, f"the run is {state.status}: this request is a duplicate")
    progress = Progress(state, now)
    # Open steps are left where a cancelled run was retried before this executor heard of the cancellation.
    _end_open_steps(progress, "CANCELLED", None)
    progress.steps, superseded = _kept_after_retry(progress.state(), event.resume_from_step)
    progress.accepted_at = event.requested_at
    progress.decisions.extend(StepSuperseded(record.path, record.generation) for record in superseded)
    progress.change_run("RUNNING")
    progress.begin(progress.definition.start_step)
    progress.drain()
    return progress.state(), progress.decisions


def _kept_after_retry(state: RunState, resume_from_step: str | None) -> tuple[dict[str, StepRecord], list[StepRecord]]:
    """What of earlier work counts on: COMPLETED steps, and all that lies in a COMPLETED composite.

    A record that was CANCELLED in flight stays until its step begins again, since it keeps the attempt.
    """
    definition = state.definition
    assert definition is not None
    first_again = len(definition.chain)
    if resume_from_step is not None:
        first_again = definition.chain_position.get(resume_from_step, 0)
    kept: dict[str, StepRecord] = {}
    superseded: list[StepRecord] = []
    # Parents come before their children, so that a child finds its parent judged.
    for record in sorted(state.steps.values(), key=lambda record: record.path.count("/")):
        around = None if record.parent is None else kept.get(record.parent)
        within_completed = around is not None and around.status == "COMPLETED"
        again = _top_level_position(state, record) >= first_again
        completed = record.status == "COMPLETED"
        in_flight = record.status == "CANCELLED" and record.task_id is not None
        if not again and (completed or within_completed or in_flight):
            kept[record.path] = record
        else:
            superseded.append(record)
    return kept, superseded


def _top_level_position(state: RunState, record: StepRecord) -> int:
    assert state.definition is not None
    while record.parent is not None:
        record = state.steps[record.parent]
    return state.definition.chain_position[record.step_id]


def _plan_rejected(state: RunState, event: PlanRejected, now: datetime) -> Outcome:
    if state.status != "PENDING":
        return _ignored(state, f"the run is {state.status}: its plan was judged before")
    progress = Progress(state, now)
    progress.change_run("FAILED", event.reason)
    return progress.state(), progress.decisions


def _cancellation_requested(state: RunState, event: CancellationRequested, now: datetime) -> Outcome:
    if state.generation and state.accepted_at is not None and event.requested_at < state.accepted_at:
        return _ignored(state, "the cancellation is older than the retry that was accepted since")
    progress = Progress(state, now)
    if state.status == "CANCELLED":
        # Whoever accepted the cancellation has set the run's row; what is left to do is to end its steps.
        if not progress.open_paths():
            return _ignored(state, "the run is CANCELLED already")
    elif state.status in TERMINAL:
        return _ignored(state, f"the run is {state.status}: a cancellation comes too late")
    else:
        progress.change_run("CANCELLED")
    _end_open_steps(progress, "CANCELLED", None)
    return progress.state(), progress.decisions


def _end_open_steps(progress: Progress, status: StepStatus, error: str | None) -> None:
    for path in progress.open_paths():
        progress.abandon(path, status, error)


def _result_received(state: RunState, event: ResultReceived, now: datetime) -> Outcome:
    if state.status != "RUNNING":
        return _ignored(state, f"the run is {state.status}: the result is late")
    path = state.in_flight.get(event.task_id)
    if path is None:
        return _ignored(state, "no such task is in flight: a duplicate, a late or a foreign result")
    progress = Progress(state, now)
    if event.succeeded:
        progress.complete(path, event.output)
    else:
        progress.fail(path, event.error_message or "the agent gave no reason")
    progress.drain()
    return progress.state(), progress.decisions


def _branch_timed_out(state: RunState, event: BranchTimedOut, now: datetime) -> Outcome:
    if state.status != "RUNNING":
        return _ignored(state, f"the run is {state.status}: its timers do not matter")
    progress = Progress(state, now)
    if not composites.time_out_branch(progress, event.path):
        return _ignored(state, "the branch has ended already")
    progress.drain()
    return progress.state(), progress.decisions


def _run_timed_out(state: RunState, event: RunTimedOut, now: datetime) -> Outcome:
    if state.status in TERMINAL or state.status == "PENDING":
        return _ignored(state, f"the run is {state.status}: its deadline does not matter")
    progress = Progress(state, now)
    message = f"the run did not end within its deadline of {event.limit_seconds} s"
    _end_open_steps(progress, "FAILED", message)
    progress.change_run("FAILED", message)
    return progress.state(), progress.decisions


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
