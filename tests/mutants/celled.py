"""python -m tests.mutants.celled: which cell of the fault grid shows each mutant about commits, publication, ids, fencing and
cancellation.

Of each mutant the workflows are run without a fault first: what fails there already needs no fault point to be seen. Then
cells are tried, the likeliest first, until one fails that the reference passes, and that fails once more where it may have
come of a machine with too much to do. Each result is added to a file as it comes, so that a session can be gone on with.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import click

from harness.faults.grid.base import Base, ready_made
from harness.faults.grid.bench import TrialBench
from harness.faults.grid.cells import Cell, Result, cells_of, points_in, points_of
from harness.faults.points import Point
from harness.subject import Subject
from harness.verdict import Outcome
from tests.mutants import subjects
from tests.mutants.bench import bench_maker
from tests.mutants.catalogue import MUTANTS
from tests.mutants.families import families_of, in_order, of_families, repeated, times_of, workflows_of
from tests.mutants.mutant import Mutant
from tests.mutants.one_by_one import chosen, table, try_each
from tests.mutants.stacks import StackKeeper
from tests.mutants.trial import DOUBTFUL

RESULTS: Final = subjects.ROOT / "results" / "celled"
WORKFLOWS: Final = Path(__file__).parent / "workflows"
PAGE: Final = subjects.ROOT / "docs" / "celled-mutants.md"
_CONSUMERS: Final = 2
_ENVIRONMENT: Final = {"KAFKA_SESSION_TIMEOUT_MS": "1500"}
_DEADLINE_SECONDS: Final = 15.0
_RECORDINGS: Final = 2

_HEAD: Final = """# Mutants and the fault points that show them

