"""``plumbline scenario new|check|explain``: writing scenario files."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

import contract
from harness.document import Mistake, MistakesFound, did_you_mean
from harness.places import SCENARIOS_DIRECTORY
from harness.scenario import Scenario, discover, load
from harness.scenario.explaining import explain as explained
from harness.scenario.starting import new_scenario

_CONFTEST = "conftest.py"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*/[a-z0-9][a-z0-9_-]*")


@click.group()
def scenario() -> None:
    """Write, check and explain scenario files."""


@scenario.command()
@click.argument("name", metavar="AREA/NAME")
@click.option("--clause", "clauses", multiple=True, metavar="ID", help="A clause that it checks; may be repeated.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path("scenarios"),
    show_default=True,
    help="The folder of the suite.",
)
def new(name: str, clauses: tuple[str, ...], directory: Path) -> None:
    """Write a new scenario file AREA/NAME.yaml, commented and ready to be run."""
    if not _NAME.fullmatch(name):
        raise click.UsageError(
            f"expected AREA/NAME of lower-case letters, digits, - and _, such as cancellation/late_result, found {name!r}"
        )
    known = [clause.id for clause in contract.clauses()]
    for clause in clauses:
        if clause not in known:
            raise click.UsageError(f"no clause is called {clause!r}{did_you_mean(clause, known)}")
    path = directory / f"{name}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(new_scenario(path, clauses or ("CMP-02", "CMP-03", "CMP-04")))
    except FileExistsError as error:
        raise click.UsageError(f"{path} exists already; take another name, or remove it first") from error
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    click.echo(f"{path} is written. Check it with: plumbline scenario check {path}")
    click.echo(f"Carry it out on an executor with: plumbline check SUBJECT_FILE --scenarios {path}")
    if _let_pytest_collect(directory):
        click.echo(f"{directory / _CONFTEST} is written too: by it, pytest finds the scenarios of this folder.")


@scenario.command()
@click.argument("words", nargs=-1, metavar="[WORDS...]")
def clauses(words: tuple[str, ...]) -> None:
    """List the contract's clauses that have all of WORDS in their id, title or text: what a scenario can be about."""
    found = [
        clause
        for clause in contract.clauses()
        if all(word.lower() in f"{clause.id} {clause.title} {clause.text}".lower() for word in words)
    ]
    for clause in found:
        click.echo(f"{clause.id}  {clause.title} ({clause.level})\n        {' '.join(clause.text.split())}")
    if not found:
        raise click.UsageError(f"no clause has the words {' '.join(words)}; take fewer of them")


def _let_pytest_collect(directory: Path) -> bool:
    """Give a folder that has none the suite's conftest.py; whether one was written."""
    try:
        with (directory / _CONFTEST).open("x", encoding="utf-8") as file:
            file.write((SCENARIOS_DIRECTORY / _CONFTEST).read_text(encoding="utf-8"))
    except FileExistsError:
        return False
    return True


@scenario.command()
@click.argument("paths", nargs=-1, metavar="[PATHS...]", type=click.Path(path_type=Path))
def check(paths: tuple[Path, ...]) -> None:
    """Check scenario files, and all those below folders (by default `scenarios`); exit with 1 when there is a mistake."""
    files = _discovered(paths or (Path("scenarios"),))
    scenarios: list[Scenario] = []
    mistakes: set[Mistake] = set()
    for file in files:
        try:
            scenarios += load(file)
        except MistakesFound as found:
            mistakes.update(found.mistakes)
    for mistake in sorted(mistakes):
        click.echo(str(mistake), err=True)
    if mistakes:
        wrong = len({mistake.path for mistake in mistakes})
        click.echo(f"{_counted(len(mistakes), 'mistake')} in {_counted(wrong, 'file')}.", err=True)
        sys.exit(1)
    clauses = {clause for one in scenarios for clause in one.clauses}
    click.echo(
        f"{_counted(len(files), 'file')}, {_counted(len(scenarios), 'scenario')}, "
        f"{_counted(len(clauses), 'clause')} of {len(contract.clauses())}: no mistake."
    )


@scenario.command()
@click.argument("path", type=click.Path(path_type=Path))
def explain(path: Path) -> None:
    """Tell in prose what the scenario file PATH does and expects."""
    (file, *others) = _discovered((path,))
    if others:
        raise click.UsageError(f"expected one scenario file, found {len(others) + 1} below {path}")
    try:
        click.echo(explained(load(file)), nl=False)
    except MistakesFound as found:
        click.echo(str(found), err=True)
        sys.exit(1)


def _discovered(paths: tuple[Path, ...]) -> list[Path]:
    try:
        files = discover(paths)
    except FileNotFoundError as error:
        raise click.UsageError(str(error)) from error
    if not files:
        raise click.UsageError(f"there is no scenario file (*.yaml) below {', '.join(map(str, paths))}")
    return files


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
