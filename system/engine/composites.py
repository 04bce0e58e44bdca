"""The steps that run other steps: parallel, conditional, loop and fork_join (contract section 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from system.engine import forks
from system.engine.definition import (
    ConditionalStep,
    ForkJoinStep,
    LoopStep,
    ParallelStep,
    Step,
)
from system.engine.references import Unresolved, resolve
from system.engine.state import (
    ConditionalFrame,
    ForkFrame,
    LoopFrame,
    ParallelFrame,
    StepRecord,
    child_path,
)
from system.engine.transitions import StepStatus
from system.engine.values import kind_of

if TYPE_CHECKING:
    from system.engine.progress import Progress


def open_composite(progress: Progress, step: Step, path: str) -> None:
    """Begin the children of a composite whose own record is RUNNING; children with a record are taken up."""
    kind = step.kind
    if isinstance(kind, ParallelStep):
        progress.frames[path] = ParallelFrame()
        _start_children(progress, kind, path)
    elif isinstance(kind, ConditionalStep):
        _open_conditional(progress, kind, path)
    elif isinstance(kind, LoopStep):
        _open_loop(progress, kind, path)
    elif isinstance(kind, ForkJoinStep):
        forks.open_fork(progress, kind, path)


def child_ended(progress: Progress, record: StepRecord) -> None:
    """A child of a composite has ended: go on with the composite, or end it."""
    path = record.parent
    assert path is not None
    frame = progress.frames.get(path)
    if frame is None:
        # Its parent has ended meanwhile: a branch that timed out, or a run that was cancelled.
        return
    kind = progress.definition.steps[progress.steps[path].step_id].kind
    if isinstance(kind, ParallelStep) and isinstance(frame, ParallelFrame):
        progress.frames[path] = replace(frame, in_flight=frame.in_flight - 1)
        _start_children(progress, kind, path)
    elif isinstance(kind, ConditionalStep) and isinstance(frame, ConditionalFrame):
        _end_conditional(progress, frame, path, record)
    elif isinstance(kind, LoopStep) and isinstance(frame, LoopFrame):
        _iteration_went_on(progress, kind, frame, path, record)
    elif isinstance(kind, ForkJoinStep) and isinstance(frame, ForkFrame):
        forks.went_on(progress, kind, path, record)


def _standing(progress: Progress, path: str) -> StepStatus | None:
    """Status of the execution that stands at a path; None when one has yet to be begun there, perhaps once more."""
    record = progress.steps.get(path)
    return None if record is None or record.status == "CANCELLED" else record.status


# parallel


def _start_children(progress: Progress, kind: ParallelStep, path: str) -> None:
    frame = progress.frames[path]
    assert isinstance(frame, ParallelFrame)
    started, in_flight = frame.started, frame.in_flight
    while started < len(kind.children):
        child = kind.children[started]
        standing = _standing(progress, child_path(path, child))
        if standing is None and in_flight >= kind.max_parallelism:
            break
        if standing is None or standing == "RUNNING":
            progress.begin(child, path)
            in_flight += 1
        started += 1
    progress.frames[path] = replace(frame, started=started, in_flight=in_flight)
    if in_flight:
        return
    ended = [progress.steps[child_path(path, child)] for child in kind.children]
    # Told in the order of the definition, so that the order of arrival leaves no trace.
    errors = [record.failure for record in ended if record.status == "FAILED"]
    if errors:
        progress.fail(path, "; ".join(errors))
    else:
        progress.complete(path, {record.step_id: record.output_data for record in ended})


# conditional


def _open_conditional(progress: Progress, kind: ConditionalStep, path: str) -> None:
    record = progress.steps[path]
    result = kind.condition.holds(progress.place(record.parent, record.iteration))
    taken = kind.if_true if result else kind.if_false
    progress.frames[path] = ConditionalFrame(result, taken)
    if taken is not None:
        progress.begin(taken, path)
    else:
        progress.complete(path, _conditional_output(result, None, None))


def _end_conditional(progress: Progress, frame: ConditionalFrame, path: str, record: StepRecord) -> None:
    if record.status == "COMPLETED":
        progress.complete(path, _conditional_output(frame.result, record.step_id, record.output_data))
    else:
        progress.fail(path, record.failure)


def _conditional_output(result: bool, step_id: str | None, output: Any) -> dict[str, Any]:
    return {
        "condition_result": result,
        "branch_taken": "then" if result else "else",
        "branch_step_id": step_id,
        "branch_output": output,
    }


# loop


def _open_loop(progress: Progress, kind: LoopStep, path: str) -> None:
    record = progress.steps[path]
    try:
        items = resolve(kind.collection, progress.place(record.parent, record.iteration))
    except Unresolved as error:
        progress.fail(path, str(error))
        return
    if not isinstance(items, list):
        progress.fail(path, f"the collection of a loop is a list, found {kind_of(items)}")
        return
    progress.frames[path] = LoopFrame(tuple(items[: kind.max_iterations]))
    _start_iterations(progress, kind, path)


def _start_iterations(progress: Progress, kind: LoopStep, path: str) -> None:
    frame = progress.frames[path]
    assert isinstance(frame, LoopFrame)
    started, in_flight, failed = frame.started, frame.in_flight, frame.failed
    while started < len(frame.items):
        standing = _standing_iteration(progress, kind, path, started)
        if standing is None:
            if in_flight >= kind.max_parallelism or (failed and kind.on_error == "stop"):
                break
            standing = "RUNNING"
        if standing == "RUNNING":
            progress.begin(kind.body[0], path, started)
            in_flight += 1
        elif standing == "FAILED":
            failed += 1
        started += 1
    progress.frames[path] = replace(frame, started=started, in_flight=in_flight, failed=failed)
    if in_flight:
        return
    if failed and kind.on_error == "stop":
        progress.fail(path, _first_failure(progress, kind, path, started))
    else:
        progress.complete(path, _loop_output(progress, kind, path, started, failed))


def _standing_iteration(progress: Progress, kind: LoopStep, path: str, iteration: int) -> StepStatus | None:
    """Status of an iteration; None when it has yet to be begun, or to go on after a retry behind what is COMPLETED."""
    standing: StepStatus | None = None
    for step_id in kind.body:
        standing = _standing(progress, child_path(path, step_id, iteration))
        if standing != "COMPLETED":
            return standing
    return standing


def _first_failure(progress: Progress, kind: LoopStep, path: str, started: int) -> str:
    lasts = (_last_of_iteration(progress, kind, path, iteration) for iteration in range(started))
    failed = next(record for record in lasts if record.status == "FAILED")
    return f"iteration {failed.iteration}: {failed.failure}"


def _iteration_went_on(progress: Progress, kind: LoopStep, frame: LoopFrame, path: str, record: StepRecord) -> None:
    slot = progress.definition.steps[record.step_id].slot
    assert slot is not None
    if record.status == "COMPLETED" and slot.index + 1 < len(kind.body):
        progress.begin(kind.body[slot.index + 1], path, record.iteration)
        return
    failed = frame.failed + (record.status == "FAILED")
    progress.frames[path] = replace(frame, in_flight=frame.in_flight - 1, failed=failed)
    _start_iterations(progress, kind, path)


def _loop_output(progress: Progress, kind: LoopStep, path: str, total: int, failed: int) -> dict[str, Any]:
    entries = []
    for iteration in range(total):
        last = _last_of_iteration(progress, kind, path, iteration)
        entry = {"step_id": last.step_id, "status": last.status, "output_data": last.output_data}
        if last.status == "FAILED" and kind.on_error == "collect":
            entry["error_message"] = last.error_message
        entries.append(entry)
    return {"iterations": entries, "total_count": total, "failed_count": failed}


def _last_of_iteration(progress: Progress, kind: LoopStep, path: str, iteration: int) -> StepRecord:
    for step_id in reversed(kind.body):
        record = progress.steps.get(child_path(path, step_id, iteration))
        if record is not None:
            return record
    raise AssertionError(f"iteration {iteration} of {path} was counted but never begun")
