"""Carries a grid out: points are recorded, then trials are done by several benches side by side."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from harness.faults.grid.base import Base
from harness.faults.grid.bench import MakeBench, TrialBench
from harness.faults.grid.cells import Cell, Result, Results, cells_of, points_of, spread
from harness.faults.points import KINDS, Kind, Point
from harness.verdict import Outcome

log = logging.getLogger(__name__)

_RECORDINGS: Final = 2
_WAIT_SECONDS: Final = 0.5


class WorkflowFails(Exception):
    """The workflow does not pass without any fault, so that a grid of it would say nothing."""

    def __init__(self, name: str, outcome: Outcome) -> None:
        super().__init__(f"the workflow {name} does not pass without a fault: {outcome.verdict}, {outcome.reason}")
        self.outcome = outcome


class Display(Protocol):
    """Hears how a grid gets on, from any thread."""

    def points(self, workflow: str, points: Sequence[Point], unstable: int) -> None:
        """The fault points of a workflow were found."""

    def more(self, cells: int) -> None:
        """So many cells more are to be tried."""

    def tell(self, result: Result) -> None:
        """A cell was tried."""


@dataclass(frozen=True)
class Plan:
    """What is to be done: which kinds of faults, at which points (their text holds one of `words`; none is all), whether
    during recovery once more, and how many cells at most: the first ones (`limit`), or a sample that is spread over all of them
    and drawn by the seed."""

    kinds: Sequence[Kind] = KINDS
    words: Collection[str] = ()
    again: bool = False
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    jobs: int = 2
    stop_at_first: bool = False

    def wants(self, point: Point) -> bool:
        """Whether a point is meant."""
        return not self.words or any(word in str(point) for word in self.words)


class Grid:
    """One session. `carry_out` may be interrupted; a later session with the same results goes on from there."""

    def __init__(self, bases: Sequence[Base], make: MakeBench, plan: Plan, results: Results, directory: Path) -> None:
        self._bases: Mapping[str, Base] = {base.name: base for base in bases}
        self._make = make
        self._plan = plan
        self._results = results
        self._directory = directory
        self._changed = threading.Condition()
        self._waiting: deque[Cell] = deque()
        self._begun = 0
        self._busy = 0
        self._stopped = False

    def carry_out(self, display: Display) -> None:
        """Record, enumerate and try.

        Raises:
            WorkflowFails: a workflow does not pass even without a fault.
            StackError, SubjectError, NotSupported: a bench cannot be made.
        """
        with ThreadPoolExecutor(self._plan.jobs, thread_name_prefix="grid") as pool:
            first = TrialBench(self._make, self._directory)
            with first:
                cells = [cell for base in self._bases.values() for cell in self._enumerate(base, first, display)]
                if self._plan.sample is not None:
                    cells = spread(cells, self._plan.sample, self._plan.seed)
                for cell in cells:
                    self._add(cell, display)
                others = [pool.submit(self._work, None, display) for _ in range(self._plan.jobs - 1)]
                try:
                    self._work(first, display)
                except BaseException:
                    self.stop()
                    raise
                for other in others:
                    other.result()

    def stop(self) -> None:
        """Begin no further cell."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _enumerate(self, base: Base, bench: TrialBench, display: Display) -> list[Cell]:
        recordings = []
        for _ in range(_RECORDINGS):
            outcome, recording = bench.record(base)
            if outcome.verdict != "passed":
                raise WorkflowFails(base.name, outcome)
            recordings.append(recording)
        points, unstable = points_of(recordings)
        points = [point for point in points if self._plan.wants(point)]
        display.points(base.name, points, unstable)
        return cells_of(base.name, points, self._plan.kinds)

    def _add(self, cell: Cell, display: Display) -> None:
        with self._changed:
            known = self._results.all.get(cell.key)
            if known is not None and self._results.has_settled(cell.key):
                self._follow(known, display)
                return
            if self._plan.limit is None or self._begun < self._plan.limit:
                self._begun += 1
                self._waiting.append(cell)
                display.more(1)
                self._changed.notify()

    def _follow(self, result: Result, display: Display) -> None:
        """The cell of the recovery that was seen after this one."""
        if self._plan.again and not result.cell.is_again and result.recovery is not None:
            fault = result.cell.fault
            then = replace(fault, at=result.recovery, then=None)
            self._add(Cell(result.cell.workflow, replace(fault, then=then)), display)

    def _work(self, bench: TrialBench | None, display: Display) -> None:
        if bench is None:
            with TrialBench(self._make, self._directory) as own:
                self._work(own, display)
            return
        while (cell := self._next()) is not None:
            try:
                attempt = bench.attempt_again if cell.is_again else bench.attempt
                result = attempt(self._bases[cell.workflow], cell)
            except BaseException:
                with self._changed:
                    self._busy -= 1
                    self._stopped = True
                    self._changed.notify_all()
                raise
            with self._changed:
                self._results.add(result)
                display.tell(result)
                if result.outcome.verdict == "failed" and self._plan.stop_at_first:
                    self._stopped = True
                self._follow(result, display)
                self._busy -= 1
                self._changed.notify_all()

    def _next(self) -> Cell | None:
        """The next cell; waits while others are at work that may bring further ones."""
        with self._changed:
            while not self._stopped:
                if self._waiting:
                    self._busy += 1
                    return self._waiting.popleft()
                if not self._busy:
                    return None
                self._changed.wait(_WAIT_SECONDS)
            return None
