"""One subject on a stack of its own, judged by scenarios: a mutant until one fails, an impostor or variant by all."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from harness.scenario import Scenario, discover, load
from harness.stack import StackError
from harness.subject import SubjectError
from harness.verdict import Outcome
from tests.mutants import bench, subjects
from tests.mutants.catalogue import IMPOSTORS, MUTANTS, VARIANTS
from tests.mutants.choice import in_order
from tests.mutants.mutant import Mutant
from tests.mutants.tally import Exposure, Fate, Judged

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = "reference"

log = logging.getLogger(__name__)

_PARENT_SECONDS = 1.0

Judge = Callable[[Scenario], Outcome]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how far a trial goes. A scenario's own deadline is shortened to these, unless it kills something:
    what a subject has not done by then it does not do."""

    mutant_seconds: float = 100.0
    mutant_scenarios: int = 60
    mutant_deadline_seconds: float = 8.0
    impostor_deadline_seconds: float = 3.0
    at_once: int = 6
    seed: int = 0
    scenarios: Path = ROOT / "scenarios"


@cache
def all_scenarios(folder: Path) -> tuple[Scenario, ...]:
    """Every scenario below a folder.

    Raises:
        MistakesFound: a file has mistakes.
    """
    return tuple(scenario for path in discover([folder]) for scenario in load(path))


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
    trouble: str | None = None
    try:
        with _running(name, limits.seed) as judge:
            trouble = _until_killed(mutant, judge, limits, begun, tried)
    except Exception as error:
        trouble = _told(error)
    killer = tried[-1] if tried and tried[-1].verdict == "failed" else None
    seconds = time.monotonic() - begun
    return Fate(
        name,
        mutant.clause,
        mutant.wrong,
        mutant.roles,
        killer,
        tuple(tried),
        seconds,
        trouble if killer is None else None,
    )


def _until_killed(mutant: Mutant, judge: Judge, limits: Limits, begun: float, tried: list[Judged]) -> str | None:
    """Judge in order; returns why it was given up, None when a scenario failed or none is left."""
    chosen = in_order(mutant, all_scenarios(limits.scenarios))
    if not chosen:
        return f"no scenario binds {mutant.clause} or a clause of its area"
    for scenario in chosen[: limits.mutant_scenarios]:
        tried.append(_judged(judge(_hurried(scenario, limits.mutant_deadline_seconds))))
        if tried[-1].verdict == "failed":
            return None
        if time.monotonic() - begun > limits.mutant_seconds:
            return f"survived {len(tried)} scenarios in {limits.mutant_seconds:.0f} s"
    return None


def expose(name: str, limits: Limits) -> Exposure:
    """Have the whole suite judge an impostor or a variant."""
    begun = time.monotonic()
    is_impostor = name in IMPOSTORS
    about = IMPOSTORS[name] if is_impostor else next(one.about for one in VARIANTS if one.name == name)
    judged: list[Judged] = []
    trouble: str | None = None
    scenarios: Sequence[Scenario] = all_scenarios(limits.scenarios)
    if is_impostor:
        scenarios = [_hurried(scenario, limits.impostor_deadline_seconds) for scenario in scenarios]
    try:
        with _running(name, limits.seed) as judge:
            judged = _all_of(scenarios, judge, limits.at_once)
    except Exception as error:
        trouble = _told(error)
    return Exposure(name, about, tuple(judged), time.monotonic() - begun, trouble)


def control(scenario_ids: Sequence[str], limits: Limits) -> list[Judged]:
    """Have scenarios judge the reference, with the deadlines that mutants got: who kills a mutant must pass here."""
    wanted = [scenario for scenario in all_scenarios(limits.scenarios) if scenario.id in scenario_ids]
    if not wanted:
        return []
    with _running(REFERENCE, limits.seed) as judge:
        return _all_of([_hurried(scenario, limits.mutant_deadline_seconds) for scenario in wanted], judge, 1)


def _all_of(scenarios: Sequence[Scenario], judge: Judge, at_once: int) -> list[Judged]:
    """Side by side what may run so, then what must be alone."""
    with ThreadPoolExecutor(at_once) as threads:
        judged = [_judged(outcome) for outcome in threads.map(judge, [s for s in scenarios if not s.alone])]
    return judged + [_judged(judge(scenario)) for scenario in scenarios if scenario.alone]


def _hurried(scenario: Scenario, seconds: float) -> Scenario:
    if scenario.alone:
        # After a death Kafka needs its time to hand the partitions on.
        return scenario
    return replace(scenario, deadline_seconds=min(scenario.deadline_seconds, seconds))


def _told(error: Exception) -> str:
    """Why a subject could not be judged. One that breaks the harness is no success, and must not end the session."""
    if not isinstance(error, StackError | SubjectError):
        log.error("a trial broke", exc_info=error)
    said = " ".join(str(error).split())[:300]
    return f"it does not run: {said}" if isinstance(error, SubjectError) else f"{type(error).__name__}: {said}"


def _judged(outcome: Outcome) -> Judged:
    broken = tuple(dict.fromkeys(finding.clause for finding in outcome.findings))
    return Judged(outcome.scenario, outcome.clauses, broken, outcome.verdict, outcome.reason, outcome.seconds)


@contextmanager
def _running(name: str, seed: int) -> Iterator[Judge]:
    with tempfile.TemporaryDirectory(prefix="plumbline-mutant-") as text:
        folder = Path(text)
        path = subjects.REFERENCE if name == REFERENCE else subjects.write(name, folder)
        with bench.serving(path, folder) as judge:
            yield lambda scenario: judge(scenario, seed)
