"""The steps that run other steps: parallel, conditional, loop and fork_join (contract section 4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from system.engine.definition import (
    Branch,
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
    branch_path,
    child_path,
)
from system.engine.transitions import StepStatus
from system.engine.values import kind_of, quoted

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
        _open_fork(progress, kind, path)


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
        _branch_went_on(progress, kind, frame, path, record)


def _failure(record: StepRecord) -> str:
    return f"step {quoted(record.step_id)} failed: {record.error_message}"


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
    errors = [_failure(record) for record in ended if record.status == "FAILED"]
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
        progress.fail(path, _failure(record))


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
    return f"iteration {failed.iteration}: {_failure(failed)}"


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


# fork_join


def _open_fork(progress: Progress, kind: ForkJoinStep, path: str) -> None:
    progress.frames[path] = ForkFrame(frozenset(branch.name for branch in kind.branches))
    for branch in kind.branches:
        if branch.timeout_seconds is not None:
            due_at = _due_at(progress, path, branch.timeout_seconds)
            progress.set_timer(path, branch_path(path, branch.name), due_at)
        progress.begin(branch.steps[0], path, branch=branch.name)


def _due_at(progress: Progress, path: str, timeout_seconds: float) -> datetime:
    # Every branch starts with the fork_join itself.
    return progress.steps[path].started_at + timedelta(seconds=timeout_seconds)


def _branch(kind: ForkJoinStep, name: str) -> Branch:
    return next(branch for branch in kind.branches if branch.name == name)


def _branch_went_on(progress: Progress, kind: ForkJoinStep, frame: ForkFrame, path: str, record: StepRecord) -> None:
    slot = progress.definition.steps[record.step_id].slot
    assert slot is not None
    assert slot.branch is not None
    if slot.branch not in frame.open:
        return
    steps = _branch(kind, slot.branch).steps
    if record.status == "COMPLETED" and slot.index + 1 < len(steps):
        progress.begin(steps[slot.index + 1], path, branch=slot.branch)
        return
    _end_branch(progress, kind, path, slot.branch, failed=record.status == "FAILED")


def find_open_branch(progress: Progress, timer_path: str) -> tuple[str, Branch, datetime] | None:
    """(path of the fork_join, branch, when its time is over) of the open branch whose timer this is, if there is one."""
    for path, frame in progress.frames.items():
        if not isinstance(frame, ForkFrame) or not timer_path.startswith(path):
            continue
        kind = progress.definition.steps[progress.steps[path].step_id].kind
        assert isinstance(kind, ForkJoinStep)
        for branch in kind.branches:
            is_meant = branch.name in frame.open and branch_path(path, branch.name) == timer_path
            if is_meant and branch.timeout_seconds is not None:
                return path, branch, _due_at(progress, path, branch.timeout_seconds)
    return None


def time_out_branch(progress: Progress, path: str, branch: Branch) -> None:
    """End an open branch of the fork_join at `path`, with all that is open in it."""
    kind = progress.definition.steps[progress.steps[path].step_id].kind
    assert isinstance(kind, ForkJoinStep)
    message = f"branch {quoted(branch.name)} timed out after {branch.timeout_seconds} s"
    for open_path in progress.open_paths(below=f"{branch_path(path, branch.name)}/"):
        progress.abandon(open_path, "FAILED", message)
    _end_branch(progress, kind, path, branch.name, failed=True)


def _end_branch(progress: Progress, kind: ForkJoinStep, path: str, name: str, *, failed: bool) -> None:
    frame = progress.frames[path]
    assert isinstance(frame, ForkFrame)
    if _branch(kind, name).timeout_seconds is not None:
        progress.clear_timer(path, branch_path(path, name))
    frame = ForkFrame(frame.open - {name}, frame.failed | {name} if failed else frame.failed)
    progress.frames[path] = frame
    if frame.open:
        return
    succeeded = len(kind.branches) - len(frame.failed)
    if succeeded >= kind.n_required:
        progress.complete(path, _fork_output(progress, kind, path, frame.failed))
        return
    told = "; ".join(
        f"branch {quoted(branch.name)}: {_failure(_last_of_branch(progress, path, branch))}"
        for branch in kind.branches
        if branch.name in frame.failed
    )
    progress.fail(path, f"{succeeded} of {len(kind.branches)} branches succeeded, {kind.n_required} needed: {told}")


def _last_of_branch(progress: Progress, path: str, branch: Branch) -> StepRecord:
    paths = (child_path(path, step_id, branch=branch.name) for step_id in reversed(branch.steps))
    return next(progress.steps[step_path] for step_path in paths if step_path in progress.steps)


def _fork_output(progress: Progress, kind: ForkJoinStep, path: str, failed: frozenset[str]) -> dict[str, Any]:
    return {
        branch.name: None if branch.name in failed else _last_of_branch(progress, path, branch).output_data
        for branch in kind.branches
    }
