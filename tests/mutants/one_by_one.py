"""Mutants that are tried for a long time, a few at once: each result kept as it comes, so that a session can be gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import click

from tests.mutants.mutant import Mutant


class Tried(Protocol):
    """What came of one mutant, a dataclass of what JSON knows; `trouble` says why nothing can be said of it."""

    @property
    def mutant(self) -> str: ...
    @property
    def trouble(self) -> str | None: ...


T = TypeVar("T", bound=Tried)


def chosen(mutants: Iterable[Mutant], only: Collection[str]) -> list[str]:
    """The names that are meant: all, or those of `only`. Raises ClickException for one that is not among them."""
    names = [mutant.name for mutant in mutants]
    if unknown := set(only) - set(names):
        raise click.ClickException(f"no such mutant: {', '.join(sorted(unknown))}; they are {', '.join(names)}")
    return [name for name in names if not only or name in only]


def try_each(
    names: Sequence[str],
    record: Path,
    made_of: Callable[..., T],
    attempt: Callable[[str], T],
    told: Callable[[T], str],
    *,
    resume: bool,
    most: int | None = None,
    at_once: int = 1,
) -> list[T]:
    """Try each, and give what is known of them in their order. A result is a line of `record` at once.

    Args:
        record: the file of what is known; without `resume` it begins anew.
        made_of: makes a result of what stands in a line.
        resume: what is in the record already, and is no trouble, is not tried again.
        most: so many are tried at most.
        at_once: so many at the same time, each in a thread of its own.
    """
    if not resume:
        record.unlink(missing_ok=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    known = {one.mutant: one for one in read(record, made_of) if one.trouble is None}
    left = [name for name in names if name not in known][:most]
    with ThreadPoolExecutor(at_once) as pool:
        attempts = [pool.submit(attempt, name) for name in left]
        try:
            for number, done in enumerate(as_completed(attempts), 1):
                one = done.result()
                known[one.mutant] = one
                assert is_dataclass(one)
                assert not isinstance(one, type)
                with record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(one)) + "\n")
                click.echo(f"{number}/{len(left)} {told(one)}")
        except BaseException:
            # What has not begun is left to the next time.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [known[name] for name in names if name in known]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table in Markdown; None is an empty cell."""
    lines = [" | ".join("" if cell is None else str(cell).replace("|", "\\|") for cell in row) for row in (head, *rows)]
    return [f"| {lines[0]} |", f"|{' --- |' * len(head)}", *(f"| {line} |" for line in lines[1:])]


def read(record: Path, made_of: Callable[..., T]) -> list[T]:
    """What a record holds, line by line; nothing where there is none. A line that was only begun is taken out of it."""
    if not record.exists():
        return []
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        # It was only begun when the session ended, and what comes next is to stand on a line of its own.
        del lines[-1]
        record.write_text("".join(lines), encoding="utf-8")
    return [made_of(**json.loads(line)) for line in lines]
