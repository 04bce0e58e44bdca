"""Every status that a run or a step can have, and every way from one to another: the one table that says so.

Sources: contract sections 2 (tables) and 6 (behaviour). A step's CANCELLED is an extension.
"""

from __future__ import annotations

from typing import Literal

RunStatus = Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]
StepStatus = Literal["RUNNING", "COMPLETED", "FAILED", "CANCELLED"]

RUN_TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    "PENDING": frozenset(("RUNNING", "FAILED", "CANCELLED")),
    "RUNNING": frozenset(("COMPLETED", "FAILED", "CANCELLED")),
    "COMPLETED": frozenset(),
    # Only an accepted retry, which whoever accepts it writes to the run's row, leads out of these two.
    "FAILED": frozenset(("PENDING",)),
    "CANCELLED": frozenset(("PENDING",)),
}
TERMINAL: frozenset[RunStatus] = frozenset(("COMPLETED", "FAILED", "CANCELLED"))

STEP_TRANSITIONS: dict[StepStatus | None, frozenset[StepStatus]] = {
    # A step whose input cannot be resolved fails without ever having run.
    None: frozenset(("RUNNING", "FAILED")),
    "RUNNING": frozenset(("COMPLETED", "FAILED", "CANCELLED")),
    "COMPLETED": frozenset(),
    "FAILED": frozenset(),
    "CANCELLED": frozenset(),
}
STEP_ENDED: frozenset[StepStatus] = frozenset(("COMPLETED", "FAILED", "CANCELLED"))


class IllegalTransition(AssertionError):
    """The engine tried what its own table forbids: a defect of the engine, never of its input."""


def check_run(old: RunStatus, new: RunStatus) -> None:
    """Raise IllegalTransition unless a run may go from `old` to `new`."""
    if new not in RUN_TRANSITIONS[old]:
        raise IllegalTransition(f"a run does not go from {old} to {new}")


def check_step(old: StepStatus | None, new: StepStatus) -> None:
    """Raise IllegalTransition unless a step's execution may go from `old` (None: not begun) to `new`."""
    if new not in STEP_TRANSITIONS[old]:
        raise IllegalTransition(f"a step does not go from {old or 'not begun'} to {new}")
