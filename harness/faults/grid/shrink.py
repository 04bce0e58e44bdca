"""Shrinks what failed: the fewest faults and the shortest workflow that still fail in the same way, as a scenario file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from harness.document import MistakesFound
from harness.faults.grid.base import Base, file_name, text
from harness.faults.grid.bench import TrialBench
from harness.faults.grid.cells import Result
from harness.faults.grid.smaller import Data, size, smaller
from harness.faults.points import Fault
from harness.verdict import Outcome

MOST_TRIALS: Final = 80
MOST_SECONDS: Final = 300.0
_HEAD: Final = "# yaml-language-server: $schema=../scenario.schema.json\n"

Judge = Callable[[Data], Outcome]
"""Carries a scenario out. Raises MistakesFound for one that is none."""


@dataclass(frozen=True)
class Shrunk:
    """The smallest scenario found that fails, what came of it, and how many were tried; `is_whole` when nothing smaller was
    left to try."""

    data: Data
    outcome: Outcome
    trials: int
    is_whole: bool


def shrink(
    data: Mapping[str, Any],
    failed: Outcome,
    judge: Judge,
    *,
    most_trials: int = MOST_TRIALS,
    most_seconds: float = MOST_SECONDS,
    say: Callable[[str], None] = lambda _: None,
) -> Shrunk:
    """Try smaller scenarios, and go on from each that fails by a finding as the first one had; `failed` is what came of that.

    A scenario that did not fail is not tried again, though another timing might have it fail: what is given back fails, and is
    not always the smallest there is.
    """
    best, outcome = dict(data), failed
    wanted = _signs(failed)
    known: set[str] = set()
    begun, trials = time.monotonic(), 0
    while True:
        for candidate in sorted(smaller(best), key=_cost(best)):
            key = repr(candidate)
            if key in known:
                continue
            known.add(key)
            if trials >= most_trials or time.monotonic() - begun > most_seconds:
                return _confirmed(data, failed, Shrunk(best, outcome, trials, False), judge)
            trials += 1
            try:
                found = judge(candidate)
            except MistakesFound:
                continue
            if found.verdict == "failed" and _signs(found) & wanted:
                say(f"smaller ({size(candidate)} of {size(data)} characters) after {trials} trials: {found.reason}")
                best, outcome = candidate, found
                break
        else:
            return _confirmed(data, failed, Shrunk(best, outcome, trials, True), judge)


def _confirmed(data: Mapping[str, Any], failed: Outcome, shrunk: Shrunk, judge: Judge) -> Shrunk:
    """What was found, with all the time that the first scenario gave: what fails only for want of time is no failure, and
    then the first one is all there is."""
    patient = dict(shrunk.data)
    patient.pop("deadline_seconds", None)
    if "deadline_seconds" in data:
        patient["deadline_seconds"] = data["deadline_seconds"]
    if patient == shrunk.data:
        return replace(shrunk, data=_told(shrunk.data))
    outcome = judge(patient)
    if outcome.verdict == "failed" and _signs(outcome) & _signs(failed):
        return Shrunk(_told(patient), outcome, shrunk.trials + 1, shrunk.is_whole)
    return Shrunk(_told(dict(data)), failed, shrunk.trials + 1, False)


def shrink_cell(
    result: Result, base: Base, subject: str, bench: TrialBench, directory: Path, say: Callable[[str], None]
) -> Path:
    """Shrink a cell that failed, and write what came of it below `shrunk/`; gives the path. Raises OSError."""
    name = f"{file_name(result.cell.key)}.yaml"
    trial = directory / "shrinking" / "scenarios" / name
    shrunk = shrink(base.trial(result.cell.fault), result.outcome, lambda data: bench.judge(data, trial), say=say)
    path = directory / "shrunk" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head(result.cell.key, subject) + text(shrunk.data), encoding="utf-8")
    return path


def _cost(best: Mapping[str, Any]) -> Callable[[Data], int]:
    """What makes every later trial faster is tried first; then what takes the most away."""
    deadline = best.get("deadline_seconds", 20)
    return lambda one: 0 if one.get("deadline_seconds", 20) < deadline else size(one)


def _signs(outcome: Outcome) -> set[str]:
    """By what a failure is known again."""
    return {_SAME.get(finding.anomaly, finding.anomaly) for finding in outcome.findings}


_SAME: Final = {
    "not met in time": "run does not end",
    "lost run": "run does not end",
    "condition never met": "run does not end",
}


def _told(data: Data) -> Data:
    """The scenario with a guarantee that says what it is about."""
    faults = [Fault.read(entry["fault"]) for entry in data["timeline"] if "fault" in entry]
    happens = " and ".join(map(str, faults)) or "nothing"
    return {**data, "guarantee": f"A run ends as it should, whatever happens: {happens}."}


def head(of: str, subject: str) -> str:
    """What stands above a shrunk scenario in its file."""
    return f"{_HEAD}# Made smaller from the cell {of} of the fault grid of {subject}.\n"
