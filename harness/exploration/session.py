"""An exploration: cases drawn in batches by processes of their own, carried out together, judged, and what failed kept."""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from harness.exploration.disturbance import Disturber
from harness.exploration.features import CLAUSES, features
from harness.exploration.fleet import Fleet, Landed
from harness.exploration.judging import Judged, judge
from harness.exploration.profiles import PROFILES, Drawn, keys_of
from harness.exploration.shrinking import Signature, signature
from harness.generation import Case
from harness.history import Event
from harness.runner.bench import Bench
from harness.subject import SubjectError
from harness.worker_pool import worker_pool

_BATCH = 60
_KNOWN_SEED = -1
_WORKERS = 2
_AHEAD = 3
_MOST_WAITING = 400
_TELL_SECONDS = 5.0
_RESULT_SECONDS = 60.0
_CALLS_KEPT_SECONDS = 300.0


@dataclass
class Failure:
    """A run that was not as it is allowed to be: the first one with its signature, and how many more had it."""

    landed: Landed
    judged: Judged
    drawn: Drawn
    count: int = 1

    @property
    def signature(self) -> Signature:
        """What it is known again by."""
        return signature(self.judged)


@dataclass
class Counts:
    """How far an exploration has come. `problems` and `crashes` say what keeps a verdict from being passed."""

    landed: int = 0
    judged: int = 0
    failed: int = 0
    undecided: int = 0
    disturbed: int = 0
    seconds: float = 0.0
    found_after: float | None = None
    """When the first failure was seen, in seconds from the beginning."""

    disturbances: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    features: Counter[str] = field(default_factory=Counter)
    undecided_for: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    failures: dict[Signature, Failure] = field(default_factory=dict)
    known: dict[str, bool] = field(default_factory=dict)
    """What failed in an earlier exploration, by the keys of its cases: whether it failed again."""

    @property
    def rate(self) -> float:
        """Runs a minute."""
        return 60 * self.landed / self.seconds if self.seconds else 0.0

    @property
    def clauses(self) -> frozenset[str]:
        """The clauses that the runs so far have put to the test."""
        return frozenset(clause for name in self.features for clause in CLAUSES.get(name, ()))


Told = Callable[[Counts, int], None]
"""Hears how far it has come, and how many are in flight."""


