"""``plumbline trial``: long experiments on a subject that end in counts."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.table import Table

from harness.trials import hostile, kills, race

_SUBJECT = click.option(
    "--subject",
    "subject_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("subjects/reference.yaml"),
    show_default=True,
    help="The subject file.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
_MOST_FAULTS_SHOWN = 20


@click.group()
def trial() -> None:
    """Put a subject through a long experiment on a stack of its own, and count what came of it.

    Exit code 0 when everything held, 1 when something did not.
    """


@trial.command("kills")
@click.argument("victim", type=click.Choice(get_args(kills.Victim)))
@click.option("--runs", default=2000, show_default=True, help="Runs to execute.")
@click.option("--rate", default=100.0, show_default=True, help="Runs submitted per second.")
@click.option(
    "--interval",
    type=float,
    help="Seconds from a part being up again to its next kill.  [default: 2; of the broker 8, since clients find it anew]",
)
@click.option("--kills", "most_kills", default=1000, show_default=True, help="Kills at most; then it is left in peace.")
@click.option("--consumers", default=3, show_default=True, help="Execution consumers.")
@click.option("--bridges", default=1, show_default=True, help="Bridges.")
@_SUBJECT
@_JSON
def kills_command(
    victim: kills.Victim, runs: int, rate: float, interval: float | None, most_kills: int, consumers: int, bridges: int,
    subject_file: Path, as_json: bool,
) -> None:  # fmt: skip
    """Kill VICTIM (SIGKILL) and start it again, over and over, under a steady load of three-step runs."""
    verdict = kills.run(
        subject_file,
        victim,
        runs=runs,
        consumers=consumers,
        bridges=bridges,
        interval_seconds=(8.0 if victim == "broker" else 2.0) if interval is None else interval,
        rate_per_second=rate,
        most_kills=most_kills,
        say=_say,
    )
    _conclude(f"kills: {victim}", verdict, verdict.faults, as_json)


@trial.command("race")
@click.option("--races", default=500, show_default=True, help="Runs to race.")
@click.option("--seed", default=0, show_default=True, help="Draws the moments of the cancellations.")
@_SUBJECT
@_JSON
def race_command(races: int, seed: int, subject_file: Path, as_json: bool) -> None:
    """Cancel runs at random moments of their lives: cancellation and completion must have one winner."""
    verdict = race.run(subject_file, races=races, seed=seed, say=_say)
    _conclude("race", verdict, verdict.faults, as_json)


@trial.command("hostile")
@click.option("--messages", default=10_000, show_default=True, help="Bad messages for each topic.")
@click.option("--bodies", default=10_000, show_default=True, help="Hostile bodies for the API.")
@click.option("--seed", default=0, show_default=True, help="Draws messages and bodies.")
@_SUBJECT
@_JSON
def hostile_command(messages: int, bodies: int, seed: int, subject_file: Path, as_json: bool) -> None:
    """Send what is not valid to every topic and route, with good runs behind it."""
    verdict = hostile.run(subject_file, messages=messages, bodies=bodies, seed=seed, say=_say)
    _conclude("hostile input", verdict, verdict.faults, as_json)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _conclude(title: str, verdict: Any, faults: list[str], as_json: bool) -> None:
    counts = dataclasses.asdict(verdict)
    if as_json:
        click.echo(json.dumps(counts, indent=2))
    else:
        table = Table("count", "value", title=title)
        for name, value in counts.items():
            if name != "faults":
                table.add_row(name.replace("_", " "), _shown(value))
        Console().print(table)
        for fault in faults[:_MOST_FAULTS_SHOWN]:
            click.echo(f"✗ {fault}")
        if len(faults) > _MOST_FAULTS_SHOWN:
            click.echo(f"✗ … and {len(faults) - _MOST_FAULTS_SHOWN} more")
        click.echo("✓ everything held" if not faults else f"✗ {len(faults)} things did not hold")
    sys.exit(1 if faults else 0)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
    if isinstance(value, list):
        ordered = sorted(value)
        if not ordered:
            return "none"
        return f"median {ordered[len(ordered) // 2]:.2f}, most {ordered[-1]:.2f}, of {len(ordered)}"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
