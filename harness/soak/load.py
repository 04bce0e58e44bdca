"""The steady load: runs asked for at a rate, acted on, waited for, and judged as they end."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from harness.exploration.flight import TERMINAL
from harness.exploration.statuses import StatusReader
from harness.observer import Scope
from harness.runner.bench import Bench
from harness.runner.errors import Broken, SetUpBroke
from harness.soak.everyone import Everyone
from harness.soak.ledger import Ledger
from harness.soak.mix import KINDS, input_of
from harness.soak.recovery import Recoveries
from harness.soak.underway import Common, UnderWay
from harness.soak.verdicts import Verdicts

log = logging.getLogger(__name__)

STUCK_SECONDS: Final = 60.0
"""A run of which nothing was heard for so long does not end any more."""

_ACTING_SECONDS: Final = 90.0
_ASKING_AT_ONCE: Final = 24
_TICK_SECONDS: Final = 0.02
_STATUS_SECONDS: Final = 0.25
_SETTLE_SECONDS: Final = 0.5
_QUIET_SECONDS: Final = 0.5
_CATCH_UP_SECONDS: Final = 5.0
_FORGET_CALLS_SECONDS: Final = 20.0
_FOLLOWED_ONE_IN: Final = 12
_MOST_JUDGING: Final = 400


class Load:
    """`carry` in one thread; what else is public is safe to use from others."""

    def __init__(
        self, bench: Bench, ledger: Ledger, recoveries: Recoveries, everyone: Everyone, *, rate: float, seed: int,
        directory: Path, stuck_seconds: float = STUCK_SECONDS,
    ) -> None:  # fmt: skip
        """`rate` in runs a second; at most what comes in two stuck times is under way at once. `directory` takes the
        histories of the first runs that are not as they should be."""
        self._bench = bench
        self._ledger = ledger
        self._recoveries = recoveries
        self._everyone = everyone
        self._rate = rate
        self._draw = random.Random(f"load {seed}")
        self._stuck_seconds = stuck_seconds
        self._most_under_way = max(200, int(rate * 2 * stuck_seconds))
        self._lock = threading.Lock()
        self._runs: dict[str, UnderWay] = {}
        self.scopes: dict[str, Scope] = {}
        """Marker → the scope of a run under way."""

        self._asked = 0
        self._asking = ThreadPoolExecutor(_ASKING_AT_ONCE, thread_name_prefix="soak-ask")
        self._verdicts = Verdicts(ledger, directory, self._drop)
        self._statuses = StatusReader(bench.stack.database_url, bench.binding)
        self._settler = threading.Thread(target=self._settle_all, name="soak-settle", daemon=True)
        self._over = threading.Event()
        self._broken: BaseException | None = None
        self._polled_at = self._forgot_at = 0.0

    def set_up(self) -> None:
        """Create the workflows and register their agents. Raises SetUpBroke, Broken, NotSupported."""
        can = self._bench.subject.step_types
        self._commons = [Common(kind, self._bench) for kind in KINDS if kind.step_types <= can]

    def under_way(self) -> list[UnderWay]:
        """The runs that have been accepted and have not ended."""
        with self._lock:
            return [run for run in self._runs.values() if run.is_accepted and not run.is_over]

    def ended(self) -> list[UnderWay]:
        """The runs that have ended, and were not judged yet."""
        with self._lock:
            return [
                run
                for run in self._runs.values()
                if run.is_over and not run.left and not run.is_acting and not run.is_being_judged
            ]

    def carry(self, seconds: float, drain_seconds: float, tell: Callable[[], None]) -> None:
        """Ask for runs for so long; then wait until all have ended, or none moves any more.

        Raises:
            SetUpBroke: the harness cannot see any more.
        """
        begun = time.monotonic()
        self._settler.start()
        try:
            while (now := time.monotonic() - begun) < seconds + drain_seconds:
                if now < seconds:
                    self._admit(now)
                elif not self._runs:
                    break
                self._act()
                self._poll()
                self._verdicts.collect()
                self._note(now)
                tell()
                if self._broken is not None:
                    raise SetUpBroke(f"the runs could not be followed any more: {self._broken!r}") from self._broken
                time.sleep(_TICK_SECONDS)
            self._give_up(time.monotonic() - begun)
        finally:
            self._over.set()
            self._settler.join(_CATCH_UP_SECONDS * 4)
            self._asking.shutdown(wait=False, cancel_futures=True)
            self._verdicts.close()
            self._statuses.close()
            self._note(time.monotonic() - begun)

    def _admit(self, now: float) -> None:
        while self._asked < now * self._rate:
            self._asked += 1
            if len(self._runs) >= self._most_under_way:
                self._ledger.counts.held_back += 1
                continue
            common = self._draw.choices(self._commons, [one.kind.weight for one in self._commons])[0]
            marker = f"soak-{self._asked}-{uuid.uuid4().hex[:8]}"
            given = input_of(common.kind, marker, self._draw)
            run = UnderWay(
                common,
                marker,
                given,
                self._bench,
                self._recoveries.moved,
                is_followed=self._asked % _FOLLOWED_ONE_IN == 0,
            )
            self._everyone.replay(run.writer)
            with self._lock:
                self._runs[marker] = run
                self.scopes[marker] = run.scope
            self._ledger.counts.asked += 1
            self._ledger.counts.kinds[common.kind.name] += 1
            self._asking.submit(self._ask, run)

    def _ask(self, run: UnderWay) -> None:
        try:
            run.ask()
            with self._ledger.lock:
                self._ledger.counts.accepted += 1
        except (Broken, SetUpBroke) as error:
            # In an API's place the harness itself may find the stack away: nothing was accepted then, either.
            told = error.findings[0].explanation if isinstance(error, Broken) else str(error)
            self._verdicts.conclude(run, "refused", "API-11", told, ())
        except Exception as error:
            why = f"it could not be asked for: {type(error).__name__}: {error!s:.200}"
            self._verdicts.conclude(run, "unknown", "", why, ())
        finally:
            run.is_acting = False

    def _act(self) -> None:
        with self._lock:
            due = [(run, word) for run in self._runs.values() if run.problem is None and (word := run.due_act)]
        for run, word in due:
            run.is_acting = True
            self._asking.submit(self._do, run, word)

    def _do(self, run: UnderWay, word: str) -> None:
        try:
            run.act(word)
        except SetUpBroke as error:
            log.debug("%s of %s could not be done, and is tried again: %s", word, run.id, error)
            self._over.wait(_STATUS_SECONDS)
            if time.monotonic() - run.begun > _ACTING_SECONDS:
                run.problem = f"it could not be acted on: {error!s:.300}"
                run.left.clear()
        except Exception as error:
            told = error.findings[0].explanation if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
            run.problem = f"it could not be acted on: {told:.300}"
            run.left.clear()
        finally:
            run.is_acting = False

    def _poll(self) -> None:
        now = time.monotonic()
        if now - self._polled_at < _STATUS_SECONDS:
            return
        self._polled_at = now
        waiting = {run.id: run for run in self.under_way() if not run.is_acting and run.id is not None}
        for run_id in self._statuses.ended([one for one in waiting if one is not None]):
            waiting[run_id].is_over = True
            waiting[run_id].last_event = now
            self._recoveries.moved(run_id, time.time())
        if now - self._forgot_at > _FORGET_CALLS_SECONDS:
            self._forgot_at = now
            self._bench.agents.clear()

    def _settle_all(self) -> None:
        while not self._over.wait(_SETTLE_SECONDS):
            try:
                self._settle()
            except BaseException as error:
                self._broken = error
                return

    def _settle(self) -> None:
        """Those at rest are read to the end together: rows, then messages, then rows again."""
        if wrong := self._bench.observer.whats_wrong():
            raise SetUpBroke(wrong)
        now = time.monotonic()
        resting = [run for run in self.ended() if now - run.last_event >= _QUIET_SECONDS]
        silent = [run for run in self.under_way() if not run.is_acting and now - run.last_event >= self._stuck_seconds]
        both = [*resting, *silent][: max(0, _MOST_JUDGING - self._verdicts.waiting)]
        observer = self._bench.observer
        scopes = [run.scope for run in both]
        if not both or not observer.look_at(scopes) or not observer.catch_up_with_kafka(_CATCH_UP_SECONDS):
            return
        if any(run.is_followed for run in both) and not observer.settle_rows(_CATCH_UP_SECONDS):
            return
        before = {run.marker: run.view.row_changes for run in both}
        if not observer.look_at(scopes):
            return
        for run in both:
            if before[run.marker] != run.view.row_changes:
                continue
            if run.status in TERMINAL:
                if run in silent:
                    run.is_over = True
                elif not run.left:
                    self._land(run)
            elif run in silent:
                self._land(run)

    def _land(self, run: UnderWay) -> None:
        """Have it judged; it is forgotten then."""
        if wrong := self._bench.observer.whats_wrong(run.scope):
            run.problem = run.problem or wrong
        status = run.status if run.status in TERMINAL else None
        events = run.so_far(run.problem or "done", is_drained=status is not None)
        if status is None:
            what = "lost" if run.status in (None, "PENDING") else "stuck"
            why = f"a {run.kind.name} run is {run.status or 'without a row'}, and nothing was heard of it any more"
            self._verdicts.conclude(run, what, "CMP-01", why, events)
        elif run.problem is not None:
            self._verdicts.conclude(run, "unknown", "", run.problem, events)
        elif status not in run.expected:
            why = f"a {run.kind.name} run is {status} after {run.done or 'nothing'}, expected {sorted(run.expected)}"
            clause = "RES-01" if "retry" in run.done else "CAN-01" if "cancel" in run.done else "CMP-01"
            self._verdicts.conclude(run, "wrong", clause, why, events)
        else:
            self._verdicts.submit(run, status, events)

    def _give_up(self, seconds: float) -> None:
        """What has not ended when all waiting is over."""
        self._over.set()
        self._settler.join(_CATCH_UP_SECONDS * 4)
        self._bench.observer.look_at([run.scope for run in self.under_way()])
        for run in self._all():
            if run.is_being_judged:
                continue
            if not run.is_accepted:
                why = "whether it was accepted was not known when the time was over"
                self._verdicts.conclude(run, "unknown", "", why, ())
            elif run.is_acting or run.left:
                self._verdicts.conclude(run, "unknown", "", "its acts were not over when the time was", ())
            else:
                self._land(run)
        log.debug("the load was over after %.1f s", seconds)

    def _all(self) -> Sequence[UnderWay]:
        with self._lock:
            return list(self._runs.values())

    def _drop(self, run: UnderWay) -> None:
        with self._lock:
            self._runs.pop(run.marker, None)
            self.scopes.pop(run.marker, None)

    def _note(self, now: float) -> None:
        with self._ledger.lock:
            self._ledger.counts.seconds = now
            self._ledger.counts.under_way = len(self._runs)
