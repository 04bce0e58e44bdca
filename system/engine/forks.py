"""The fork_join step: branches side by side, judged once each has ended or its time is over (contract section 4)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from system.engine.definition import Branch, ForkJoinStep
from system.engine.state import ForkFrame, StepRecord, branch_path, child_path
from system.engine.values import quoted

if TYPE_CHECKING:
    from system.engine.progress import Progress


def open_fork(progress: Progress, kind: ForkJoinStep, path: str) -> None:
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


def went_on(progress: Progress, kind: ForkJoinStep, path: str, record: StepRecord) -> None:
    slot = progress.definition.steps[record.step_id].slot
    assert slot is not None
    assert slot.branch is not None
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
        f"branch {quoted(branch.name)}: {_last_of_branch(progress, path, branch).failure}"
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
