"""``plumbline faults``: stops a subject at every moment that matters, and says which of them it does not survive."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
from kafka.errors import KafkaError
from rich.console import Console

from harness.cli import variables
from harness.document import MistakesFound
from harness.faults.grid import page
from harness.faults.grid.base import Base, UnusableWorkflow, ready_made
from harness.faults.grid.bench import MakeBench, TrialBench
from harness.faults.grid.cells import Result, Results
from harness.faults.grid.shrink import shrink_cell
from harness.faults.grid.work import Grid, Plan, WorkflowFails
from harness.faults.points import ABOUT, KINDS, Kind, Point
from harness.runner.errors import NotSupported
from harness.runner.place import FAULT_POINT_STACKS, StackKind, bench_maker
from harness.stack import StackError
from harness.subject import Subject, SubjectError

_MARKS: Final = {"passed": "✓", "failed": "✗", "unknown": "?", "not supported": "-"}
FAILED, UNUSABLE, UNKNOWN = 1, 2, 3
_MOST_SHRUNK: Final = 5


@click.command(epilog="Kinds: " + "; ".join(f"{kind}: {about}" for kind, about in ABOUT.items()) + ".")
@click.argument("subject_file", metavar="SUBJECT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--workflow", "workflows", multiple=True, default=("sequential",), show_default=True, metavar="NAME|FILE",
    help=f"One of {', '.join(ready_made())}, `all` of them, or a scenario file without faults; may be repeated.",
)  # fmt: skip
@click.option("--consumers", default=2, show_default=True, type=click.IntRange(1, 5), help="Consumers of the subject.")
@click.option("--kinds", default="", metavar="KIND,…", help="Only these kinds of faults. [default: all]")
@click.option("--points", "words", multiple=True, metavar="TEXT", help="Only fault points whose name has this text.")
@click.option("--again", is_flag=True, help="Have each fault done once more during the recovery from it.")
@click.option("--limit", type=click.IntRange(1), help="So many cells at most.")
@click.option("--sample", type=click.IntRange(1), help="So many cells, spread over all workflows, points and kinds.")
@click.option("--seed", default=0, show_default=True, help="Draws the sample.")
@click.option("--jobs", default=3, show_default=True, type=click.IntRange(1, 16), help="Stacks at work side by side.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A variable for the subject's processes.")
@click.option(
    "--stack", type=click.Choice(FAULT_POINT_STACKS), default="embedded", show_default=True, help="Whose Kafka and PostgreSQL."
)  # fmt: skip
@click.option("--fresh", is_flag=True, help="Begin anew instead of going on with what an earlier session has left.")
@click.option("--shrink", is_flag=True, help="Make what fails smaller, and write it as a scenario file.")
@click.option("--stop-at-first", is_flag=True, help="Begin no further cell once one has failed.")
@click.option(
    "--results", "directory", type=click.Path(file_okay=False, path_type=Path), default=Path("results/faults"),
    show_default=True, help="Where results, scenario files and histories are written.",
)  # fmt: skip
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page. [default: report.html among the results]",
)
def faults(
    subject_file: Path, workflows: tuple[str, ...], consumers: int, kinds: str, words: tuple[str, ...], again: bool,
    limit: int | None, sample: int | None, seed: int, jobs: int, settings: tuple[str, ...], stack: StackKind, fresh: bool,
    shrink: bool, stop_at_first: bool, directory: Path, report: Path | None,
) -> None:  # fmt: skip
    """Run a workflow on SUBJECT, find every moment at which something takes effect in Kafka, PostgreSQL or at an agent, and
    then, for each of them and each kind of fault, run it again with that fault there.

    \b
    Exit codes:
      0  every cell passed
      1  a cell failed
      2  the command line, the subject's file or the workflow cannot be used, or the workflow fails without any fault
      3  nothing failed, but of some cell it is not known whether it would
    """
    console = Console()
    plan = Plan(_kinds(kinds), words, again, limit, sample, seed, jobs, stop_at_first)
    subject, bases = _read(subject_file, workflows)
    results = Results(directory / "cells.jsonl")
    if fresh:
        results.path.unlink(missing_ok=True)
        results = Results(results.path)
    environment = variables.environment(settings)
    make = bench_maker(subject, stack, counts={"consumer": consumers}, environment=environment)
    display = _Display(console, subject_file)
    begun = time.monotonic()
    try:
        Grid(bases, make, plan, results, directory).carry_out(display)
    except WorkflowFails as error:
        console.print(f"{error}; see {error.outcome.history}", markup=False, highlight=False)
        sys.exit(UNUSABLE)
    except (StackError, SubjectError, NotSupported, KafkaError) as error:
        console.print(str(error), markup=False, highlight=False)
        sys.exit(UNUSABLE)
    found = [result for base in bases for result in results.all.values() if result.cell.workflow == base.name]
    page.write(found, subject, display.notes, directory, report or directory / "report.html")
    if shrink:
        _shrink(found, bases, subject, make, directory, console)
    _conclude(found, console, time.monotonic() - begun, report or directory / "report.html")


def _shrink(
    found: Sequence[Result], bases: Sequence[Base], subject: Subject, make: MakeBench, directory: Path, console: Console
) -> None:
    """Make the first cell of each kind of failure smaller, and write it as a scenario file."""
    by_name = {base.name: base for base in bases}
    seen: set[tuple[str, ...]] = set()
    with TrialBench(make, directory / "shrinking") as bench:
        for result in [one for one in found if one.outcome.verdict == "failed"]:
            signs = tuple(sorted({finding.anomaly for finding in result.outcome.findings}))
            if signs in seen or len(seen) >= _MOST_SHRUNK:
                continue
            seen.add(signs)
            console.print(f"Making {result.cell.key} smaller", markup=False, highlight=False)
            shrunk = shrink_cell(result, by_name[result.cell.workflow], subject.name, bench, directory, _sayer(console))
            console.print(shrunk.read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
            console.print(f"stands in {shrunk}", markup=False, highlight=False, soft_wrap=True)


def _sayer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)


def _read(subject_file: Path, workflows: Sequence[str]) -> tuple[Subject, list[Base]]:
    named = [one for word in workflows for one in (ready_made() if word == "all" else [word])]
    try:
        return Subject.load(subject_file), [Base.find(word) for word in dict.fromkeys(named)]
    except MistakesFound as found:
        click.echo(str(found), err=True)
        sys.exit(UNUSABLE)
    except UnusableWorkflow as error:
        raise click.UsageError(str(error)) from error


def _kinds(text: str) -> tuple[Kind, ...]:
    wanted = [word.strip() for word in text.split(",") if word.strip()]
    if unknown := [word for word in wanted if word not in KINDS]:
        raise click.UsageError(f"no kind of fault is called {', '.join(unknown)}; expected some of {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if not wanted or kind in wanted)


class _Display:
    """A line for each cell, with the rate so far; what fails is told at once."""

    def __init__(self, console: Console, subject_file: Path) -> None:
        self._console = console
        self._subject_file = subject_file
        self._lock = threading.Lock()
        self._total = 0
        self._done = 0
        self._begun: float | None = None
        self.notes: dict[str, list[str]] = {}
        """Workflow → what is to be said of its fault points."""

    def points(self, workflow: str, points: Sequence[Point], unstable: int) -> None:
        """The fault points of a workflow were found."""
        left_out = f"; {unstable} further ones depend on timing and are left out" if unstable else ""
        self.notes[workflow] = [f"{len(points)} fault points{left_out}."]
        self._say(f"{workflow}: {len(points)} fault points{left_out}")

    def more(self, cells: int) -> None:
        """So many cells more are to be tried."""
        with self._lock:
            self._total += cells

    def tell(self, result: Result) -> None:
        """A cell was tried."""
        with self._lock:
            self._done += 1
            self._begun = self._begun if self._begun is not None else time.monotonic() - result.outcome.seconds
            rate = self._done / max(0.1, time.monotonic() - self._begun) * 60
            outcome = result.outcome
            self._say(
                f"[{self._done}/{self._total}] {_MARKS[outcome.verdict]} {result.cell.key} ({outcome.seconds:.1f} s, "
                f"{rate:.0f} a minute)"
            )
            if outcome.verdict != "passed":
                again = page.command(self._subject_file, result)
                self._say(f"    {outcome.reason}\n    history: {outcome.history}\n    again:   {again}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _conclude(found: Sequence[Result], console: Console, seconds: float, report: Path) -> None:
    counts = Counter(result.outcome.verdict for result in found)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "nothing was tried"
    tries = sum(result.tries - 1 for result in found)
    missed = f"{tries} tries missed their fault point and were repeated"
    text = f"{len(found)} cells: {told}; {missed}; {seconds / 60:.1f} minutes; see {report}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    if counts["failed"]:
        sys.exit(FAILED)
    sys.exit(UNKNOWN if counts["unknown"] or not found else 0)
