"""A failure made smaller, each attempt carried out on the subject, bounded by time: by leaving things out, many attempts
at once; and where nothing can be left out, by Hypothesis' own shrinker."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from harness.exploration.fleet import Fleet, Landed, Source
from harness.exploration.judging import Judged, judge
from harness.exploration.profiles import Drawn, Enough, draw
from harness.generation import Case
from harness.runner.bench import Bench
from harness.shrinking import OF_PROCESSES, engine, smaller_cases

_STUCK_SECONDS = 5.0
_STUCK_AFTER_A_DEATH_SECONDS = 30.0
_QUIET_SECONDS = 0.2
_QUIET_AFTER_A_CANCELLATION_SECONDS = 1.2
"""Until it has been seen that the executor is through with it: offsets are asked for twice a second."""

_ATTEMPTS_AT_ONCE = 40
_TRIES = 3
_MORE_TRIES = 9
Signature = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Replayed:
    """One case carried out by itself."""

    landed: Landed
    judged: Judged


@dataclass(frozen=True)
class Shrunk:
    """The smallest case found, what came of it, how many attempts that took, and how often the first one failed of how many
    times: `smallest` None when it never failed again."""

    smallest: Replayed | None
    attempts: int
    failed: int
    tried: int


def signature(judged: Judged) -> Signature:
    """What a failure is known again by: who found what clause broken."""
    return frozenset((one.checker, one.clause) for one in judged.findings)


def replay(case: Case, bench: Bench, also: frozenset[str] = frozenset()) -> Replayed:
    """Carry out one case alone, and judge it; `also` as for :func:`judge`. Raises :class:`SetUpBroke`."""
    (found,) = _carried_out([case], bench, also)
    return found


def disturbs(case: Case) -> bool:
    """Whether it does something to processes, so that nothing else can be under way with it."""
    return any(word in OF_PROCESSES for act in case.timeline for word in act)


def _carried_out(cases: Sequence[Case], bench: Bench, also: frozenset[str]) -> list[Replayed]:
    """Carry cases out together, judge them, and bring processes back to how they were."""
    landed: list[Landed] = []
    waiting = list(cases)[::-1]
    stuck_seconds = _STUCK_AFTER_A_DEATH_SECONDS if any(map(disturbs, cases)) else _STUCK_SECONDS
    is_cancelled = any("cancel" in act for case in cases for act in case.timeline)
    quiet_seconds = _QUIET_AFTER_A_CANCELLATION_SECONDS if is_cancelled else _QUIET_SECONDS
    fleet = Fleet(bench, in_flight=_ATTEMPTS_AT_ONCE, stuck_seconds=stuck_seconds, quiet_seconds=quiet_seconds)
    fleet.carry_out(_taken_from(waiting), landed.append, partial(_is_empty, waiting))
    if bench.processes.are_disturbed:
        bench.processes.restore()
    return [Replayed(one, judge(one.case.key, one.status, one.events, one.refusal, also=also)) for one in landed]


def clauses_in(wanted: Signature) -> frozenset[str]:
    """What a failure is about, whatever its level."""
    return frozenset(clause for _, clause in wanted)


def shrink(
    drawn: Drawn | None,
    failing: Case,
    wanted: Signature,
    bench: Bench,
    seconds: float,
    told: Callable[[str], None] = lambda _: None,
) -> Shrunk:
    """Replay a failure, and then whatever is smaller, for so long at most. It counts as the same failure when one of its
    findings is by the same checker about the same clause. `drawn` None: it comes from no batch, and is not drawn anew."""
    until = time.monotonic() + seconds
    failed = tried = 0
    smallest: Replayed | None = None
    while tried < _TRIES or (not failed and tried < _TRIES + _MORE_TRIES and time.monotonic() < until):
        again = replay(failing, bench, clauses_in(wanted))
        tried += 1
        if signature(again.judged) & wanted:
            failed += 1
            smallest = again
        if failed and failed == tried == 1:
            break
    if smallest is None:
        return Shrunk(None, tried, failed, tried)
    told(f"it failed {failed} of {tried} times by itself; smaller ones are tried")
    first = smallest
    smallest, flown = reduced(first, wanted, bench, until)
    count = tried + flown
    if smallest is first and drawn is not None:
        # Nothing can be left out of it: Hypothesis may know another way to make it smaller.
        attempts = _Attempts(first, wanted, bench, until)
        with contextlib.suppress(_StillFails, Enough):
            draw(drawn, attempts.attempt, shrinking=True)
        smallest, count = attempts.smallest, count + attempts.count
    return Shrunk(smallest, count, failed, tried)


def reduced(failing: Replayed, wanted: Signature, bench: Bench, until: float) -> tuple[Replayed, int]:
    """The same failure in the smallest case that is got by leaving things out, many attempts at once, round by round; with
    how many were made."""

    def try_all(cases: Sequence[Case]) -> list[tuple[Case, Replayed]]:
        return [
            (one.landed.case, one)
            for one in _carried_out(cases, bench, clauses_in(wanted))
            if one.landed.problem is None and signature(one.judged) & wanted
        ]

    found = engine.shrink(
        failing.landed.case,
        failing,
        smaller=smaller_cases,
        key=lambda case: case.key,
        size=lambda case: len(case.key),
        try_all=try_all,
        until=until,
        at_once=lambda case: 1 if disturbs(case) else _ATTEMPTS_AT_ONCE,
    )
    return found.result, found.attempts


def _taken_from(cases: list[Case]) -> Source:
    return lambda: (0, 0, cases.pop()) if cases else None


def _is_empty(cases: list[Case]) -> bool:
    return not cases


class _StillFails(Exception):
    """The attempt fails as well: what Hypothesis makes smaller."""


class _Attempts:
    def __init__(self, first: Replayed, wanted: Signature, bench: Bench, until: float) -> None:
        self._failing = first.landed.case.key
        self._wanted = wanted
        self._bench = bench
        self._until = until
        self._known: dict[str, bool] = {self._failing: True}
        self._has_begun = False
        self.smallest = first
        self.count = 0

    def attempt(self, case: Case) -> None:
        key = case.key
        if not self._has_begun:
            # The batch is drawn again, as it was, up to the case that failed.
            if key != self._failing:
                return
            self._has_begun = True
        fails = self._known.get(key)
        if fails is None:
            if time.monotonic() > self._until:
                raise Enough
            self.count += 1
            again = replay(case, self._bench, clauses_in(self._wanted))
            fails = self._known[key] = again.landed.problem is None and bool(signature(again.judged) & self._wanted)
            if fails and len(key) <= len(self.smallest.landed.case.key):
                self.smallest = again
        if fails:
            raise _StillFails
