"""One subject on a fresh stack, judged by scenarios: a mutant until one fails, an impostor or variant by all."""

from __future__ import annotations

import copyreg
import logging
import multiprocessing.util
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.runner.crew import Crew
from harness.scenario import Scenario, discover, load
from harness.verdict import Outcome
from tests.mutants import bench, subjects
from tests.mutants.catalogue import IMPOSTORS, MUTANTS, VARIANTS
from tests.mutants.choice import in_order
from tests.mutants.mutant import Mutant
from tests.mutants.stacks import StackKeeper
from tests.mutants.tally import Exposure, Fate, Judged

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = "reference"

log = logging.getLogger(__name__)

_PARENT_SECONDS = 1.0
_MOST_STARTS = 2
_NOT_RUNNING = "it does not run"
DOUBTFUL = frozenset({"not met in time", "condition never met", "lost run", "request refused", "process died"})
"""Anomalies that a machine with too much to do can bring about as well, or a scenario that is under way beside."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how far a trial goes. A scenario's own deadline is shortened to these: what a subject has not done by
    then it does not do. `trial_seconds` is when a trial that does not end is given up."""

    mutant_seconds: float = 150.0
    mutant_scenarios: int = 120
    mutant_deadline_seconds: float = 8.0
    mutant_alone_seconds: float = 30.0
    impostor_deadline_seconds: float = 3.0
    impostor_alone_seconds: float = 10.0
    at_once: int = 6
    impostor_at_once: int = 16
    trial_seconds: float = 2400.0
    seed: int = 0
    scenarios: Path = ROOT / "scenarios"


_read: dict[Path, tuple[Scenario, ...]] = {}


