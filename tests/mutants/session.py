"""python -m tests.mutants.session: the suite against mutants, impostors and variants, and the table of what came of it.

Ends with 0 only if every mutant was killed, nine of ten by the clause that names their fault, every impostor failed more
than 95 % of the clauses that it claims, no variant raised an alarm, and the reference passes whatever killed a mutant.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.scenario import MistakesFound
from tests.mutants import table
from tests.mutants.catalogue import IMPOSTORS, MUTANTS, VARIANTS
from tests.mutants.choice import unbound
from tests.mutants.tally import Exposure, Fate, Tally, suspects_among
from tests.mutants.trial import ROOT, Limits, all_scenarios, control, end_with, expose, try_mutant

PAGE = ROOT / "docs" / "mutants.md"
KINDS = ("mutants", "impostors", "variants")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="NAME", help="Judge this one alone; may be given several times.")
@click.option("--sample", type=click.IntRange(1), help="Judge this many mutants, drawn by --seed.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Judge these alone. Default: all three.")
@click.option(
    "--workers", type=click.IntRange(1, 16), default=2, show_default=True, help="Subjects judged side by side."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--scenarios",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT / "scenarios",
    help="Where the suite is.",
)
@click.option("--list", "listing", is_flag=True, help="List the catalogue and end.")
def main(
    only: tuple[str, ...],
    sample: int | None,
    kinds: tuple[str, ...],
    workers: int,
    seed: int,
    folder: Path,
    listing: bool,
) -> None:
    """Have the suite judge those that it must catch, and those that it must let pass."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    if listing:
        _list(console)
        return
    names = chosen(only, sample, kinds or KINDS, seed)
    try:
        scenarios = all_scenarios(folder)
    except MistakesFound as error:
        raise click.ClickException(f"the suite has mistakes, so that nothing was judged:\n{error}") from None
    if not scenarios or not names:
        raise click.ClickException("there is no scenario, or nothing to judge: this is an error, and no success")
    for mutant in unbound([one for one in MUTANTS if one.name in names], scenarios):
        console.print(f"[yellow]no scenario binds {mutant.clause}, which names the fault of {mutant.name}[/yellow]")
    tally = judge(names, Limits(seed=seed, scenarios=folder), workers, console)
    table.show(tally, console)
    if not (only or sample or kinds):
        table.write_page(tally, PAGE)
    sys.exit(1 if tally.shortcomings() else 0)


def chosen(only: Sequence[str], sample: int | None, kinds: Sequence[str], seed: int) -> list[str]:
    """The names to judge, those that take longest first."""
    by_kind = {
        "impostors": list(IMPOSTORS),
        "variants": [one.name for one in VARIANTS],
        "mutants": [one.name for one in MUTANTS],
    }
    if only:
        known = [name for names in by_kind.values() for name in names]
        if unknown := [name for name in only if name not in known]:
            raise click.ClickException(f"nothing is called {', '.join(unknown)}; --list shows what there is")
        return list(dict.fromkeys(only))
    if sample is not None:
        by_kind["mutants"] = random.Random(seed).sample(by_kind["mutants"], min(sample, len(by_kind["mutants"])))
    return [name for kind in ("variants", "impostors", "mutants") if kind in kinds for name in by_kind[kind]]


def judge(names: Sequence[str], limits: Limits, workers: int, console: Console) -> Tally:
    """Judge all of them, `workers` at a time, each in a process with a stack of its own; then the killers themselves."""
    fates: dict[str, Fate] = {}
    exposures: dict[str, Exposure] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        # Spawned, since a copy of a process with threads of its own may stand still.
        ProcessPoolExecutor(
            workers,
            multiprocessing.get_context("spawn"),
            initializer=end_with,
            initargs=(os.getpid(),),
            max_tasks_per_child=20,
        ) as pool,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        bar = progress.add_task("judging", total=len(names))
        for name, found in _results(pool, names, limits):
            if isinstance(found, Fate):
                fates[name] = found
            else:
                exposures[name] = found
            progress.update(bar, advance=1, description=name)
            console.print(_line(found), highlight=False)
        killers = sorted({fate.killer.scenario for fate in fates.values() if fate.killer is not None})
        suspects = suspects_among(pool.submit(control, killers, limits).result())
    return Tally(
        tuple(fates[mutant.name].without(suspects) for mutant in MUTANTS if mutant.name in fates),
        tuple(exposures[name] for name in IMPOSTORS if name in exposures),
        tuple(exposures[variant.name] for variant in VARIANTS if variant.name in exposures),
        suspects,
    )


def _results(pool: ProcessPoolExecutor, names: Sequence[str], limits: Limits) -> Any:
    mutants = {one.name for one in MUTANTS}
    begun: dict[Future[Any], str] = {}
    for name in names:
        work: Callable[..., Any] = try_mutant if name in mutants else expose
        begun[pool.submit(work, name, limits)] = name
    try:
        for ended in as_completed(begun):
            yield begun[ended], ended.result()
    finally:
        for future in begun:
            future.cancel()


def _line(found: Fate | Exposure) -> str:
    if isinstance(found, Exposure):
        return f"{found.name}: {len(found.failed)} of {len(found.claimed)} clauses failed ({found.seconds:.0f} s)"
    if found.killer is None:
        return f"[red]{found.mutant} survives[/red] {found.trouble or ''} ({len(found.tried)} tried, {found.seconds:.0f} s)"
    mark = "" if found.by_its_clause else "[yellow]another clause[/yellow] "
    return f"{found.mutant} killed by {mark}{found.killer.scenario} ({len(found.tried)} tried, {found.seconds:.0f} s)"


def _list(console: Console) -> None:
    for mutant in MUTANTS:
        console.print(f"{mutant.name:42} {mutant.clause:7} {'+'.join(mutant.roles):13} {mutant.wrong}", highlight=False)
    for name, about in (*IMPOSTORS.items(), *((variant.name, variant.about) for variant in VARIANTS)):
        console.print(f"{name:42} {about}", highlight=False)


if __name__ == "__main__":
    main()
