"""``plumbline check``: carries the suite out on a subject and says clause by clause what it keeps."""

from __future__ import annotations

import re
import shlex
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

import contract
from harness.document import MistakesFound
from harness.places import suite
from harness.runner import reporting, selection, standing
from harness.runner.crew import Crew
from harness.runner.place import STACK_KINDS, StackKind, bench_maker, require_stack
from harness.scenario import Scenario
from harness.stack import StackError
from harness.subject import Subject
from harness.verdict import Outcome

_MARKS: Final = {"passed": "✓", "failed": "✗", "unknown": "?", "not supported": "-", "not bound": " ", "untested": "·"}
_STYLES: Final = {"passed": "green", "failed": "red", "unknown": "yellow", "not supported": "dim", "untested": "dim"}
_MOST_CLAUSES: Final = 12
_LOG_WIDTH: Final = 140
FAILED, UNUSABLE, UNKNOWN = 1, 2, 3


@click.command()
@click.argument("subject_file", metavar="SUBJECT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--scenarios",
    "paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Scenario files and folders; may be repeated. [default: scenarios, or else the suite of this package]",
)
@click.option(
    "-k", "words", metavar="EXPR", help="Only scenarios whose id holds the words; `and`, `or`, `not` and ( ) work."
)
@click.option(
    "--clause", "clauses", multiple=True, metavar="ID", help="Only scenarios of this clause; may be repeated."
)
@click.option("--level", type=click.IntRange(1, 4), help="Only scenarios of clauses up to this level.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 16), help="Stacks at work side by side.")
@click.option(
    "--stack", type=click.Choice(STACK_KINDS), default="embedded", show_default=True, help="Whose Kafka and PostgreSQL."
)
@click.option("--seed", default=0, show_default=True, help="Of what is drawn.")
@click.option(
    "--report", "directory", type=click.Path(file_okay=False, path_type=Path), default=Path("results"), show_default=True,
    help="Where outcomes, histories and the report are written.",
)  # fmt: skip
@click.option("--keep-histories", is_flag=True, help="Keep the histories of what passed, too.")
def check(
    subject_file: Path, paths: tuple[Path, ...], words: str | None, clauses: tuple[str, ...], level: int | None, jobs: int,
    stack: StackKind, seed: int, directory: Path, keep_histories: bool,
) -> None:  # fmt: skip
    """Carry the suite out on SUBJECT, an executor that its file describes, and say which clauses it keeps.

    \b
    Exit codes:
      0  all that the subject claims is passed (what is known to fail has failed)
      1  something failed, or what is known to fail has passed
      2  the command line, the subject's file or a scenario cannot be used, or no scenario is selected
      3  nothing failed, but of something it is not known whether it would
    """
    console = Console()
    if not console.is_terminal:
        # In a log the table is read by lines.
        console = Console(width=_LOG_WIDTH)
    subject, scenarios = _read(subject_file, paths or (suite(),))
    if wrong := selection.unknown_clauses(clauses):
        raise click.UsageError("; ".join(wrong))
    is_meant = _expression(words)
    chosen = [one for one in scenarios if is_meant(one.id) and selection.is_selected(one, clauses, level)]
    if not chosen:
        raise click.UsageError(
            f"no scenario is selected, of {len(scenarios)}; take less narrow -k, --clause or --level"
        )
    try:
        require_stack(stack)
    except (LookupError, StackError) as error:
        raise click.UsageError(str(error)) from error
    if stack == "external" and jobs > 1:
        console.print("An external stack serves one subject at a time: one job.", style="dim")
        jobs = 1
    reporting.clear(directory)

    def again(outcome: Outcome) -> str:
        path = outcome.scenario_file or Path("scenarios")
        words = ["plumbline", "check", str(subject_file), "--scenarios", str(path), "--seed", str(seed)]
        return shlex.join(words)

    def crew() -> Crew:
        maker = bench_maker(subject, stack)
        return Crew(
            subject, maker, history_directory=directory / reporting.HISTORIES, seed=seed, keep_passed=keep_histories
        )

    outcomes = _carry_out(chosen, crew, min(jobs, len(chosen)), console, again)
    reporting.write(outcomes, subject, directory, again)
    _conclude(outcomes, subject, console, directory, is_whole=not paths and len(chosen) == len(scenarios))


def _read(subject_file: Path, paths: Sequence[Path]) -> tuple[Subject, list[Scenario]]:
    try:
        return Subject.load(subject_file), selection.load_all(paths)
    except MistakesFound as found:
        click.echo(str(found), err=True)
        sys.exit(UNUSABLE)
    except FileNotFoundError as error:
        raise click.UsageError(f"{error}; name files or folders with --scenarios") from error


def _expression(text: str | None) -> Callable[[str], bool]:
    """What tells whether an id is meant, by an expression of words as pytest's -k has it."""
    if text is None:
        return lambda _: True
    tokens = re.findall(r"\(|\)|[^\s()]+", text)
    # Words become look-ups; what is left is nothing but and, or, not and parentheses.
    source = " ".join(
        token if token in ("(", ")", "and", "or", "not") else f"has[{index}]" for index, token in enumerate(tokens)
    )
    try:
        code = compile(source, "-k", "eval")
    except SyntaxError as error:
        raise click.UsageError(f"-k {text!r} is no expression of words with and, or, not and parentheses") from error

    def is_meant(name: str) -> bool:
        has = [token.lower() in name.lower() for token in tokens]
        return bool(eval(code, {"__builtins__": {}, "has": has}))

    return is_meant


def _carry_out(
    scenarios: Sequence[Scenario],
    make_crew: Callable[[], Crew],
    jobs: int,
    console: Console,
    again: Callable[[Outcome], str],
) -> list[Outcome]:
    """Deal the scenarios out to crews, each with a stack of its own, and show what comes of them."""
    alone = deque(one for one in scenarios if one.alone)
    shared = [one for one in scenarios if not one.alone]
    outcomes: list[Outcome] = []
    lock = threading.Lock()
    with _Display(console, len(scenarios), again) as display, ThreadPoolExecutor(jobs) as pool:

        def note(outcome: Outcome) -> None:
            with lock:
                outcomes.append(outcome)
                display.tell(outcome)

        def work(mine: Sequence[Scenario]) -> None:
            with make_crew() as crew:
                crew.begin(mine)
                for scenario in mine:
                    note(crew.outcome(scenario))
                while True:
                    try:
                        scenario = alone.popleft()
                    except IndexError:
                        return
                    note(crew.outcome(scenario))

        for future in [pool.submit(work, shared[index::jobs]) for index in range(jobs)]:
            future.result()
    order = {scenario.id: index for index, scenario in enumerate(scenarios)}
    return sorted(outcomes, key=lambda outcome: order[outcome.scenario])


class _Display:
    """A bar on a terminal, a line for each scenario elsewhere; what is red is told in full at once."""

    def __init__(self, console: Console, total: int, again: Callable[[Outcome], str]) -> None:
        self._console = console
        self._again = again
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._total = total
        self._done = 0

    def __enter__(self) -> _Display:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._progress = Progress(*columns, console=self._console)
            self._progress.start()
            self._task = self._progress.add_task("scenarios", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def tell(self, outcome: Outcome) -> None:
        """One more outcome."""
        self._done += 1
        if self._progress is not None:
            self._progress.update(self._task, advance=1, description=outcome.scenario[:40].ljust(40))
        else:
            mark = _MARKS[outcome.verdict]
            self._console.print(
                f"[{self._done}/{self._total}] {mark} {outcome.scenario} ({outcome.seconds:.1f} s)",
                markup=False,
                highlight=False,
            )
        if not standing.is_green([outcome]):
            self._console.print(
                reporting.told(outcome, self._again(outcome)), markup=False, highlight=False, soft_wrap=True
            )


def _conclude(
    outcomes: Sequence[Outcome], subject: Subject, console: Console, directory: Path, *, is_whole: bool
) -> None:
    found = standing.standings(outcomes, subject.roles)
    console.print(_table(found))
    stand = Counter(one.standing for one in found if one.scenarios or one.standing == "failed")
    console.print("Clauses: " + ", ".join(f"{count} {name}" for name, count in stand.most_common()))
    counts = standing.counts(outcomes)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(f"Scenarios: {told}; see {directory}")
    reached = standing.level_reached(found)
    if is_whole:
        name = contract.CONFORMANCE_LEVELS.get(reached, "none")
        console.print(f"Level reached by {subject.name}: {reached} ({name})", style="bold")
        if reached < max(contract.CONFORMANCE_LEVELS):
            _tell_what_is_next(found, reached + 1, console)
    else:
        console.print("Only a part of the suite was run, so that nothing is said about levels.", style="dim")
    if standing.is_green(outcomes):
        sys.exit(0)
    red = [outcome for outcome in outcomes if not standing.is_green([outcome])]
    sys.exit(UNKNOWN if all(outcome.verdict == "unknown" for outcome in red) else FAILED)


def _table(found: Sequence[standing.ClauseStanding]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("clause", "title", "level", "scenarios", "standing", "why"):
        table.add_column(name, no_wrap=name not in ("title", "why"))
    for one in found:
        if one.scenarios or one.standing == "failed":
            table.add_row(
                one.clause.id,
                one.clause.title,
                f"{one.clause.conformance_level} {one.clause.level}",
                str(one.scenarios),
                f"{_MARKS[one.standing]} {one.standing}",
                one.why,
                style=_STYLES.get(one.standing),
            )
    return table


def _tell_what_is_next(found: Sequence[standing.ClauseStanding], level: int, console: Console) -> None:
    lacking: dict[str, list[str]] = {}
    for one in found:
        if (
            one.clause.level == "MUST"
            and one.clause.conformance_level <= level
            and one.standing not in ("passed", "not bound")
        ):
            lacking.setdefault(one.standing, []).append(one.clause.id)
    for what, clauses in lacking.items():
        named = ", ".join(clauses[:_MOST_CLAUSES]) + (", …" if len(clauses) > _MOST_CLAUSES else "")
        console.print(f"  to level {level}: {len(clauses)} {what} ({named})", style="dim", highlight=False)