def _read_only(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


# Scenarios are handed on to other processes, and what they hold is read-only, which has no name to be unpickled by.
copyreg.pickle(MappingProxyType, lambda proxy: (_read_only, (dict(proxy),)))


def all_scenarios(folder: Path) -> tuple[Scenario, ...]:
    """Every scenario below a folder; read once, since there are hundreds.

    Raises:
        MistakesFound: a file has mistakes.
    """
    if folder not in _read:
        _read[folder] = tuple(scenario for path in discover([folder]) for scenario in load(path))
    return _read[folder]


def begin(parent_pid: int, folder: Path, scenarios: tuple[Scenario, ...]) -> None:
    """What a process of a pool begins with: the scenarios that its parent has read, and a watch on the parent."""
    end_with(parent_pid)
    _read[folder] = scenarios


def end_with(parent_pid: int) -> None:
    """Have this process end when its parent has, however that ended; the stack's warden then ends what runs on it."""

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(_PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def try_mutant(name: str, limits: Limits) -> Fate:
    """Have scenarios judge a mutant until one of them fails."""
    mutant = next(one for one in MUTANTS if one.name == name)
    begun = time.monotonic()
    tried: list[Judged] = []
    killer: Judged | None = None
    trouble: str | None = None
    for _ in range(_MOST_STARTS):
        tried.clear()
        try:
            with _bounded(name, limits), _running(name, limits) as crew:
                killer, trouble = _until_killed(mutant, crew, limits, begun, tried)
        except Exception as error:
            trouble = _told(error)
        if trouble is None or not trouble.startswith(_NOT_RUNNING):
            break
    return Fate(
        name,
        mutant.clause,
        mutant.wrong,
        mutant.roles,
        killer,
        tuple(tried),
        round(time.monotonic() - begun, 1),
        trouble if killer is None else None,
    )


def _until_killed(
    mutant: Mutant, crew: Crew, limits: Limits, begun: float, tried: list[Judged]
) -> tuple[Judged | None, str | None]:
    """Judge in order; returns the killer, and without one why it was given up if anything was left."""
    chosen = in_order(mutant, all_scenarios(limits.scenarios))
    if not chosen:
        return None, f"no scenario binds {mutant.clause} or a clause of its area"
    hurried = _hurried_for_a_mutant(chosen[: limits.mutant_scenarios], limits)
    for group in side_by_side(hurried, limits.at_once):
        # Those that bind its clause are asked however long it takes: a slow machine makes no survivors.
        if time.monotonic() - begun > limits.mutant_seconds and mutant.clause not in group[0].clauses:
            return None, f"survived {len(tried)} scenarios in {limits.mutant_seconds:.0f} s"
        crew.begin(group)
        judged = [(scenario, crew.outcome(scenario)) for scenario in group]
        tried += [_judged(outcome) for _, outcome in judged]
        failed = [(scenario, outcome) for scenario, outcome in judged if outcome.verdict == "failed"]
        # Of several, one that names the fault by its clause says most.
        failed.sort(key=lambda one: not any(finding.clause == mutant.clause for finding in one[1].findings))
        for scenario, outcome in failed:
            if _is_seen_again(outcome, scenario, crew):
                return _judged(outcome), None
        if crew.why_no_bench is not None:
            return None, f"{_NOT_RUNNING}: {' '.join(crew.why_no_bench.split())[:300]}"
    return None, None


def _is_seen_again(outcome: Outcome, scenario: Scenario, crew: Crew) -> bool:
    """What may have come of something else must come again when nothing else is under way."""
    if scenario.alone or not outcome.findings or any(finding.anomaly not in DOUBTFUL for finding in outcome.findings):
        return True
    again = crew.outcome(replace(scenario, id=f"{scenario.id}, again", alone=True))
    return again.verdict == "failed"


def side_by_side(scenarios: Sequence[Scenario], at_once: int) -> Iterator[list[Scenario]]:
    """The same in the same order, in groups of those that may be under way together."""
    for alone, group in groupby(scenarios, key=lambda scenario: scenario.alone):
        left = list(group)
        while left:
            size = 1 if alone else at_once
            yield left[:size]
            left = left[size:]


def expose(name: str, limits: Limits) -> Exposure:
    """Have the whole suite judge an impostor or a variant."""
    begun = time.monotonic()
    is_impostor = name in IMPOSTORS
    about = IMPOSTORS[name] if is_impostor else next(one.about for one in VARIANTS if one.name == name)
    judged: list[Judged] = []
    trouble: str | None = None
    scenarios: Sequence[Scenario] = all_scenarios(limits.scenarios)
    if is_impostor:
        # Most of the time it is waited for what never comes.
        limits = replace(limits, at_once=limits.impostor_at_once)
        scenarios = _hurried(scenarios, limits.impostor_deadline_seconds, limits.impostor_alone_seconds)
    try:
        with _bounded(name, limits), _running(name, limits) as crew:
            judged = _all_of(scenarios, crew)
            trouble = crew.why_no_bench
    except Exception as error:
        trouble = _told(error)
    return Exposure(name, about, tuple(judged), round(time.monotonic() - begun, 1), trouble)


def control(scenario_ids: Sequence[str], limits: Limits) -> list[Judged]:
    """Have scenarios judge the reference, with the deadlines that mutants got: who kills a mutant must pass here."""
    wanted = [scenario for scenario in all_scenarios(limits.scenarios) if scenario.id in scenario_ids]
    if not wanted:
        return []
    with _bounded(REFERENCE, limits), _running(REFERENCE, limits) as crew:
        return _all_of(_hurried_for_a_mutant(wanted, limits), crew)


def _all_of(scenarios: Sequence[Scenario], crew: Crew) -> list[Judged]:
    """Side by side what may run so, then what must be alone."""
    crew.begin(scenarios)
    ordered = sorted(scenarios, key=lambda scenario: scenario.alone)
    return [_judged(crew.outcome(scenario)) for scenario in ordered]


def _hurried(scenarios: Iterable[Scenario], seconds: float, alone_seconds: float) -> list[Scenario]:
    """The same with shorter deadlines; those that kill something have more time, since after a death Kafka needs some
    until it hands the partitions on."""
    return [
        replace(scenario, deadline_seconds=min(scenario.deadline_seconds, alone_seconds if scenario.alone else seconds))
        for scenario in scenarios
    ]


def _hurried_for_a_mutant(scenarios: Iterable[Scenario], limits: Limits) -> list[Scenario]:
    return _hurried(scenarios, limits.mutant_deadline_seconds, limits.mutant_alone_seconds)


def _told(error: Exception) -> str:
    """Why a subject could not be judged. One that breaks the harness is no success, and must not end the session."""
    log.error("a trial broke", exc_info=error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _judged(outcome: Outcome) -> Judged:
    broken = tuple(dict.fromkeys(finding.clause for finding in outcome.findings))
    return Judged(outcome.scenario, outcome.clauses, broken, outcome.verdict, outcome.reason, outcome.seconds)


@contextmanager
def _bounded(name: str, limits: Limits) -> Iterator[None]:
    """End this whole process when the block does not end in time: no trial may stop a session for ever."""

    def give_up() -> None:
        log.error("%s has not been judged within %.0f s", name, limits.trial_seconds)
        os._exit(1)

    timer = threading.Timer(limits.trial_seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@cache
def _stacks() -> StackKeeper:
    """The stacks of this process."""
    keeper = StackKeeper()
    # Processes of a pool end without what atexit has.
    multiprocessing.util.Finalize(keeper, keeper.drop, exitpriority=1)
    return keeper


@contextmanager
def _running(name: str, limits: Limits) -> Iterator[Crew]:
    with tempfile.TemporaryDirectory(prefix="plumbline-mutant-") as text:
        folder = Path(text)
        path = subjects.REFERENCE if name == REFERENCE else subjects.write(name, folder)
        with bench.serving(path, folder, _stacks(), seed=limits.seed, at_once=limits.at_once) as crew:
            yield crew
