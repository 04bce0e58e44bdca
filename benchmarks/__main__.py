"""`python -m benchmarks`: measure, print, and write results as JSON, Markdown and, with matplotlib, a plot."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from benchmarks import report
from benchmarks.contender import Contender
from benchmarks.dbos_peer import Dbos
from benchmarks.measures import MEASURES, Sizes
from benchmarks.reference import Reference
from benchmarks.scale import Extent, scale_of_reference
from benchmarks.temporal_peer import Temporal
from benchmarks.trial import Results, Trial, carry_out
from benchmarks.workload import FURTHER, SHAPES, Shape, Workload

_ROOT = Path(__file__).resolve().parents[1]
_PAGE = _ROOT / "docs" / "performance.md"
_MANY = click.IntRange(1, 1_000_000)


def contenders() -> list[Contender]:
    """All that there are, the reference first."""
    return [Reference(), Dbos(), Temporal(), Temporal(local=True)]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--runs", type=_MANY, default=2000, help="Runs of a backlog, and of a submission.")
@click.option("--latency-runs", type=_MANY, default=200, help="Runs that are done one at a time.")
@click.option("--warm-up-runs", type=_MANY, default=200, help="Runs before anything is measured, at each start.")
@click.option("--submitters", type=click.IntRange(1, 64), default=4, help="Clients that submit at the same time.")
@click.option("--repetitions", type=click.IntRange(1, 100), default=5, help="How often each contender has its turn.")
@click.option("--only", type=click.Choice(list(MEASURES)), multiple=True, help="Measure this alone; may be repeated.")
@click.option("--contender", "names", multiple=True, metavar="NAME", help="These alone, the reference first.")
@click.option("--steps", type=click.IntRange(1, 1000), default=3, help="Steps, branches or iterations of a run.")
@click.option("--shape", type=click.Choice(SHAPES), default="sequential", help="How the steps hang together.")
@click.option("--payload-bytes", type=click.IntRange(8, 500_000), default=32, help="Text that goes through all steps.")
@click.option(
    "--further", is_flag=True, help="Then other numbers of steps, shapes and payloads too, with fewer runs each."
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=_ROOT / "results", help="For the files."
)
@click.option("--write-docs", is_flag=True, help="Put the tables into docs/performance.md as well.")
@click.option(
    "--profile", is_flag=True, help="Sample the reference's processes instead, and tell where their time goes."
)
@click.option(
    "--scale",
    is_flag=True,
    help="Instead, see whether the reference stays as fast with all that piles up; a quarter of an hour or so.",
)
def main(
    runs: int,
    latency_runs: int,
    warm_up_runs: int,
    submitters: int,
    repetitions: int,
    only: tuple[str, ...],
    names: tuple[str, ...],
    steps: int,
    shape: Shape,
    payload_bytes: int,
    further: bool,
    out: Path,
    write_docs: bool,
    profile: bool,
    scale: bool,
) -> None:
    """Measure the reference side by side with its peers, on one machine in one run."""
    console = Console(highlight=False)
    try:
        workload = Workload(steps, payload_bytes, shape)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sizes = Sizes(runs, latency_runs, warm_up_runs, submitters)
    out.mkdir(parents=True, exist_ok=True)
    kind = "profile" if profile else "scale" if scale else "bench"
    stem = out / f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    if profile:
        from benchmarks.profile import profile_reference

        text = profile_reference(workload, sizes, out, console.print)
    elif scale:
        text = scale_of_reference(Extent(repetitions=repetitions), console.print)
    else:
        chosen = _chosen(names)
        workloads = [workload, *(each for each in FURTHER if further and each != workload)]
        trials = [
            Trial(chosen, each, sizes.scaled_to(each) if number else sizes, repetitions, only or tuple(MEASURES))
            for number, each in enumerate(workloads)
        ]
        text = _measured(trials, stem, console)
        if write_docs:
            report.put_between(_PAGE, "configurations", report.configurations(contenders()))
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    if write_docs:
        report.put_between(_PAGE, "table" if kind == "bench" else kind, text)
    console.print(f"written: {', '.join(sorted(str(path) for path in out.glob(f'{stem.name}*')))}", soft_wrap=True)


def _chosen(names: Sequence[str]) -> list[Contender]:
    there = contenders()
    if unknown := set(names) - {each.name for each in there}:
        raise click.UsageError(
            f"no contender is called {' or '.join(sorted(unknown))}; there are {', '.join(each.name for each in there)}"
        )
    return [each for each in there if not names or each.name in names]


def _measured(trials: Sequence[Trial], stem: Path, console: Console) -> str:
    """Carry out one trial after the other, print and write each as soon as it is there; gives Markdown of all."""
    from benchmarks.plot import draw

    found: list[Results] = []
    for trial in trials:
        console.print(f"[bold]{trial.workload.title}[/bold]")
        results = carry_out(trial, console.print)
        found.append(results)
        console.print(report.terminal_table(report.lines(results), trial.workload.title))
        for measure in trial.measures:
            console.print(report.terminal_table(report.role_lines(results, measure), f"by process, {measure}"))
        # After each, so that a failure in a later one leaves what was measured before.
        report.write_json(found, stem.with_suffix(".json"))
        suffix = f"-{trial.workload.slug}" if len(found) > 1 else ""
        draw(results, stem.with_name(f"{stem.name}{suffix}.svg"), console.print)
    for name, reason in found[0].skipped.items():
        console.print(f"[bold]skipped: {name}[/bold] ({reason})")
    return report.markdown(found[0], found[1:])


if __name__ == "__main__":
    sys.exit(main())