Written by `python -m tests.mutants.celled`; do not edit it. Each mutant about commits, publication, ids, fencing and
cancellation ran workflows of the [fault grid](fault-points.md), and some below `tests/mutants/workflows` that cancel, retry
and repeat more than those do, with a fault at one of their points after the other, the likeliest first, for {minutes:g} minutes
at most, until a cell failed that the reference passes. *Without a fault* stands where a workflow fails before any fault is done,
so that each of its cells does, too. *Failed* is the clause of a finding; *cells* are those that were tried.
"""


@dataclass(frozen=True)
class Celled:
    """`workflow`, `point` and `kind` are those of the cell that shows the mutant, None when none does; without `point` it is
    shown without a fault. `broken` is the clause of a finding; `trouble` says why nothing can be said."""

    mutant: str
    families: Sequence[str]
    clause: str
    cells: int = 0
    seconds: float = 0.0
    workflow: str | None = None
    point: str | None = None
    kind: str | None = None
    broken: str | None = None
    trouble: str | None = None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="NAME", help="Try this mutant alone; may be given several times.")
@click.option("--minutes", type=float, default=2.0, show_default=True, help="For each at most.")
@click.option("--resume", is_flag=True, help="Keep what is known already, and try the others.")
@click.option("--most", type=click.IntRange(1), help="Try so many at most, and leave the others to the next time.")
@click.option("--seed", type=int, default=0, show_default=True, help="Mixes cells that are equally likely.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), default=RESULTS, help="Where results go.")
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), default=PAGE, help="The table to write.")
def main(
    only: tuple[str, ...], minutes: float, resume: bool, most: int | None, seed: int, results: Path, page: Path
) -> None:
    """Have cells of the fault grid look for mutants, and write the table of which shows which."""
    belonging = of_families(MUTANTS)
    names = chosen(belonging.values(), only)
    stacks = StackKeeper()
    try:
        with Reference(results) as reference:

            def attempt(name: str) -> Celled:
                return celled(belonging[name], reference, stacks, results, minutes * 60, seed)

            if not resume:
                shutil.rmtree(results, ignore_errors=True)
            found = try_each(names, results / "celled.jsonl", Celled, attempt, _told, resume=resume, most=most)
    finally:
        stacks.drop()
    click.echo(summary(found))
    if not only:
        page.write_text(page_of(found, minutes), encoding="utf-8")


class Reference:
    """A context manager: the reference on a stack of its own, asked for fault points, and whether it passes a cell. What it
    was asked once is not carried out again."""

    def __init__(self, results: Path) -> None:
        self._directory = results / "reference"
        self._stacks = StackKeeper()
        self._bench: TrialBench | None = None
        self._ending = contextlib.ExitStack()
        self._points: dict[str, list[Point]] = {}
        self._passes: dict[tuple[str, ...], bool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()
        self._stacks.drop()

    def points(self, base: Base) -> list[Point]:
        """The fault points of a workflow. Raises RuntimeError when it does not pass without a fault."""
        if base.name not in self._points:
            recordings = []
            for _ in range(_RECORDINGS):
                outcome, recording = self._ready().record(base)
                if outcome.verdict != "passed":
                    raise RuntimeError(f"the reference does not pass {base.name} without a fault: {outcome.reason}")
                recordings.append(recording)
            self._points[base.name], _ = points_of(recordings)
        return self._points[base.name]

    def passes(self, base: Base, cell: Cell | None) -> bool:
        """Whether it passes a cell, or the workflow without a fault, by the clauses that the workflow names here."""
        known = (base.name if cell is None else cell.key, *base.data["clauses"], str(len(base.data["timeline"])))
        if known not in self._passes:
            bench = self._ready()
            outcome = bench.record(base)[0] if cell is None else bench.attempt(base, cell).outcome
            self._passes[known] = outcome.verdict == "passed"
        return self._passes[known]

    def _ready(self) -> TrialBench:
        if self._bench is None:
            make = bench_maker(
                Subject.load(subjects.REFERENCE), self._directory, self._stacks, consumers=_CONSUMERS,
                environment=_ENVIRONMENT,
            )  # fmt: skip
            self._bench = self._ending.enter_context(TrialBench(make, self._directory))
        return self._bench


def celled(
    mutant: Mutant, reference: Reference, stacks: StackKeeper, results: Path, seconds: float, seed: int
) -> Celled:
    """Look for a cell that shows a mutant, for so long."""
    nothing = Celled(mutant.name, [family.name for family in families_of(mutant)], mutant.clause)
    directory = results / mutant.name
    try:
        with tempfile.TemporaryDirectory(prefix="plumbline-celled-") as folder:
            subject = Subject.load(subjects.write(mutant.name, Path(folder)))
            consumers = max(_CONSUMERS, mutant.processes)
            make = bench_maker(subject, directory, stacks, consumers=consumers, environment=_ENVIRONMENT)
            with TrialBench(make, directory, most_tries=1) as bench:
                return _Search(mutant, nothing, bench, reference, seconds, seed).find()
    except Exception as error:
        # A mutant that breaks the harness is no success, and must not end the session.
        return replace(nothing, trouble=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


class _Search:
    """Of one mutant, on one bench."""

    def __init__(
        self, mutant: Mutant, nothing: Celled, bench: TrialBench, reference: Reference, seconds: float, seed: int
    ) -> None:
        self._mutant = mutant
        self._nothing = nothing
        self._bench = bench
        self._reference = reference
        self._seconds = seconds
        self._seed = seed
        self._spent = 0.0
        self._in_cells = 0.0
        self._tried = 0

    def find(self) -> Celled:
        """The workflows that show it soonest together, then each of the others."""
        likely = workflows_of(self._mutant)
        for names in (likely, *((name,) for name in ready_made() if name not in likely)):
            if (found := self._in(names)) is not None:
                return found
            if self._in_cells >= self._seconds:
                break
        return self._told()

    def _in(self, names: Sequence[str]) -> Celled | None:
        bases: Mapping[str, Base] = {name: workflow(name, self._mutant) for name in names}
        cells: list[Cell] = []
        for base in bases.values():
            of_reference = self._reference.points(base)
            begun = time.monotonic()
            outcome, recording = self._bench.record(base)
            if outcome.verdict == "failed":
                outcome, recording = self._bench.record(base)
            self._spent += time.monotonic() - begun
            if outcome.verdict == "failed" and self._reference.passes(base, None):
                return self._told(outcome, base.name)
            own = set(points_in(recording.crossings))
            cells += cells_of(base.name, [point for point in of_reference if point in own])
        for cell in in_order(self._mutant, cells, self._seed):
            if self._in_cells >= self._seconds:
                return None
            base = repeated(bases[cell.workflow], cell, times_of(self._mutant, cell))
            if (result := self._failed(base, cell)) is not None:
                return self._told(result.outcome, cell.workflow, cell)
        return None

    def _failed(self, base: Base, cell: Cell) -> Result | None:
        """What came of the cell, if it fails, and counts."""
        begun = time.monotonic()
        self._tried += 1
        result = self._bench.attempt(base, cell)
        anomalies = {finding.anomaly for finding in result.outcome.findings}
        if result.outcome.verdict == "failed" and anomalies <= DOUBTFUL:
            result = self._bench.attempt(base, cell)
        self._in_cells += time.monotonic() - begun
        if result.outcome.verdict != "failed" or not self._reference.passes(base, cell):
            return None
        return result

    def _told(self, outcome: Outcome | None = None, workflow: str | None = None, cell: Cell | None = None) -> Celled:
        broken = [] if outcome is None else [finding.clause for finding in outcome.findings]
        named = [one for one in (self._mutant.clause, *self._mutant.also) if one in broken]
        return replace(
            self._nothing,
            cells=self._tried,
            seconds=round(self._spent + self._in_cells, 1),
            workflow=workflow,
            point=None if cell is None else str(cell.fault.at),
            kind=None if cell is None else _kind(cell, times_of(self._mutant, cell)),
            broken=next(iter([*named, *broken]), None),
        )


def workflow(name: str, mutant: Mutant) -> Base:
    """A workflow of the grid, or one below `tests/mutants/workflows`, that judges the mutant's clauses as well, those that need
    not be kept among them, and has little time: what a mutant has not done by then it does not do."""
    base = Base.find(name if name in ready_made() else str(WORKFLOWS / f"{name}.yaml"))
    clauses = list(dict.fromkeys((*base.data["clauses"], mutant.clause, *mutant.also)))
    return replace(base, data={**base.data, "clauses": clauses, "deadline_seconds": _DEADLINE_SECONDS})


def _kind(cell: Cell, times: int) -> str:
    return cell.fault.do if times == 1 else f"{cell.fault.do}, {times} times"


def _told(one: Celled) -> str:
    if one.trouble is not None:
        return f"{one.mutant}: {one.trouble}"
    if one.workflow is None:
        return f"{one.mutant}: not shown by {one.cells} cells in {one.seconds:.0f} s"
    where = f"{one.point}, {one.kind}" if one.point is not None else "without a fault"
    return f"{one.mutant}: {one.workflow}, {where} ({one.broken}; {one.cells} cells, {one.seconds:.0f} s)"


def summary(found: Sequence[Celled]) -> str:
    """What came of all of them, in a sentence."""
    counts = Counter(
        "trouble"
        if one.trouble
        else "not shown"
        if not one.workflow
        else "by a cell"
        if one.point
        else "without a fault"
        for one in found
    )
    told = (
        f"{counts['by a cell']} of {len(found)} mutants are shown by a cell, {counts['without a fault']} by a workflow of the grid "
        f"without a fault"
    )
    missed = [f"`{one.mutant}`" for one in found if one.workflow is None]
    return f"{told}; {len(missed)} are not shown{': ' + ', '.join(missed) if missed else ''}."


def page_of(found: Sequence[Celled], minutes: float) -> str:
    """The table as a page of the docs."""
    wrong = {mutant.name: mutant.wrong for mutant in MUTANTS}
    head = (
        "mutant",
        "about",
        "what is wrong",
        "clause",
        "workflow",
        "fault point",
        "fault",
        "failed",
        "cells",
        "seconds",
    )
    rows = [
        (
            f"`{one.mutant}`", ", ".join(one.families), wrong[one.mutant], one.clause, one.workflow or one.trouble or "not shown",
            one.point or ("without a fault" if one.workflow else None), one.kind and f"`{one.kind}`", one.broken, one.cells,
            f"{one.seconds:.0f}",
        )
        for one in found
    ]  # fmt: skip
    return "\n".join([_HEAD.format(minutes=minutes), summary(found), "", *table(head, rows), ""])


if __name__ == "__main__":
    main()
