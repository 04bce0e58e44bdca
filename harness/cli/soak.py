"""``plumbline soak``: a steady load for a long time while everything fails in turn, and a ledger at the end."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from kafka.errors import KafkaError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from harness.cli import variables
from harness.cli.durations import Duration
from harness.document import MistakesFound
from harness.runner.errors import Broken, NotSupported, SetUpBroke
from harness.runner.place import STACK_KINDS, StackKind, bench_maker
from harness.soak import GROUPS, Ledger, Snapshot, Soak
from harness.soak.page import html
from harness.stack import StackError
from harness.subject import Subject, SubjectError

FAILED, UNUSABLE, UNKNOWN = 1, 2, 3
_PLAIN_SECONDS: Final = 10.0
_MOST_SHOWN: Final = 20
_EXIT_CODES: Final = {"passed": 0, "failed": FAILED, "unknown": UNKNOWN}


@click.command()
@click.argument("subject_file", metavar="SUBJECT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--for", "seconds", type=Duration(), default=300.0, show_default="5m", metavar="TIME", help="For so long."
)
@click.option(
    "--rate", default=10.0, show_default=True, type=click.FloatRange(0.1, 500), help="Runs asked for a second."
)
@click.option(
    "--faults", "wanted", default="all", show_default=True, metavar="GROUP,…",
    help=f"Some of {', '.join(GROUPS)}; `all`, or `none`.",
)  # fmt: skip
@click.option(
    "--every", "every_seconds", type=Duration(), default=8.0, show_default="8s", metavar="TIME",
    help="Between two faults, in the mean.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Draws the runs and the schedule of faults.")
@click.option("--consumers", default=2, show_default=True, type=click.IntRange(1, 5), help="Execution consumers.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A variable for the subject's processes.")
@click.option(
    "--stack", type=click.Choice(STACK_KINDS), default="embedded", show_default=True, help="Whose Kafka and PostgreSQL."
)
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Where the ledger is written."
)
@click.option("--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Where the page is written.")
@click.option(
    "--results", "directory", type=click.Path(file_okay=False, path_type=Path), default=Path("results/soak"),
    show_default=True, help="Where soak.json, report.html and the histories of what failed are written.",
)  # fmt: skip
def soak(
    subject_file: Path, seconds: float, rate: float, wanted: str, every_seconds: float, seed: int, consumers: int,
    settings: tuple[str, ...], stack: StackKind, json_file: Path | None, html_file: Path | None, directory: Path,
) -> None:  # fmt: skip
    """Keep SUBJECT under a steady load of runs of all shapes, do every kind of fault to it meanwhile, and tell at the end what
    was lost, stuck or done twice, how long it took to recover, and what memory and connections did.

    \b
    Exit codes:
      0  every accepted run ended as it may, and nothing was done twice
      1  a run was lost, stuck, done twice, or ended otherwise
      2  the command line or the subject's file cannot be used
      3  nothing failed, but of some run nothing can be said, or nothing was run
    """
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    console = Console(width=None if sys.stdout.isatty() else 160)
    groups = _groups(wanted)
    try:
        subject = Subject.load(subject_file)
    except MistakesFound as mistakes:
        click.echo(str(mistakes), err=True)
        sys.exit(UNUSABLE)
    environment = variables.environment(settings)
    plan = Soak(seconds, rate, groups, seed, every_seconds, directory)
    try:
        with contextlib.ExitStack() as ending:
            make = bench_maker(subject, stack, counts={"consumer": consumers}, environment=environment)
            bench = make(ending)
            display = ending.enter_context(_Display(console, seconds))
            ledger, data = plan.carry_out(bench, display.tell)
    except (SetUpBroke, NotSupported, StackError, SubjectError, KafkaError, LookupError) as error:
        console.print(f"Nothing can be said: {error}", style="yellow", markup=False)
        sys.exit(UNKNOWN)
    except Broken as error:
        console.print(f"Nothing could be run: {error.findings[0].explanation}", style="red", markup=False)
        sys.exit(FAILED)
    files = ((json_file or directory / "soak.json", json.dumps(data, ensure_ascii=False, indent=1)),
             (html_file or directory / "report.html", html(data)))  # fmt: skip
    for path, text in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    _conclude(console, ledger, data, files[1][0])
    sys.exit(_EXIT_CODES[ledger.verdict])


def _groups(wanted: str) -> Sequence[str]:
    names = [one.strip() for one in wanted.split(",") if one.strip()]
    if names in (["all"], ["none"]):
        return GROUPS if names == ["all"] else ()
    if unknown := [one for one in names if one not in GROUPS]:
        raise click.UsageError(
            f"no group of faults is called {unknown[0]!r}; expected some of {', '.join(GROUPS)}, or all, or none"
        )
    return tuple(one for one in GROUPS if one in names)


class _Display:
    """Counts that change in place in a terminal; elsewhere a plain line now and then."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._console = console
        self._seconds = seconds
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._told_at = -_PLAIN_SECONDS

    def __enter__(self) -> _Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, now: Snapshot, present: str, memory: Mapping[str, float]) -> None:
        """How far it has come."""
        if self._live is not None:
            self._live.update(self._table(now, present, memory))
            return
        at = time.monotonic()
        if at - self._told_at < _PLAIN_SECONDS:
            return
        self._told_at = at
        bad = (
            f"{now.lost} lost, {now.stuck} stuck, {now.duplicated} duplicated, {now.wrong} wrong, {now.unknown} unknown"
        )
        faults = sum(now.faults.values())
        self._console.print(
            f"{now.seconds:6.0f} s  {now.accepted} accepted, {now.ended} ended, {now.under_way} under way, {now.judged} judged, "
            f"{bad}, {faults} faults{f', {present}' if present else ''}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _table(self, now: Snapshot, present: str, memory: Mapping[str, float]) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_row("time", f"{now.seconds:.0f} of {self._seconds:.0f} s")
        table.add_row(
            "runs", f"{now.accepted} accepted, {now.ended} ended, {now.under_way} under way, {now.judged} judged"
        )
        ends = ", ".join(f"{count} {status}" for status, count in sorted(now.ends.items()))
        table.add_row("ends", ends or "none yet")
        bad = f"{now.lost} lost, {now.stuck} stuck, {now.duplicated} duplicated, {now.wrong} wrong"
        table.add_row("failed", bad, style="red" if now.lost or now.stuck or now.duplicated or now.wrong else None)
        table.add_row("unknown", str(now.unknown), style="yellow" if now.unknown else None)
        table.add_row("faults", f"{sum(now.faults.values())} done{f'; now: {present}' if present else ''}")
        table.add_row("memory", ", ".join(f"{name} {mib:.0f}" for name, mib in sorted(memory.items())) + " MiB")
        return table


def _conclude(console: Console, ledger: Ledger, data: Mapping[str, Any], page: Path) -> None:
    runs = data["runs"]
    table = Table("", "", title="Ledger", show_header=False)
    for name, value in runs.items():
        table.add_row(name.replace("_", " "), str(value))
    table.add_row("ends", _counted(data["ends"]))
    table.add_row("calls of agents", _counted(data["calls"]))
    table.add_row("deaths", str(len(data["deaths"])))
    console.print(table)
    recovery = Table("fault", "times", "first p50", "first most", "all p50", "all most", title="Seconds to recover")
    for kind, one in data["recovery"].items():
        figures = (
            one[name] for name in ("first_p50_seconds", "first_most_seconds", "all_p50_seconds", "all_most_seconds")
        )
        recovery.add_row(kind, str(one["count"]), *("–" if value is None else f"{value:.2f}" for value in figures))
    console.print(recovery)
    grown = [name for name, one in data["resources"].items() if one["is_flat"] is False]
    console.print(f"Memory grew in {', '.join(grown)}." if grown else "Memory was flat.", highlight=False)
    for one in ledger.troubles[:_MOST_SHOWN]:
        told = f"✗ {one.what} {one.run or ''} {one.clause}: {one.explanation} ({one.history or 'no history kept'})"
        console.print(told, style="red", markup=False, soft_wrap=True)
    for why, count in list(data["unknown_for"].items())[:_MOST_SHOWN]:
        console.print(f"? {count} runs: {why}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"Report: {page}", highlight=False)
    style = {"passed": "green", "failed": "bold red", "unknown": "yellow"}[ledger.verdict]
    told = {
        "passed": "Nothing was lost, stuck or done twice.",
        "failed": f"{runs['lost']} lost, {runs['stuck']} stuck, {runs['duplicated']} duplicated, {runs['wrong']} wrong.",
        "unknown": "Unknown: not everything could be judged.",
    }[ledger.verdict]
    console.print(told, style=style, highlight=False)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items()) or "none"
