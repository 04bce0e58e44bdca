"""python -m tests.mutants.explored: how long `plumbline explore` alone takes to find each mutant, and how small it gets it.

Nothing is told to explore but the mutant's subject file. What comes out is tried on the mutant (explore does so itself)
and on the reference, which must pass it. Each result is added to a file as it comes, so that a session can be gone on
with.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import click
from ruamel.yaml import YAML

from tests.mutants import subjects
from tests.mutants.beyond import BEYOND
from tests.mutants.catalogue import MUTANTS
from tests.mutants.one_by_one import chosen, table, try_each

RESULTS = subjects.ROOT / "results" / "explored"
RECORD = Path(__file__).with_name("explored.jsonl")
"""What is known of each, kept with the code: to try every mutant takes hours, and is gone on with another time."""

PAGE = subjects.ROOT / "docs" / "explored-mutants.md"
_PLUMBLINE = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", "from harness.cli.commands import main; main()"]
_ATTEMPTS = ([], ["--leave-processes-alone"], [])
_WORTHWHILE_SECONDS = 30.0
_STARTING_SECONDS = 180.0
"""What an exploration may take beyond its time and that of shrinking: a stack and a subject start and stop."""

_under_way: set[subprocess.Popen[str]] = set()

_HEAD = """# What `plumbline explore` finds by itself

Written by `python -m tests.mutants.explored`; do not edit it. Each mutant was explored with nothing known of it, until a run
was not as the contract allows, for {minutes:g} minutes at most. What was found is the smallest scenario file that came of
it: *steps* are those of its workflow, *acts* all of its timeline but the one that asks for the run. It has to fail on the
mutant and to pass on the reference.
"""

_BEYOND = """## What it does not reach

{number} mutants are wrong in something that no generated case asks for. Scenario files and planned faults kill them
([What the mutants say](mutants.md)).
"""


@dataclass(frozen=True)
class Explored:
    """`found_seconds` is None when nothing was found within the time; `trouble` why nothing can be said."""

    mutant: str
    runs: int = 0
    found_seconds: float | None = None
    clause: str | None = None
    steps: int | None = None
    acts: int | None = None
    fails_on_mutant: bool | None = None
    passes_on_reference: bool | None = None
    trouble: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the file that came out is what it ought to be."""
        return bool(self.fails_on_mutant and self.passes_on_reference)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="NAME", help="Explore this mutant alone; may be given several times.")
@click.option("--minutes", type=float, default=5.0, show_default=True, help="For each at most.")
@click.option("--shrink-seconds", type=int, default=60, show_default=True)
@click.option("--resume", is_flag=True, help="Keep what is known already, and explore the others.")
@click.option("--most", type=click.IntRange(1), help="Explore so many at most, and leave the others to the next time.")
@click.option("--at-once", type=click.IntRange(1, 16), default=1, show_default=True, help="Mutants explored at a time.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), default=RESULTS, help="Where results go.")
@click.option(
    "--record", type=click.Path(dir_okay=False, path_type=Path), default=RECORD, help="What is known of each."
)
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), default=PAGE, help="The table to write.")
def main(
    only: tuple[str, ...],
    minutes: float,
    shrink_seconds: int,
    resume: bool,
    most: int | None,
    at_once: int,
    results: Path,
    record: Path,
    page: Path,
) -> None:
    """Have explore look for the mutants, and write the table of what it found."""
    names = [name for name in chosen(MUTANTS, only) if only or name not in BEYOND]
    signal.signal(signal.SIGTERM, _end_all)

    def attempt(name: str) -> Explored:
        return explored(name, results, minutes * 60, shrink_seconds)

    if not resume:
        shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True, exist_ok=True)
    ordered = try_each(names, record, Explored, attempt, _told, resume=resume, most=most, at_once=at_once)
    click.echo(summary(ordered))
    if not only:
        page.write_text(_page(ordered, minutes), encoding="utf-8")


def _end_all(number: int, _: object) -> None:
    """Who is told to end tells its explorations, which have sessions of their own and end their stacks in order."""
    for process in [*_under_way]:
        process.terminate()
    raise SystemExit(128 + number)


def explored(name: str, results: Path, seconds: float, shrink_seconds: float) -> Explored:
    """Explore one mutant, and try what came out on the reference. When the file that comes out does not fail on the mutant, as
    may be when it takes a death at the right moment, it is explored again in the time that is left."""
    spent = 0.0
    runs = 0
    best: Explored | None = None
    for seed, options in enumerate(_ATTEMPTS):
        one = _explored_once(name, results / name, seconds - spent, shrink_seconds, ["--seed", str(seed), *options])
        runs += one.runs
        spent += one.found_seconds or seconds
        if one.found_seconds is not None:
            best = replace(one, runs=runs, found_seconds=round(spent, 3))
        if best is None or one.found_seconds is None or one.is_whole or seconds - spent < _WORTHWHILE_SECONDS:
            return best or replace(one, runs=runs)
    assert best is not None
    return best


