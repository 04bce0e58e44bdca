"""``plumbline shrink``: what failed, made as small as it gets on the subject itself, as a scenario file."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from pathlib import Path

import click
from kafka.errors import KafkaError
from rich.console import Console

from harness.cli.durations import Duration
from harness.document import MistakesFound
from harness.minimizing import Failing, Minimized, UnusableSource, minimize, read_source
from harness.places import suite
from harness.runner.errors import SetUpBroke
from harness.runner.place import STACK_KINDS, StackKind, bench_maker
from harness.stack import StackError
from harness.subject import Subject, SubjectError

UNUSABLE, UNKNOWN = 2, 3


@click.command()
@click.argument("source", metavar="HISTORY|SCENARIO")
@click.option(
    "--subject", "subject_file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE", help="The subject's file.",
)  # fmt: skip
@click.option(
    "--budget",
    "seconds",
    type=Duration(),
    default=120.0,
    show_default="2m",
    metavar="TIME",
    help="For so long at most.",
)
@click.option(
    "-o", "out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="The scenario file to write, its history beside it. [default: results/shrunk/scenarios/found/<name>.yaml]",
)  # fmt: skip
@click.option(
    "--scenarios", "suites", multiple=True, type=click.Path(exists=True, path_type=Path), metavar="PATH",
    help="Where the scenario of a history is looked for; may be repeated. [default: the suite]",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of what a scenario draws.")
@click.option(
    "--stack", type=click.Choice(STACK_KINDS), default="embedded", show_default=True, help="Whose Kafka and PostgreSQL."
)
def shrink(
    source: str,
    subject_file: Path,
    seconds: float,
    out: Path | None,
    suites: tuple[Path, ...],
    seed: int,
    stack: StackKind,
) -> None:
    """Try what failed again, and whatever is smaller, and write the smallest that still fails.

    SOURCE is a scenario file, one variant of it (FILE::NAME), or the history of a run that failed; of a generated run its
    history is enough.

    \b
    Exit codes:
      0  a scenario file that fails was written
      2  the command line, the subject's file or the source cannot be used
      3  it did not fail again (how often it was tried is told), or the harness could not go on
    """
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        subject = Subject.load(subject_file)
        failing = read_source(source, suites or (suite(),), seed)
    except MistakesFound as mistakes:
        click.echo(str(mistakes), err=True)
        sys.exit(UNUSABLE)
    except UnusableSource as error:
        click.echo(str(error), err=True)
        sys.exit(UNUSABLE)
    again = shlex.join(["plumbline", "shrink", source, "--subject", str(subject_file), "--budget", f"{seconds:g}s"])
    try:
        with contextlib.ExitStack() as ending:
            bench = bench_maker(subject, stack)(ending)
            for one in failing:
                console.print(one.told, markup=False, highlight=False)
                path = out or default_path(one)
                found = minimize(
                    one, bench, seconds, path, again, lambda told: console.print(f"  {told}", markup=False)
                )
                if found.scenario is not None:
                    break
    except (SetUpBroke, StackError, SubjectError, KafkaError, LookupError) as error:
        console.print(f"Nothing can be said: {error}", style="yellow", markup=False)
        sys.exit(UNKNOWN)
    sys.exit(tell(found, console))


def default_path(failing: Failing) -> Path:
    """Where what comes out is written when nobody says."""
    name = re.sub(r"[^a-z0-9]+", "_", failing.told.partition(" (")[0].lower()).strip("_")
    return Path("results/shrunk/scenarios/found") / f"{name}.yaml"


def tell(found: Minimized, console: Console) -> int:
    """Say what came of it; the exit code."""
    rate = f"it failed {found.failed} of {found.tried} times"
    if found.scenario is None or found.finding is None:
        console.print(f"Not made smaller: {rate} ({found.reason}).", style="yellow", markup=False)
        return UNKNOWN
    console.print(
        f"✗ {found.finding.clause} {found.finding.anomaly}: {found.finding.explanation}", style="red", markup=False
    )
    console.print(found.scenario.read_text(encoding="utf-8"), style="dim", markup=False, highlight=False)
    console.print(f"{found.scenario} ({found.attempts} attempts; {rate}), history {found.history}", markup=False)
    if found.reason is not None:
        console.print(f"Its history tells of it, but {found.reason}.", style="yellow", markup=False)
    return 0