class Explorer:
    """A context manager that holds the processes which draw and judge."""

    def __init__(
        self, profile: str, seed: int, *, in_flight: int = 200, known: Sequence[Case] = (), disturbs: bool = True,
        also: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        """`known` are cases that come before all that is drawn; without `disturbs`, processes are left alone; `also` are clauses
        that count though they are a SHOULD."""
        if profile not in PROFILES:
            raise ValueError(f"expected one of the profiles {', '.join(PROFILES)}, found {profile!r}")
        self._profile = profile
        self._seed = seed
        self._in_flight = in_flight
        self._disturbs = disturbs
        self._also = also
        self._pool = worker_pool(_WORKERS)
        self._drawn: list[tuple[Drawn, Future[list[str]]]] = []
        self._ready: list[tuple[int, int, Case]] = [(0, _KNOWN_SEED, case) for case in reversed(known)]
        self._batches: dict[int, Drawn] = {}
        self._number = 0
        self._judging: dict[Future[tuple[Judged, frozenset[str]]], Landed] = {}
        self._done: queue.SimpleQueue[Future[tuple[Judged, frozenset[str]]]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def explore(
        self, bench: Bench, seconds: float, told: Told, *, most_runs: int | None = None, keep_going: bool = False
    ) -> Counts:
        """Explore for so long; without `keep_going`, until something fails.

        Raises:
            SetUpBroke: the harness cannot see or write any more.
        """
        counts = Counts()
        begun = told_at = time.monotonic()
        deaths = bench.deaths()
        disturber = Disturber(bench, PROFILES[self._profile].disturbed_one_in if self._disturbs else 0)
        fleet = Fleet(bench, in_flight=self._in_flight, disturber=disturber)
        drawn = Drawn(
            self._profile,
            self._seed * 1_000_003,
            _BATCH,
            has_api=bench.has_api,
            step_types=tuple(sorted(bench.subject.step_types)),
        )

        self._batches[_KNOWN_SEED] = replace(drawn, seed=_KNOWN_SEED)

        def stop() -> bool:
            nonlocal told_at
            now = time.monotonic()
            counts.seconds = now - begun
            self._collect(counts)
            if now - told_at >= _TELL_SECONDS:
                told_at = now
                bench.agents.let_go(_CALLS_KEPT_SECONDS)
                told(counts, fleet.under_way)
                counts.deaths = bench.deaths_since(deaths)
                if counts.deaths and not disturber.is_busy:
                    bench.revive()
            enough = most_runs is not None and self._number >= most_runs
            if disturber.trouble is not None:
                return True
            return now - begun >= seconds or enough or (bool(counts.failures) and not keep_going)

        def landed(one: Landed) -> None:
            counts.landed += 1
            counts.disturbed += one.is_disturbed
            counts.statuses[one.status or "not ended"] += 1
            if one.problem is not None:
                counts.problems[one.problem] += 1
                return
            told = (one.case.key, one.status, one.events, one.refusal, one.is_disturbed, self._also)
            future = self._pool.submit(_judge, *told)
            self._judging[future] = one
            future.add_done_callback(self._done.put)

        fleet.carry_out(lambda: self._next(drawn), landed, stop)
        counts.seconds = time.monotonic() - begun
        deadline = time.monotonic() + _RESULT_SECONDS
        while self._judging and time.monotonic() < deadline:
            self._collect(counts, wait=True)
        if self._judging:
            counts.problems["a run could not be judged in time"] += len(self._judging)
        try:
            bench.revive()
        except SubjectError as error:
            counts.deaths.append(str(error))
        counts.deaths = counts.deaths or bench.deaths_since(deaths)
        counts.disturbances = disturber.done
        if disturber.trouble is not None:
            counts.deaths.append(disturber.trouble)
        told(counts, 0)
        return counts

    def _next(self, first: Drawn) -> tuple[int, int, Case] | None:
        while len(self._drawn) < _AHEAD:
            drawn = replace(first, seed=first.seed + len(self._batches) - 1)
            self._batches[drawn.seed] = drawn
            self._drawn.append((drawn, self._pool.submit(keys_of, drawn)))
        if not self._ready and self._drawn[0][1].done():
            drawn, future = self._drawn.pop(0)
            self._ready = [(index, drawn.seed, Case.of_key(key)) for index, key in enumerate(future.result())]
            self._ready.reverse()
        if not self._ready or len(self._judging) > _MOST_WAITING:
            return None
        _, seed, case = self._ready.pop()
        self._number += 1
        return self._number, seed, case

    def _collect(self, counts: Counts, *, wait: bool = False) -> None:
        while True:
            try:
                future = self._done.get(timeout=0.2) if wait else self._done.get_nowait()
            except queue.Empty:
                return
            landed = self._judging.pop(future)
            judged, found = future.result()
            counts.judged += 1
            counts.features.update(found)
            if judged.undecided is not None:
                counts.undecided += 1
                counts.undecided_for[judged.undecided] += 1
            counts.crashes += judged.crashes[:1]
            if landed.seed == _KNOWN_SEED:
                counts.known[landed.case.key] = bool(judged.findings)
            if judged.findings:
                counts.failed += 1
                if counts.found_after is None:
                    counts.found_after = counts.seconds
                key = signature(judged)
                if key in counts.failures:
                    counts.failures[key].count += 1
                else:
                    counts.failures[key] = Failure(landed, judged, self._batches[landed.seed])


def _judge(
    key: str,
    status: str | None,
    events: tuple[Event, ...],
    refusal: str | None,
    is_disturbed: bool,
    also: frozenset[str],
) -> tuple[Judged, frozenset[str]]:
    return judge(key, status, events, refusal, is_disturbed=is_disturbed, also=also), features(Case.of_key(key))
