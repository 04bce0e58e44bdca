"""Which scenarios are carried out, by clause, level and words of their ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import contract
from harness.document import Mistake, MistakesFound, did_you_mean
from harness.scenario import Scenario, discover, load


def load_all(paths: Iterable[Path]) -> list[Scenario]:
    """Every scenario of the files and folders.

    Raises:
        MistakesFound: with the mistakes of all files.
        FileNotFoundError: a path does not exist.
    """
    scenarios: list[Scenario] = []
    mistakes: list[Mistake] = []
    for path in discover(paths):
        try:
            scenarios += load(path)
        except MistakesFound as found:
            mistakes += found.mistakes
    if mistakes:
        raise MistakesFound(set(mistakes))
    return scenarios


def is_selected(scenario: Scenario, clauses: Collection[str], level: int | None) -> bool:
    """Whether a scenario binds one of the clauses (any, when none is named) of a level up to this one."""
    levels = {clause.id: clause.conformance_level for clause in contract.clauses()}
    if clauses and not set(clauses) & set(scenario.clauses):
        return False
    return level is None or any(levels.get(clause, 1) <= level for clause in scenario.clauses)


def unknown_clauses(clauses: Iterable[str]) -> list[str]:
    """A sentence for each id that no clause has."""
    known = [clause.id for clause in contract.clauses()]
    return [f"no clause is called {one!r}{did_you_mean(one, known)}" for one in clauses if one not in known]
