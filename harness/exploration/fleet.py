"""Many generated runs at once on one subject: asked for in bulk, watched together, each ended when nothing more comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from harness.exploration.disturbance import Disturber
from harness.exploration.flight import TERMINAL, Flight
from harness.exploration.judging import LEFT_BEHIND
from harness.exploration.launching import Launcher, note
from harness.exploration.statuses import StatusReader
from harness.generation import Case
from harness.history import Event
from harness.runner import acts
from harness.runner.bench import Bench
from harness.runner.errors import SetUpBroke
from harness.scenario.model import Act

log = logging.getLogger(__name__)

_ACTING_AT_ONCE = 12
_ADMITTED_AT_ONCE = 40
_ADMIT_SECONDS = 0.1
_TICK_SECONDS = 0.01
_STATUS_SECONDS = 0.1
_QUIET_SECONDS = 0.5
_CATCH_UP_SECONDS = 30.0
_LONGEST_SECONDS = 120.0
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Landed:
    """A run that is over. `status` None: it has not ended in time. `problem`: the harness could not see to it. `refusal`:
    what of the timeline could not be done because of the subject."""

    case: Case
    number: int
    seed: int
    status: str | None
    events: tuple[Event, ...]
    problem: str | None
    refusal: str | None
    seconds: float
    is_disturbed: bool = False
    """Whether something was done to processes of the subject while it was under way."""


Source = Callable[[], tuple[int, int, Case] | None]
"""Gives (number, seed, case) of what is to be carried out next; None when there is none now."""


class Fleet:
    """`carry_out` brings cases through. One fleet at a time on a bench."""

    def __init__(
        self, bench: Bench, *, in_flight: int = 200, stuck_seconds: float = 10.0, quiet_seconds: float = _QUIET_SECONDS,
        disturber: Disturber | None = None,
    ) -> None:  # fmt: skip
        """`stuck_seconds`: a run of which nothing was heard for so long does not end any more."""
        self._bench = bench
        self._in_flight = in_flight
        self._stuck_seconds = stuck_seconds
        self._quiet_seconds = quiet_seconds
        self._disturber = disturber
        self._launcher = Launcher(bench, disturber)
        self._statuses = StatusReader(bench.stack.database_url, bench.binding)
        self._flights: list[Flight] = []
        self._launching: Future[list[Flight]] | None = None
        self._admitted_at = self._polled_at = self._settled_at = 0.0

    @property
    def under_way(self) -> int:
        """How many are in flight."""
        return len(self._flights)

    def carry_out(self, source: Source, landed: Callable[[Landed], None], stop: Callable[[], bool]) -> None:
        """Carry out cases until `stop` says so, and what is in flight has landed.

        Raises:
            SetUpBroke: rows or messages cannot be written, or the observer is blind.
        """
        # Launching waits for Kafka and PostgreSQL most of its time, and so does settling: each in a thread of its own.
        with (
            ThreadPoolExecutor(_ACTING_AT_ONCE, thread_name_prefix="act") as pool,
            ThreadPoolExecutor(1, thread_name_prefix="launch") as launcher,
        ):
            try:
                while not (is_over := stop()) or self._flights or self._launching is not None:
                    self._take_launched()
                    is_silent = self._disturbed()
                    if not is_over and not is_silent:
                        self._admit(source, pool, launcher)
                    if not is_silent:
                        self._act(pool)
                    self._poll()
                    self._settle(landed)
                    time.sleep(_TICK_SECONDS)
            finally:
                self._end()

    def _end(self) -> None:
        if self._disturber is not None:
            self._disturber.join()
        if self._launching is not None:
            # What it raised has no meaning any more when something else has been raised before.
            wait([self._launching])
            if self._launching.exception() is None:
                self._flights += self._launching.result()
            self._launching = None
        for flight in self._flights:
            flight.world.close()
        self._flights.clear()
        self._statuses.close()

    def _disturbed(self) -> bool:
        """Have done to processes what is due; whether nothing new is to be begun meanwhile."""
        disturber = self._disturber
        if disturber is None:
            return False
        is_acting = self._launching is not None or any(flight.is_acting for flight in self._flights)
        if disturber.tick(is_acting=is_acting):
            now = time.monotonic()
            for flight in self._flights:
                flight.last_event = now
        if disturber.is_busy:
            for flight in self._flights:
                flight.is_disturbed = True
        return disturber.awaits_silence()

    def _admit(self, source: Source, pool: ThreadPoolExecutor, launcher: ThreadPoolExecutor) -> None:
        now = time.monotonic()
        free = min(_ADMITTED_AT_ONCE, self._in_flight - len(self._flights))
        if self._launching is not None or now - self._admitted_at < _ADMIT_SECONDS or free <= 0:
            return
        self._admitted_at = now
        new: list[tuple[int, int, Case]] = []
        while len(new) < free and (found := source()) is not None:
            new.append(found)
        if new:
            self._launching = launcher.submit(self._launcher.launch, new, pool)

    def _take_launched(self) -> None:
        """Those that have been launched are under way from now on. Raises what launching them has raised."""
        if self._launching is None or not self._launching.done():
            return
        launched, self._launching = self._launching.result(), None
        now = time.monotonic()
        for flight in launched:
            flight.last_event = max(flight.last_event, now)
            flight.is_disturbed = flight.is_disturbed or (self._disturber is not None and self._disturber.is_felt)
        self._flights += launched

    def _act(self, pool: ThreadPoolExecutor) -> None:
        for flight in self._flights:
            if flight.problem is None and (act := flight.due_act()) is not None:
                flight.is_acting = True
                pool.submit(self._do, flight, act)

    def _do(self, flight: Flight, act: Act) -> None:
        outcome: object = None
        try:
            outcome = acts.do(act, flight.world)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
            note(flight, error)
        finally:
            flight.writer.add("harness", "act", act=act.word, arguments=dict(act.arguments), outcome=outcome)
            flight.next_act += 1
            flight.is_acting = False

    def _poll(self) -> None:
        now = time.monotonic()
        if now - self._polled_at < _STATUS_SECONDS:
            return
        self._polled_at = now
        waiting = {run_id: flight for flight in self._flights if not flight.has_ended for run_id in flight.open_runs()}
        for flight in self._flights:
            if flight.case.is_refused:
                flight.has_ended = flight.acts_are_done
        for run_id in self._statuses.ended(list(waiting)):
            flight = waiting[run_id]
            # What a timeline still does to a run may begin it anew.
            if flight.acts_are_done:
                flight.ended_runs.add(run_id)
            flight.has_ended = flight.acts_are_done and not flight.open_runs()
            flight.last_event = max(flight.last_event, now) if flight.has_ended else flight.last_event

    def _settle(self, landed: Callable[[Landed], None]) -> None:
        """Those that are at rest are read to the end together: rows, then messages, then rows again."""
        now = time.monotonic()
        if now - self._settled_at < self._quiet_seconds:
            return
        self._settled_at = now
        over, stuck = [], []
        for flight in self._flights:
            silent = now - flight.last_event
            if flight.is_acting:
                continue
            if flight.problem is not None or (flight.has_ended and silent >= self._quiet_seconds):
                over.append(flight)
            elif self._disturber is not None and self._disturber.is_busy:
                continue
            elif silent >= self._patience(flight) or now - flight.begun > _LONGEST_SECONDS:
                stuck.append(flight)
        if not over and not stuck:
            return
        observer = self._bench.observer
        scopes = [flight.world.scope for flight in (*over, *stuck)]
        if not observer.look_at(scopes) or not observer.catch_up_with_kafka(_CATCH_UP_SECONDS):
            raise SetUpBroke("rows and messages could not be read up to their ends")
        if any(flight.is_followed for flight in over):
            observer.settle_rows(_CATCH_UP_SECONDS)
        before = {id(flight): flight.world.view.row_changes for flight in (*over, *stuck)}
        if not observer.look_at(scopes):
            raise SetUpBroke("the rows could not be read")
        self._look_for_rows(over)
        for flight in (*over, *stuck):
            is_still = before[id(flight)] == flight.world.view.row_changes
            if is_still and (
                flight in stuck or flight.problem or flight.status() in TERMINAL or flight.case.is_refused
            ):
                self._land(flight, landed, is_stuck=flight in stuck)

    def _patience(self, flight: Flight) -> float:
        return self._stuck_seconds + (_PATIENCE_SECONDS if flight.is_disturbed else 0.0)

    def _look_for_rows(self, flights: Sequence[Flight]) -> None:
        """A definition that was refused leaves no row."""
        if self._bench.binding.has_own_rows:
            return
        named = {str(flight.refused_name): flight for flight in flights if flight.refused_name is not None}
        for name in self._statuses.definitions(list(named)):
            named[name].refusal = named[name].refusal or LEFT_BEHIND

    def _land(self, flight: Flight, landed: Callable[[Landed], None], *, is_stuck: bool) -> None:
        self._flights.remove(flight)
        if wrong := self._bench.observer.whats_wrong(flight.world.scope):
            flight.problem = flight.problem or wrong
        status = flight.status()
        refusal = flight.refusal or (flight.waits_for() if status in TERMINAL else None)
        if flight.case.is_refused and not flight.acts_are_done:
            flight.problem = flight.problem or "a definition was offered over REST, and no answer came"
        events = flight.end(refusal or "done", is_drained=not is_stuck)
        ended = status if status in TERMINAL else None
        landed(
            Landed(
                flight.case,
                flight.number,
                flight.seed,
                ended,
                events,
                flight.problem,
                refusal,
                time.monotonic() - flight.begun,
                flight.is_disturbed,
            )
        )
