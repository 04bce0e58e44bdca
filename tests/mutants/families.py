"""Which mutants cells of the fault grid ought to show, and in which order cells are tried on one. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.faults.grid.base import Base
from harness.faults.grid.cells import Cell
from harness.faults.points import Boundary, Fault, Kind
from tests.mutants.mutant import Mutant

_KILLS: Final[tuple[Kind, ...]] = ("kill_before", "kill_after")
_ZOMBIES: Final[tuple[Kind, ...]] = ("freeze_before", "freeze_after")
_LOST: Final[tuple[Kind, ...]] = ("drop_after", "error_lost")


@dataclass(frozen=True, slots=True)
class Family:
    """Mutants that break one of `clauses` (an area, as `CAN`, or one clause), and what shows them soonest. `workflows` are
    ready-made ones of the grid, and those below `tests/mutants/workflows`, which are about what a grid of a plain run is not. Each fault is done so many `times`, at its point and at each that follows."""

    name: str
    clauses: frozenset[str]
    workflows: tuple[str, ...]
    boundaries: frozenset[Boundary]
    kinds: frozenset[Kind]
    times: int = 1

    def has(self, mutant: Mutant) -> bool:
        """Whether the mutant breaks one of its clauses."""
        broken = (mutant.clause, *mutant.also)
        return any(clause in self.clauses or clause.partition("-")[0] in self.clauses for clause in broken)


FAMILIES: Final[Sequence[Family]] = (
    Family(
        "commits",
        frozenset(("RES-14", "RES-15", "RES-16", "GRP-04", "GRP-08", "DEL-01", "DEL-02", "DEL-03", "DEL-04")),
        ("sequential", "copies", "retry"),
        frozenset(("commit", "write", "offsets", "call")),
        frozenset((*_KILLS, *_LOST, "error_retriable")),
    ),
    Family(
        "refused commits",
        frozenset(("DEL-14",)),
        ("sequential",),
        frozenset(("commit",)),
        frozenset(("error_retriable", "deadlock")),
        times=8,
    ),
    Family(
        "publication",
        frozenset(("API-14", "MSG-11", "CMP-09", "DEL-07", "DEL-13", "AGT-22", "OBS")),
        ("sequential", "copies", "failed_step"),
        frozenset(("produce", "commit")),
        frozenset(_KILLS),
    ),
    Family(
        "ids",
        frozenset(("MSG-12", "MSG-13", "MSG-14", "RES-08", "RES-09", "RES-10", "CMP-08", "AGT-04", "API-36")),
        ("retry", "cancel_and_retry", "copies", "request_repeated", "two_runs"),
        frozenset(("produce", "commit", "call")),
        frozenset((*_KILLS, *_LOST)),
    ),
    Family(
        "fencing",
        frozenset(("GRP-05", "GRP-06", "GRP-07", "CAN-09", "OBS-05")),
        ("sequential", "late_answer"),
        frozenset(("write", "commit", "produce")),
        frozenset((*_ZOMBIES, "partition_kafka")),
    ),
    Family(
        "cancellation",
        frozenset(("CAN",)),
        (
            "late_answer",
            "cancel_by_message",
            "cancel_and_retry",
            "cancel_while_pending",
            "early_cancellation",
            "too_late_to_cancel",
            "cancel",
        ),
        frozenset(("commit", "produce", "offsets")),
        frozenset((*_KILLS, *_ZOMBIES)),
    ),
)


def families_of(mutant: Mutant) -> tuple[Family, ...]:
    """Those that a mutant belongs to; none when no fault at a point has anything to do with it."""
    return tuple(family for family in FAMILIES if family.has(mutant))


def workflows_of(mutant: Mutant) -> tuple[str, ...]:
    """The workflows that show it soonest."""
    return tuple(dict.fromkeys(workflow for family in families_of(mutant) for workflow in family.workflows))


def times_of(mutant: Mutant, cell: Cell) -> int:
    """How often the cell's fault is done, as the mutant's families want it."""
    return max((family.times for family in families_of(mutant) if cell.fault.do in family.kinds), default=1)


def repeated(base: Base, cell: Cell, times: int) -> Base:
    """The workflow with all of the cell's faults armed but the first: one at each of the crossings that follow its point."""
    at, do = cell.fault.at, cell.fault.do
    later = [{"fault": Fault(replace(at, nth=at.nth + more), do).written()} for more in range(1, times)]
    return replace(base, data={**base.data, "timeline": [*later, *base.data["timeline"]]})


def in_order(mutant: Mutant, cells: Iterable[Cell], seed: int) -> list[Cell]:
    """The likeliest cells first: in a process that the mutant lives in, of a boundary and a kind that its families name. Equal
    ones are mixed by the seed, so that no point and no kind has to wait for all of another."""
    draw = random.Random(f"cells {seed}")
    mixed = list(cells)
    draw.shuffle(mixed)
    families = families_of(mutant)
    return sorted(mixed, key=lambda cell: -_likeliness(mutant, families, cell))


def _likeliness(mutant: Mutant, families: Sequence[Family], cell: Cell) -> int:
    point = cell.fault.at
    at_home = point.role in mutant.roles
    named = max(
        ((cell.fault.do in family.kinds) * 2 + (point.boundary in family.boundaries) for family in families), default=0
    )
    return named * 2 + at_home


def of_families(mutants: Iterable[Mutant]) -> Mapping[str, Mutant]:
    """Name → mutant, of those that belong to a family."""
    return {mutant.name: mutant for mutant in mutants if families_of(mutant)}
