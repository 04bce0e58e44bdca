"""The cells of a grid, what came of each, and the file that keeps that."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.faults.director import Recording
from harness.faults.points import KINDS, Crossing, Fault, Kind, Point, applies
from harness.runner import records
from harness.verdict import Outcome

_EFFECTS: Final = frozenset(("produce", "transaction", "commit", "call"))
_OFFSETS: Final = _EFFECTS | {"offsets"}
_MOST_HEARTBEATS: Final = 2


@dataclass(frozen=True)
class Cell:
    """One trial of a grid: a fault in a workflow; `is_again` for one whose fault is done once more during recovery."""

    workflow: str
    fault: Fault

    @property
    def is_again(self) -> bool:
        """Whether a second fault follows."""
        return self.fault.then is not None

    @property
    def key(self) -> str:
        """What the cell is called, the same in every session: workflow, point, kind, once or again."""
        again = "again" if self.is_again else "once"
        return f"{self.workflow}/{self.fault.at}/{self.fault.do}/{again}"


@dataclass(frozen=True)
class Result:
    """What came of a cell. `tries` is how often it was tried, since its point was not reached; `recovery` the point that the
    recovery after the fault was seen to reach first, None when it reached none."""

    cell: Cell
    outcome: Outcome
    tries: int
    recovery: Point | None = None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "key": self.cell.key,
            "workflow": self.cell.workflow,
            "fault": self.cell.fault.written(),
            "tries": self.tries,
            "recovery": self.recovery.written() if self.recovery is not None else None,
            "outcome": records.to_json(self.outcome),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """The result that `to_json` made this of."""
        recovery = data["recovery"]
        return cls(
            Cell(data["workflow"], Fault.read(data["fault"])),
            records.from_json(data["outcome"]),
            data["tries"],
            Point.read(recovery) if recovery is not None else None,
        )


def points_of(recordings: Sequence[Recording]) -> tuple[list[Point], int]:
    """The fault points that every recording of the same workflow has, in the order of the first one, and how many others
    some of them have: those depend on timing too much to be found again."""
    each = [points_in(recording.crossings) for recording in recordings]
    common = set.intersection(*map(set, each))
    everywhere = set.union(*map(set, each))
    return [point for point in each[0] if point in common], len(everywhere - common)


def points_in(crossings: Iterable[Crossing]) -> list[Point]:
    """The fault points of a row of crossings: each is the nth of its role, boundary and name."""
    seen: list[Crossing] = []
    found: dict[Point, None] = {}
    crossings = list(crossings)
    idle = _idle_writes(crossings)
    for crossing in crossings:
        seen.append(crossing)
        if crossing.boundary == "write" and (crossing.role, crossing.name) in idle:
            continue
        point = Point(crossing.role, crossing.boundary, 1, crossing.name)
        nth = sum(point.fits(one) for one in seen)
        if crossing.boundary == "heartbeat" and nth > _MOST_HEARTBEATS:
            continue
        found[Point(point.role, point.boundary, nth, point.of)] = None
    return list(found)


def _idle_writes(crossings: Sequence[Crossing]) -> set[tuple[str, str | None]]:
    """Role and name of writes that some transactions of theirs make without changing anything in the end, as polling does:
    how many there are is a matter of time."""
    found = set()
    for index, crossing in enumerate(crossings):
        if crossing.boundary == "write":
            own = [one for one in crossings[index + 1 :] if one.process == crossing.process]
            following = next((one for one in own if one.boundary in ("write", "commit")), None)
            if following is None or following.boundary == "write" or not set(crossing.names) & set(following.names):
                found.add((crossing.role, crossing.name))
    return found


def recovery_of(recording: Recording, role: str) -> Point | None:
    """Where a recovery is hit: the first effect after the fault by the role that it befell (offsets, which are committed in
    the background, only when there is no other), else the first crossing of that role, else the first effect of any other."""
    if not recording.marks:
        return None
    after = recording.crossings[recording.marks[0] :]
    wanted: tuple[Callable[[Crossing], bool], ...] = (
        lambda one: one.role == role and one.boundary in _EFFECTS,
        lambda one: one.role == role and one.boundary in _OFFSETS,
        lambda one: one.role == role and one.boundary != "heartbeat",
        lambda one: one.boundary in _OFFSETS,
    )
    for is_wanted in wanted:
        for index, crossing in enumerate(after):
            if is_wanted(crossing):
                point = Point(crossing.role, crossing.boundary, 1, crossing.name)
                return Point(point.role, point.boundary, sum(map(point.fits, after[: index + 1])), point.of)
    return None


def cells_of(workflow: str, points: Iterable[Point], kinds: Sequence[Kind] = KINDS) -> list[Cell]:
    """A cell for each point and each kind of fault that its protocol has."""
    return [Cell(workflow, Fault(point, kind)) for point in points for kind in kinds if applies(kind, point.boundary)]


def spread(cells: Sequence[Cell], count: int, seed: int) -> list[Cell]:
    """So many of the cells at most, drawn by a seed and spread out: each next one has the workflow, kind of fault, role and
    boundary that have come least often so far."""
    left = list(cells)
    random.Random(f"sample {seed}").shuffle(left)
    seen: Counter[str] = Counter()
    found: list[Cell] = []
    while left and len(found) < count:
        chosen = min(left, key=lambda cell: sum(seen[trait] for trait in _traits(cell)))
        left.remove(chosen)
        seen.update(_traits(chosen))
        found.append(chosen)
    return found


def _traits(cell: Cell) -> tuple[str, ...]:
    point = cell.fault.at
    return cell.workflow, cell.fault.do, f"{point.role} {point.boundary}"


class Results:
    """A file of results, one JSON object a line, appended as they come; the last one of a key counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: dict[str, Result] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                result = Result.from_json(json.loads(line))
                self.all[result.cell.key] = result

    def add(self, result: Result) -> None:
        """Keep one more."""
        self.all[result.cell.key] = result
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result.to_json()) + "\n")

    def has_settled(self, key: str) -> bool:
        """Whether it is known already whether the cell passes."""
        return key in self.all and self.all[key].outcome.verdict in ("passed", "failed", "not supported")
