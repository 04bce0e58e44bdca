"""Runs that have ended, judged one by one in a process of their own, and forgotten."""

from __future__ import annotations

import dataclasses
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from harness.exploration import Judged, judge
from harness.exploration.flight import TERMINAL
from harness.exploration.found import write_history
from harness.history import Event
from harness.soak.ledger import Ledger, sorted_out
from harness.soak.underway import UnderWay
from harness.worker_pool import worker_pool

LATE_SECONDS: Final = 30.0
"""How long after its end messages of a run may still come, before what is missing counts as never sent."""

_AGAIN_SECONDS: Final = 5.0
_MOST_KEPT: Final = 20
_LAST_SECONDS: Final = 60.0


class Verdicts:
    """`submit` and `conclude` are safe to use from several threads; `collect` and `close` are one thread's."""

    def __init__(self, ledger: Ledger, directory: Path, forget: Callable[[UnderWay], None]) -> None:
        """`directory` takes the histories of the first runs that are not as they should be; `forget` hears of each run of which
        nothing more is to be said."""
        self._ledger = ledger
        self._directory = directory
        self._forget = forget
        self._kept = 0
        self._judges = worker_pool(1)
        self._judging: dict[Future[Judged], tuple[UnderWay, tuple[Event, ...]]] = {}
        self._judged: queue.SimpleQueue[Future[Judged]] = queue.SimpleQueue()

    @property
    def waiting(self) -> int:
        """How many are being judged."""
        return len(self._judging)

    def submit(self, run: UnderWay, status: str, events: tuple[Event, ...]) -> None:
        """Have a run judged that has ended."""
        run.is_being_judged = True
        run.over_since = run.over_since or time.monotonic()
        case = dataclasses.replace(run.kind.case, input=run.given, timeline=run.timeline())
        future = self._judges.submit(judge, case.key, status, events, None)
        self._judging[future] = (run, events)
        future.add_done_callback(self._judged.put)

    def conclude(self, run: UnderWay, what: str, clause: str, why: str, events: Sequence[Event]) -> None:
        """Nothing more is to be said about a run; `what` is `judged` when all is well."""
        self._forget(run)
        run.close()
        with self._ledger.lock:
            self._ledger.counts.ends[str(run.status)] += run.status in TERMINAL
        if what == "unknown":
            self._ledger.unknown(why)
        elif what != "judged":
            self._ledger.trouble(what, self._ledger.counts.seconds, run.id, clause, why, self._keep(run, events))

    def collect(self, *, is_last: bool = False) -> None:
        """Take what has been judged; `is_last` waits a little for it."""
        while True:
            try:
                future = self._judged.get(timeout=0.2) if is_last else self._judged.get_nowait()
            except queue.Empty:
                return
            run, events = self._judging.pop(future)
            if (error := future.exception()) is not None:
                self.conclude(run, "unknown", "", f"it could not be judged: {error!r:.200}", events)
                continue
            self._take(run, future.result(), events, is_last=is_last)

    def close(self) -> None:
        """Wait for what is being judged, and end the process."""
        deadline = time.monotonic() + _LAST_SECONDS
        while self._judging and time.monotonic() < deadline:
            self.collect(is_last=True)
        for run, events in self._judging.values():
            self.conclude(run, "unknown", "", "it could not be judged in time", events)
        self._judging.clear()
        self._judges.shutdown(wait=False, cancel_futures=True)

    def _take(self, run: UnderWay, found: Judged, events: Sequence[Event], *, is_last: bool) -> None:
        is_young = time.monotonic() - (run.over_since or 0.0) < LATE_SECONDS
        if found.findings and is_young and not is_last:
            # What a process that died has left to be sent comes a little later, from another one.
            run.touch(_AGAIN_SECONDS)
            run.is_being_judged = False
            return
        with self._ledger.lock:
            self._ledger.counts.judged += 1
            self._ledger.counts.undecided += found.undecided is not None
        if found.crashes:
            self.conclude(run, "unknown", "", f"a checker crashed: {found.crashes[0].splitlines()[-1]}", events)
        elif (told := sorted_out(found.findings)) is not None:
            what, first = told
            self.conclude(run, what, first.clause, f"{first.anomaly}: {first.explanation}", events)
        else:
            self.conclude(run, "judged", "", "", events)

    def _keep(self, run: UnderWay, events: Sequence[Event]) -> str | None:
        if self._kept >= _MOST_KEPT or not events:
            return None
        self._kept += 1
        path = self._directory / "histories" / f"{run.marker}.jsonl"
        write_history(events, path)
        return str(path)
