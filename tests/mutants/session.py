"""python -m tests.mutants.session: the suite against mutants, impostors and variants, and the table of what came of it.

Ends with 0 only if every mutant was killed, nine of ten by the clause that names their fault, every impostor failed more
than 95 % of the clauses that it claims, no variant raised an alarm, and the reference passes whatever killed a mutant.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.scenario import MistakesFound
from tests.mutants import record, table
from tests.mutants.catalogue import IMPOSTORS, MUTANTS, VARIANTS
from tests.mutants.choice import unbound
from tests.mutants.tally import Exposure, Fate, Judged, Tally, suspects_among
from tests.mutants.trial import ROOT, Limits, all_scenarios, begin, control, expose, try_mutant

PAGE = ROOT / "docs" / "mutants.md"
RESULTS = ROOT / "results" / "mutants.jsonl"
KINDS = ("mutants", "impostors", "variants")

_MOST_IN_A_ROUND = 100
"""Processes are made anew after so many trials: what clients of stacks that are gone keep does not add up."""

_MOST_ATTEMPTS = 2


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
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULTS,
    help="Where each result is written as it comes. [default: results/mutants.jsonl]",
)
@click.option("--resume", is_flag=True, help="Keep what --results holds already, and judge the others.")
@click.option("--list", "listing", is_flag=True, help="List the catalogue and end.")
def main(
    only: tuple[str, ...],
    sample: int | None,
    kinds: tuple[str, ...],
    workers: int,
    seed: int,
    folder: Path,
    results: Path,
    resume: bool,
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
    known = _known(results, names) if resume else {}
    if not resume:
        results.unlink(missing_ok=True)
    tally = judge(names, Limits(seed=seed, scenarios=folder), workers, console, results, known)
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


def _known(path: Path, names: Sequence[str]) -> dict[str, Fate | Exposure]:
    """What is known already of what is to be judged. What could not be judged the last time is judged again."""
    try:
        found = record.read(path) if path.exists() else {}
    except record.RecordError as error:
        raise click.ClickException(f"{error}; leave --resume away to begin anew") from None
    return {name: one for name, one in found.items() if name in names and not one.trouble}


def judge(
    names: Sequence[str],
    limits: Limits,
    workers: int,
    console: Console,
    results: Path = RESULTS,
    known: Mapping[str, Fate | Exposure] = MappingProxyType({}),
) -> Tally:
    """Judge all of them that are not known, `workers` at a time, each on a fresh stack; then the
    killers themselves. Each result is added to a file as it comes."""
    found = dict(known)
    left = [name for name in names if name not in found]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("judging", total=len(names), completed=len(found))
        for name, one in _results(left, limits, workers):
            found[name] = one
            record.append(results, one)
            progress.update(bar, advance=1, description=name)
            console.print(f"{len(found):3}/{len(names)} {_line(one)}", highlight=False)
        fates = {name: one for name, one in found.items() if isinstance(one, Fate)}
        exposures = {name: one for name, one in found.items() if isinstance(one, Exposure)}
        killers = sorted({fate.killer.scenario for fate in fates.values() if fate.killer is not None})
        progress.update(bar, description="the reference under what killed")
        suspects = suspects_among(_controls(killers, limits, workers))
    return Tally(
        tuple(fates[mutant.name].without(suspects) for mutant in MUTANTS if mutant.name in fates),
        tuple(exposures[name] for name in IMPOSTORS if name in exposures),
        tuple(exposures[variant.name] for variant in VARIANTS if variant.name in exposures),
        suspects,
    )


def _pool(workers: int, folder: Path) -> ProcessPoolExecutor:
    # Spawned, since a copy of a process with threads of its own may stand still.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        workers, context, initializer=begin, initargs=(os.getpid(), folder, all_scenarios(folder))
    )


def _results(names: Sequence[str], limits: Limits, workers: int) -> Iterator[tuple[str, Fate | Exposure]]:
    """Each name with what came of it. A process that ends in the middle takes its neighbours with it, which are judged
    again; what was under way each time is given up."""
    left = list(names)
    attempts: Counter[str] = Counter()
    while left:
        now, left = left[:_MOST_IN_A_ROUND], left[_MOST_IN_A_ROUND:]
        again: list[str] = []
        with _pool(workers, limits.scenarios) as pool:
            begun = {pool.submit(_work(name), name, limits): name for name in now}
            try:
                for ended in as_completed(begun):
                    name = begun[ended]
                    try:
                        yield name, ended.result()
                    except BrokenProcessPool:
                        again.append(name)
            finally:
                for future in begun:
                    future.cancel()
        # Those that were submitted first were under way.
        for name in sorted(again, key=now.index)[:workers]:
            attempts[name] += 1
            if attempts[name] >= _MOST_ATTEMPTS:
                again.remove(name)
                yield name, _given_up(name)
        left = sorted(again, key=now.index) + left


def _work(name: str) -> Callable[[str, Limits], Fate | Exposure]:
    return try_mutant if any(one.name == name for one in MUTANTS) else expose


def _given_up(name: str) -> Fate | Exposure:
    trouble = f"the process that judged it ended {_MOST_ATTEMPTS} times"
    for mutant in MUTANTS:
        if mutant.name == name:
            return Fate(name, mutant.clause, mutant.wrong, mutant.roles, None, (), 0.0, trouble)
    return Exposure(name, "", (), 0.0, trouble)


def _controls(killers: Sequence[str], limits: Limits, workers: int) -> list[Judged]:
    """The reference under the scenarios that killed; what it does not pass at once it may pass the second time, since a
    kill was seen twice as well when it could have come of a machine with too much to do."""
    if not killers:
        return []
    with _pool(workers, limits.scenarios) as pool:
        shares = [pool.submit(control, killers[number::workers], limits) for number in range(workers)]
        judged = [one for share in shares for one in share.result()]
        doubtful = [one.scenario for one in judged if one.verdict != "passed"]
        again = pool.submit(control, doubtful, replace(limits, at_once=1)).result()
    return [one for one in judged if one.verdict == "passed"] + again


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
