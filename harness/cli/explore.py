"""``plumbline explore``: generated runs on a subject, many at once, judged by the oracle; what fails is made smaller."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from pathlib import Path

import click
from kafka.errors import KafkaError
from rich.console import Console

import contract
from harness.cli.durations import Duration
from harness.document import MistakesFound
from harness.exploration.failures import DIRECTORY, PASSES, FailureDatabase, UnusableFailure
from harness.exploration.features import CLAUSES
from harness.exploration.found import Found, made_small, told_first
from harness.exploration.judging import WISHED
from harness.exploration.profiles import PROFILES
from harness.exploration.session import Counts, Explorer, Failure
from harness.generation import Case
from harness.runner import reporting
from harness.runner.bench import Bench
from harness.runner.errors import SetUpBroke
from harness.runner.place import STACK_KINDS, StackKind, bench_maker
from harness.stack import StackError
from harness.subject import Subject, SubjectError
from harness.verdict import Outcome

FAILED, UNUSABLE, UNKNOWN = 1, 2, 3
_MOST_SHRUNK = 2
_GUARANTEE = (
    "Whatever workflow, input and agents are drawn, and whatever is done to the run, it ends as the contract says."
)


@click.command()
@click.argument("subject_file", metavar="SUBJECT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--for",
    "seconds",
    type=Duration(),
    metavar="TIME",
    help="For so long, such as 90s, 2m, 1h. [default: the profile's]",
)
@click.option("--runs", "most_runs", type=click.IntRange(1), help="So many runs at most.")
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default="ci",
    show_default=True,
    help="How large workflows get: smoke (8 s), ci (90 s), deep (30 m).",
)
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal cases.")
@click.option(
    "--in-flight", default=200, show_default=True, type=click.IntRange(1, 2000), help="Runs under way at once."
)
@click.option("--keep-going", is_flag=True, help="Go on after a failure, to find others.")
@click.option(
    "--leave-processes-alone", "is_gentle", is_flag=True, help="Kill, stop, add and remove no process of the subject."
)
@click.option("--should", "holds_to_should", is_flag=True, help="Hold SUBJECT to what it SHOULD do as well.")
@click.option(
    "--shrink-for",
    type=Duration(),
    default=60.0,
    metavar="TIME",
    show_default="60s",
    help="How long each failure is made smaller.",
)
@click.option(
    "--failures", "kept", type=click.Path(file_okay=False, path_type=Path), default=DIRECTORY, show_default=True,
    help="Where what failed is kept; it is tried first the next time.",
)  # fmt: skip
@click.option(
    "--forget-after", default=PASSES, show_default=True, type=click.IntRange(1), metavar="N",
    help="What failed is forgotten once it has passed so often.",
)  # fmt: skip
@click.option(
    "--stack", type=click.Choice(STACK_KINDS), default="embedded", show_default=True, help="Whose Kafka and PostgreSQL."
)
@click.option(
    "--report", "directory", type=click.Path(file_okay=False, path_type=Path), default=Path("results/explore"),
    show_default=True, help="Where scenario files, histories and the report are written.",
)  # fmt: skip
def explore(
    subject_file: Path, seconds: float | None, most_runs: int | None, profile: str, seed: int, in_flight: int,
    keep_going: bool, shrink_for: float, kept: Path, forget_after: int, is_gentle: bool, stack: StackKind, directory: Path,
    holds_to_should: bool,
) -> None:  # fmt: skip
    """Draw workflows, agents, inputs and disorder, carry them out on SUBJECT, and hold what comes of them to the contract.

    A failure is tried again by itself, made smaller, and written as a scenario file below --report.

    \b
    Exit codes:
      0  every run was as the contract allows
      1  a run was not, or a process of the subject died
      2  the command line or the subject's file cannot be used
      3  nothing failed, but the harness could not see or judge everything, or nothing was run
    """
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        subject = Subject.load(subject_file)
        database = FailureDatabase(kept, subject.name, passes=forget_after)
        known = database.cases()
    except (MistakesFound, UnusableFailure) as mistakes:
        click.echo(str(mistakes), err=True)
        sys.exit(UNUSABLE)
    again = ["plumbline", "explore", str(subject_file), "--profile", profile, "--seed", str(seed)]
    again += ["--should"] if holds_to_should else []
    reporting.clear(directory)
    wanted = PROFILES[profile].seconds if seconds is None else seconds
    try:
        with contextlib.ExitStack() as ending:
            bench = bench_maker(subject, stack)(ending)
            explorer = ending.enter_context(
                Explorer(
                    profile,
                    seed,
                    in_flight=in_flight,
                    known=known,
                    disturbs=not is_gentle,
                    also=WISHED if holds_to_should else frozenset(),
                )
            )
            counts = explorer.explore(
                bench,
                wanted,
                lambda now, flying: _tell(console, now, flying),
                most_runs=most_runs,
                keep_going=keep_going,
            )
            _keep(counts, database, console)
            found = _shrunk(counts, bench, console, directory, shlex.join(again), shrink_for)
            for one in found:
                if one.shrunk.smallest is not None:
                    database.failed(one.shrunk.smallest.landed.case, one.failure.signature)
    except (SetUpBroke, StackError, SubjectError, KafkaError, LookupError) as error:
        console.print(f"Nothing can be said: {error}", style="yellow", markup=False)
        sys.exit(UNKNOWN)
    outcomes = _outcomes(counts, found, subject, seed)
    reporting.write(outcomes, subject, directory, lambda outcome: _again(outcome, subject_file, again))
    _write_counts(counts, found, directory)
    sys.exit(_conclude(counts, found, console, directory))


def _again(outcome: Outcome, subject_file: Path, again: list[str]) -> str:
    if outcome.scenario_file is None:
        return shlex.join(again)
    return shlex.join(["plumbline", "check", str(subject_file), "--scenarios", str(outcome.scenario_file)])


def _keep(counts: Counts, database: FailureDatabase, console: Console) -> None:
    """What failed is kept, one of each kind; what was known and passed is nearer to being forgotten."""
    for failure in counts.failures.values():
        database.failed(failure.landed.case, failure.signature)
    for key, has_failed in counts.known.items():
        if not has_failed:
            database.passed(Case.of_key(key))
    if counts.known:
        failed = sum(counts.known.values())
        told = f"{len(counts.known)} runs that failed in an earlier exploration were tried first: {failed} failed again"
        console.print(told, highlight=False)


def _tell(console: Console, counts: Counts, in_flight: int) -> None:
    told = (
        f"{counts.seconds:6.0f} s  {counts.landed} runs ({counts.rate:.0f} a minute, {in_flight} in flight), "
        f"{counts.judged} judged, {len(counts.features)} of {len(CLAUSES)} features, {len(counts.clauses)} clauses, "
        f"{counts.failed} failed"
    )
    console.print(told, style="red" if counts.failed else None, highlight=False)


def _shrunk(counts: Counts, bench: Bench, console: Console, directory: Path, again: str, seconds: float) -> list[Found]:
    """The failures, most frequent first, each made smaller; those beyond the first few are as they were found."""
    found: list[Found] = []
    failures = sorted(counts.failures.values(), key=_simplest_first)
    explained: set[str] = set()
    for failure in failures:
        first = told_first(failure.judged.findings)
        console.print(
            f"✗ {first.clause} {first.anomaly} ({failure.count} runs): {first.explanation}", style="red", markup=False
        )
        if len(found) >= _MOST_SHRUNK or first.clause in explained:
            continue
        explained.add(first.clause)
        one = made_small(
            failure,
            bench,
            directory,
            again,
            seconds,
            lambda told: console.print(f"  {told}", style="dim", markup=False),
        )
        found.append(one)
        console.print(f"  {one.scenario} ({one.shrunk.attempts} attempts)", markup=False)
        console.print(one.scenario.read_text(encoding="utf-8"), style="dim", markup=False, highlight=False)
    return found


def _simplest_first(failure: Failure) -> tuple[int, int]:
    return -failure.count, len(failure.landed.case.key)


def _outcomes(counts: Counts, found: list[Found], subject: Subject, seed: int) -> list[Outcome]:
    clauses = tuple(sorted(counts.clauses))
    broken = {clause for one in found for clause in one.outcome.clauses}
    whole = Outcome(
        scenario="explored/all",
        guarantee=_GUARANTEE,
        clauses=tuple(clause for clause in clauses if clause not in broken) or ("CMP-01",),
        subject=subject.name,
        verdict="failed" if counts.failures or counts.deaths else "unknown" if _doubt(counts) else "passed",
        reason=_reason(counts),
        findings=(),
        seconds=round(counts.seconds, 3),
        history=None,
        seed=seed,
    )
    return [*(one.outcome for one in found), whole]


def _reason(counts: Counts) -> str | None:
    if counts.failures:
        return f"{counts.failed} of {counts.landed} runs were not as the contract allows"
    return counts.deaths[0] if counts.deaths else _doubt(counts)


def _doubt(counts: Counts) -> str | None:
    """Why nothing can be passed, when nothing has failed."""
    if counts.crashes:
        return f"a checker crashed: {counts.crashes[0].splitlines()[-1]}"
    if counts.problems:
        problem, number = counts.problems.most_common(1)[0]
        return f"{number} runs could not be judged: {problem}"
    return None if counts.judged else "no run was judged"


def _write_counts(counts: Counts, found: list[Found], directory: Path) -> None:
    every = {clause.id for clause in contract.clauses()}
    data = {
        "format": "plumbline-exploration-1",
        "runs": counts.landed,
        "seconds": round(counts.seconds, 3),
        "runs_a_minute": round(counts.rate, 1),
        "failed": counts.failed,
        "found_after": None if counts.found_after is None else round(counts.found_after, 3),
        "undecided": counts.undecided_for,
        "disturbed": counts.disturbed,
        "disturbances": counts.disturbances,
        "statuses": counts.statuses,
        "features": {name: counts.features.get(name, 0) for name in CLAUSES},
        "clauses": sorted(counts.clauses & every),
        "problems": counts.problems,
        "deaths": counts.deaths,
        "found": [{"scenario": one.scenario.name, "fails": one.fails} for one in found],
    }
    (directory / "exploration.json").write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")


def _conclude(counts: Counts, found: list[Found], console: Console, directory: Path) -> int:
    missing = [name for name in CLAUSES if name not in counts.features]
    if counts.disturbances:
        told = ", ".join(f"{word} ({count})" for word, count in counts.disturbances.most_common())
        console.print(f"  done to processes: {told}; {counts.disturbed} runs felt it", style="dim", highlight=False)
    console.print(
        f"{counts.landed} runs in {counts.seconds:.0f} s ({counts.rate:.0f} a minute), {counts.undecided} of them left open "
        f"by the oracle; {len(CLAUSES) - len(missing)} of {len(CLAUSES)} features, {len(counts.clauses)} clauses.",
        highlight=False,
    )
    if missing:
        console.print(f"  not drawn: {', '.join(missing)}", style="dim", highlight=False)
    for death in counts.deaths:
        console.print(death, style="red", markup=False)
    console.print(f"Report: {directory / 'report.html'}", highlight=False)
    if counts.failures or counts.deaths:
        told = f"{counts.failed} runs failed in {len(counts.failures)} ways; {len(found)} scenario files were written."
        console.print(told, style="bold red")
        return FAILED
    if doubt := _doubt(counts):
        console.print(f"Unknown: {doubt}", style="yellow", markup=False)
        return UNKNOWN
    console.print("Every run was as the contract allows.", style="green")
    return 0
