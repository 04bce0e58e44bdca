"""Let worlds live: python -m tests.simulation --seeds 10000 --for 60s"""

from __future__ import annotations

import random
import re
import sys
import time
from collections import Counter

import click

from tests.mutants.patching import applied
from tests.simulation import load, trace
from tests.simulation.mutants import Mistake, all_mistakes
from tests.simulation.shrink import shrunk
from tests.simulation.world import Lived, live

_UNITS = {"s": 1, "m": 60, "h": 3600}
_MOST_SEEDS_FOR_A_MISTAKE = 3000


def _seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    found = re.fullmatch(r"(\d+)([smh])", value)
    if found is None:
        raise click.BadParameter(f"expected a number with s, m or h, such as 60s; found {value!r}")
    return float(int(found[1]) * _UNITS[found[2]])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--first", type=int, default=0, help="The first seed.  [default: 0]")
@click.option("--seeds", type=click.IntRange(1), default=1000, help="How many worlds at most.  [default: 1000]")
@click.option("--for", "budget_seconds", callback=_seconds, default="60s", help="For how long at most.  [default: 60s]")
@click.option("--replay", type=int, help="Only this seed, with its whole history.")
@click.option("--mutants", is_flag=True, help="How many worlds it takes to find each known mistake.")
@click.option("--only", help="Of the mistakes, those whose name holds this text.")
@click.option("--twice", is_flag=True, help="Each world twice: its histories must be the same to the byte.")
def main(
    first: int, seeds: int, budget_seconds: float, replay: int | None, mutants: bool, only: str | None, twice: bool
) -> None:
    """Run the reference in simulated worlds and check that nothing is lost, doubled or undone in any of them."""
    if mutants:
        sys.exit(_find_mistakes(first, seeds, [one for one in all_mistakes() if only is None or only in one.name]))
    if replay is not None:
        lived = live(replay)
        print(*trace.lines(lived, load.shape(replay)), sep="\n")
        sys.exit(bool(lived.violations))
    sys.exit(_explore(first, seeds, budget_seconds, twice))


def _explore(first: int, seeds: int, budget_seconds: float, twice: bool) -> int:
    began = told = time.monotonic()
    worlds = runs = steps = 0
    faults: Counter[str] = Counter()
    for seed in range(first, first + seeds):
        lived = live(seed)
        worlds, runs, steps = worlds + 1, runs + lived.runs, steps + lived.steps
        faults.update(lived.faults)
        if lived.violations:
            _tell_failure(lived)
            return 1
        if twice and live(seed).digest != lived.digest:
            print(f"seed {seed} has another history the second time")
            return 1
        now = time.monotonic()
        if now - told > 5 or now - began > budget_seconds or worlds == seeds:
            told = now
            spent = now - began
            print(
                f"{worlds} worlds, {runs} runs, {steps} steps in {spent:.0f} s: {runs / spent:.0f} runs/s, {steps / spent:.0f} steps/s; no difference",
                flush=True,
            )
        if now - began > budget_seconds:
            break
    print("what befell them:", ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items())))
    return 0


def _tell_failure(lived: Lived) -> None:
    shape = load.shape(lived.seed)
    print(f"seed {lived.seed}: {lived.violations[0]}\nmaking it smaller ...", flush=True)
    smallest, smaller = shrunk(lived, shape)
    print(*trace.lines(smallest, smaller), sep="\n")
    print(f"whole history: python -m tests.simulation --replay {lived.seed}")


def found_within(mistake: Mistake, first: int, seeds: int) -> tuple[int, Lived] | None:
    """After how many worlds a mistake shows, and the world that it shows in; None when it does not."""
    with applied(mistake.patches):
        for seed in range(first, first + seeds):
            lived = live(seed)
            if lived.violations:
                return seed - first + 1, lived
    return None


def _find_mistakes(first: int, seeds: int, mistakes: list[Mistake]) -> int:
    missed = 0
    print("| mistake | worlds | seconds | found as |\n| --- | --- | --- | --- |", flush=True)
    for mistake in mistakes:
        began = time.process_time()
        found = found_within(mistake, first, min(seeds, _MOST_SEEDS_FOR_A_MISTAKE))
        spent = time.process_time() - began
        missed += found is None
        count, said = (
            (found[0], found[1].violations[0].splitlines()[0][:90])
            if found
            else (min(seeds, _MOST_SEEDS_FOR_A_MISTAKE), "**not found**")
        )
        print(f"| {mistake.name} | {count} | {spent:.1f} | {said} |", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    random.seed(0)
    main()
