"""The steps that run other steps: parallel, conditional, loop and fork_join (contract section 4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from system.engine.definition import (
    Branch,
    ConditionalStep,
    ForkJoinStep,
    LoopStep,
    ParallelStep,
    Step,
)
from system.engine.references import Unresolved, kind_of, resolve
from system.engine.state import (
    ConditionalFrame,
    ForkFrame,
    LoopFrame,
    ParallelFrame,
    StepRecord,
    branch_path,
    child_path,
)

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
    return f"step {record.step_id!r} failed: {record.error_message}"


def _is_taken(progress: Progress, path: str) -> bool:
    """Whether an execution stands there that must be taken up, whatever the limits say now."""
    record = progress.steps.get(path)
    return record is not None and record.status != "CANCELLED"


# parallel


def _start_children(progress: Progress, kind: ParallelStep, path: str) -> None:
    frame = progress.frames[path]
    assert isinstance(frame, ParallelFrame)
    started, in_flight = frame.started, frame.in_flight
    while started < len(kind.children) and (
        in_flight < kind.max_parallelism or _is_taken(progress, child_path(path, kind.children[started]))
    ):
        progress.begin(kind.children[started], path)
        started, in_flight = started + 1, in_flight + 1
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
    started, in_flight = frame.started, frame.in_flight
    stopping = kind.on_error == "stop" and frame.failed > 0
    while started < len(frame.items) and (
        (in_flight < kind.max_parallelism and not stopping)
        or _is_taken(progress, child_path(path, kind.body[0], started))
    ):
        progress.begin(kind.body[0], path, started)
        started, in_flight = started + 1, in_flight + 1
    progress.frames[path] = replace(frame, started=started, in_flight=in_flight)
    if in_flight:
        return
    if stopping:
        progress.fail(path, _first_failure(progress, kind, path, started))
    else:
        progress.complete(path, _loop_output(progress, kind, path, started, frame.failed))


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
        _set_branch_timer(progress, path, branch)
        progress.begin(branch.steps[0], path, branch=branch.name)


def _set_branch_timer(progress: Progress, path: str, branch: Branch) -> None:
    if branch.timeout_seconds is not None:
        due_at = progress.now + timedelta(seconds=min(branch.timeout_seconds, 10**9))
        progress.set_timer(branch_path(path, branch.name), due_at)


def _branch_went_on(progress: Progress, kind: ForkJoinStep, frame: ForkFrame, path: str, record: StepRecord) -> None:
    slot = progress.definition.steps[record.step_id].slot
    assert slot is not None
    assert slot.branch is not None
    if slot.branch not in frame.open:
        return
    steps = next(branch.steps for branch in kind.branches if branch.name == slot.branch)
    if record.status == "COMPLETED" and slot.index + 1 < len(steps):
        progress.begin(steps[slot.index + 1], path, branch=slot.branch)
        return
    progress.clear_timer(branch_path(path, slot.branch))
    _end_branch(progress, kind, path, slot.branch, failed=record.status == "FAILED")


def time_out_branch(progress: Progress, timer_path: str) -> bool:
    """End the branch whose timer this is; False when it has ended already."""
    for path, frame in progress.frames.items():
        if not isinstance(frame, ForkFrame):
            continue
        for name in frame.open:
            if branch_path(path, name) == timer_path:
                _time_out(progress, path, name)
                return True
    return False


def _time_out(progress: Progress, path: str, name: str) -> None:
    kind = progress.definition.steps[progress.steps[path].step_id].kind
    assert isinstance(kind, ForkJoinStep)
    limit = next(branch.timeout_seconds for branch in kind.branches if branch.name == name)
    message = f"branch {name!r} timed out after {limit} s"
    for open_path in progress.open_paths(below=f"{branch_path(path, name)}/"):
        progress.abandon(open_path, "FAILED", message)
    _end_branch(progress, kind, path, name, failed=True)


def _end_branch(progress: Progress, kind: ForkJoinStep, path: str, name: str, *, failed: bool) -> None:
    frame = progress.frames[path]
    assert isinstance(frame, ForkFrame)
    frame = ForkFrame(frame.open - {name}, frame.failed | {name} if failed else frame.failed)
    progress.frames[path] = frame
    if frame.open:
        return
    succeeded = len(kind.branches) - len(frame.failed)
    if succeeded >= kind.n_required:
        progress.complete(path, _fork_output(progress, kind, path, frame.failed))
        return
    told = "; ".join(
        f"branch {branch.name!r}: {_failure(_last_of_branch(progress, path, branch))}"
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
