"""What is to be made smaller, read from a scenario file or from the history of a run that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.generation import Case
from harness.history import History, HistoryError, read_history
from harness.scenario import Scenario, discover, load, scenario_id

Json = Any

_VARIANT = "::"


class UnusableSource(ValueError):
    """Nothing can be made smaller of it; says why, and what could be."""


@dataclass(frozen=True)
class Failing:
    """What failed once: a generated case, or a scenario of a file with what was drawn for it (None: not known yet)."""

    told: str
    seed: int
    case: Case | None = None
    scenario: Scenario | None = None
    drawn: Mapping[str, Json] | None = None


def read_source(word: str, suites: Sequence[Path], seed: int) -> list[Failing]:
    """What a word of the command line names: `FILE.yaml`, `FILE.yaml::NAME` for one variant, or a history `FILE.jsonl`,
    whose scenario is looked for below `suites`. A file with variants gives one for each.

    Raises:
        UnusableSource: there is no such file, it is no history, or its scenario is not found.
        MistakesFound: the scenario file has mistakes.
    """
    name, _, variant = word.partition(_VARIANT)
    path = Path(name)
    if not path.is_file():
        raise UnusableSource(f"expected a scenario file or a history, found no file {path}")
    if path.suffix == ".jsonl":
        return [_of_history(path, suites)]
    return [Failing(one.id, seed, scenario=one) for one in _variants(path, variant)]


def _variants(path: Path, variant: str) -> list[Scenario]:
    scenarios = load(path)
    chosen = [one for one in scenarios if variant in ("", one.id, one.id.rpartition("/")[2])]
    if not chosen:
        known = ", ".join(one.id.rpartition("/")[2] for one in scenarios)
        raise UnusableSource(f"{path}: expected one of {known}, found {variant!r}")
    return chosen


def _of_history(path: Path, suites: Sequence[Path]) -> Failing:
    try:
        begin = read_history(path).begin
    except (OSError, UnicodeDecodeError, HistoryError) as error:
        raise UnusableSource(f"{path}: expected a history (JSON lines), but it cannot be read: {error}") from error
    if begin is None:
        raise UnusableSource(f"{path}: expected a history that begins with its scenario, found none named in it")
    seed = int(begin["seed"] or 0)
    told = f"{begin['scenario']} (its history {path})"
    if begin["case"] is not None:
        return Failing(told, seed, case=Case.of_key(json.dumps(begin["case"])))
    wanted = str(begin["scenario"])
    for file in discover([one for one in suites if one.exists()]):
        if scenario_id(file) == wanted.partition("[")[0]:
            for scenario in load(file):
                if scenario.id == wanted:
                    return Failing(told, seed, scenario=scenario, drawn=begin["drawn"] or {})
    where = ", ".join(map(str, suites))
    raise UnusableSource(
        f"{path}: expected the scenario {wanted} below {where}, found none; say with --scenarios where it is"
    )


def drawn_in(history: History) -> Mapping[str, Json]:
    """What was drawn for the scenario of a history."""
    return {} if history.begin is None else history.begin["drawn"] or {}
