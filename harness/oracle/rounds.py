"""The vocabulary of rounds: where a step runs, what becomes of it there, and what one round of a run comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[tuple[int | str | None, str], ...]
"""Where a step runs, from the top: (iteration, branch or None, step) of each step around it, and its own."""


def shown_path(path: Path) -> str:
    """A path for people: `a`, `p/x`, `l[3]/x`, `f:left/x`."""
    text = ""
    for place, step in path:
        text += f"[{place}]" if isinstance(place, int) else f":{place}" if place is not None else ""
        text += f"/{step}" if text else step
    return text


@dataclass(frozen=True, slots=True)
class Execution:
    """What becomes of a step at one place.

    `statuses` are all that it may end with; `said` is what its error_message must hold. `is_asked`: a task is published
    for it. `is_kept`: it was COMPLETED before the retry that this round is of.
    """

    path: Path
    step: str
    statuses: frozenset[str]
    input: Any = None
    output: Any = None
    said: str = ""
    may_be_absent: bool = False
    is_asked: bool = False
    is_kept: bool = False


@dataclass(frozen=True)
class Round:
    """One round of a run: from its start, or from a retry, to its end. `causes` are (step, what its agent said) of the
    failures that the run's error_message may be about; `calls` counts the agents' calls of this and all rounds before."""

    status: str
    executions: Mapping[Path, Execution]
    causes: tuple[tuple[str, str], ...]
    calls: Mapping[str, int]

    @property
    def completed(self) -> dict[Path, Execution]:
        """What a retry keeps."""
        return {path: one for path, one in self.executions.items() if one.statuses == {"COMPLETED"}}


def is_inside(path: Path, around: Path) -> bool:
    """Whether a path lies within another one."""
    return len(path) > len(around) and path[: len(around)] == around


def is_in_branch(path: Path, fork: Path, name: str) -> bool:
    """Whether a path lies in that branch of a fork_join."""
    return is_inside(path, fork) and path[len(fork)][0] == name