def _explored_once(
    name: str, directory: Path, seconds: float, shrink_seconds: float, options: Sequence[str]
) -> Explored:
    shutil.rmtree(directory, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="plumbline-explored-") as folder:
        subject = subjects.write(name, Path(folder))
        asked = ["explore", str(subject), "--for", f"{seconds:g}s", "--shrink-for", f"{shrink_seconds:g}s"]
        asked += ["--should", "--report", str(directory), "--failures", str(Path(folder) / "failures"), *options]
        code, told = _run(asked, seconds + 4 * shrink_seconds + _STARTING_SECONDS)
    if code not in (0, 1) or not (directory / "exploration.json").exists():
        return Explored(name, trouble=" ".join(told.split())[-300:] or f"it ended with {code}")
    counts = json.loads((directory / "exploration.json").read_text(encoding="utf-8"))
    if code == 0:
        return Explored(name, counts["runs"])
    files = [directory / "scenarios" / "found" / one["scenario"] for one in counts["found"]]
    failing = {one["scenario"] for one in counts["found"] if one["fails"]}
    files.sort(key=lambda path: (path.name not in failing, path.stat().st_size))
    # What is under way when the first failure is seen comes to its end after it.
    after = counts["found_after"] or counts["seconds"]
    if not files:
        # A process that dies of what it reads leaves no run to make smaller.
        return Explored(name, counts["runs"], after, trouble=None if counts["deaths"] else "no file came out")
    smallest = files[0]
    data = YAML(typ="safe").load(smallest)
    passes, _ = _run(
        ["check", str(subjects.REFERENCE), "--scenarios", str(smallest), "--jobs", "1", "--report", str(directory / "on-reference")],
        _STARTING_SECONDS,
    )  # fmt: skip
    return Explored(
        name, counts["runs"], after, data["clauses"][0], _steps_in(data), len(data["timeline"]) - 1,
        smallest.name in failing, passes == 0,
    )  # fmt: skip


def _steps_in(scenario: Mapping[str, Any]) -> int:
    """How many steps the workflows of a scenario have; an invalid definition stands in the request that offers it."""
    workflows = [*scenario.get("workflows", {}).values()]
    workflows += [act["rest"].get("body") or {} for act in scenario["timeline"] if "rest" in act]
    return sum(len(steps) for workflow in workflows if isinstance(steps := workflow.get("steps"), Mapping | list))


def _run(arguments: Sequence[str], seconds: float) -> tuple[int, str]:
    """The exit code of a command and the end of what it said; a command that does not end is ended, with its stack."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            [*_PLUMBLINE, *arguments], stdout=said, stderr=subprocess.STDOUT, cwd=subjects.ROOT, start_new_session=True
        )
        _under_way.add(process)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            code = -1
        finally:
            _under_way.discard(process)
        said.seek(0)
        return code, said.read()[-2000:]


def _told(one: Explored) -> str:
    if one.trouble is not None:
        return f"{one.mutant}: {one.trouble}"
    if one.found_seconds is None:
        return f"{one.mutant}: not found in {one.runs} runs"
    size = "a process died" if one.steps is None else f"{one.clause}, {one.steps} steps, {one.acts} acts"
    doubts = "" if one.fails_on_mutant is not False else "; the file passes on the mutant"
    doubts += "" if one.passes_on_reference is not False else "; the file fails on the reference"
    return f"{one.mutant}: found after {one.found_seconds:.0f} s and {one.runs} runs ({size}{doubts})"


def summary(explored: Sequence[Explored]) -> str:
    """What came of all of them, in a sentence."""
    found = [one for one in explored if one.found_seconds is not None]
    small = [(one.steps, one.acts) for one in found if one.steps is not None and one.acts is not None]
    told = f"{len(found)} of {len(explored)} mutants found"
    if small:
        told += (
            f", median {median(one.found_seconds or 0 for one in found):.0f} s; files of {median(s for s, _ in small):g} steps"
            f" and {median(a for _, a in small):g} acts (medians); "
            f"{sum(one.fails_on_mutant is True for one in found)} fail on their mutant, "
            f"{sum(one.passes_on_reference is True for one in found)} pass on the reference"
        )
    return told + "."


def _page(explored: Sequence[Explored], minutes: float) -> str:
    wrong = {mutant.name: mutant.wrong for mutant in MUTANTS}
    marks = {True: "yes", False: "**no**", None: ""}
    head = (
        "mutant",
        "what is wrong",
        "runs",
        "found after s",
        "clause",
        "steps",
        "acts",
        "fails on it",
        "reference passes",
    )
    rows = [
        (
            f"`{one.mutant}`", wrong[one.mutant], one.runs,
            "not found" if one.found_seconds is None else f"{one.found_seconds:.0f}", one.clause, one.steps, one.acts,
            marks[one.fails_on_mutant], marks[one.passes_on_reference],
        )
        for one in explored
        if one.trouble is None
    ]  # fmt: skip
    left = len(MUTANTS) - len(rows) - len(BEYOND)
    told = f"{summary(explored)} {left} have not been tried yet." if left else summary(explored)
    beyond = [(f"`{name}`", wrong[name], why) for name, why in BEYOND.items()]
    return "\n".join([
        _HEAD.format(minutes=minutes), told, "", *table(head, rows), "",
        _BEYOND.format(number=len(beyond)), *table(("mutant", "what is wrong", "why no generated case reaches it"), beyond), "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
