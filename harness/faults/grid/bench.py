"""A bench that trials are carried out on, one after another; made anew when it cannot be brought back to order."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from kafka.errors import KafkaError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from harness.faults.director import Recording
from harness.faults.grid.base import Base, file_name, write
from harness.faults.grid.cells import Cell, Result, recovery_of
from harness.runner.bench import Bench
from harness.runner.run import run
from harness.scenario import Scenario
from harness.stack import StackError
from harness.subject import SubjectError
from harness.verdict import Outcome

log = logging.getLogger(__name__)

MOST_TRIES: Final = 3
"""How often a trial is carried out whose fault point is not reached, or that the harness could not carry through."""

_MOST_BENCHES: Final = 20
_MOST_STARTS: Final = 3
_NOT_REACHED: Final = "was not reached"
MakeBench = Callable[[contextlib.ExitStack], Bench]


class TrialBench:
    """A context manager; `directory` takes the scenario files and histories of the trials, of which each is tried `most_tries`
    times."""

    def __init__(self, make: MakeBench, directory: Path, seed: int = 0, most_tries: int = MOST_TRIES) -> None:
        self._make = make
        self._most_tries = most_tries
        self._directory = directory
        self._seed = seed
        self._bench: Bench | None = None
        self._ending = contextlib.ExitStack()
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    def record(self, base: Base) -> tuple[Outcome, Recording]:
        """Carry the workflow out without a fault, and note its crossings.

        Raises:
            StackError, SubjectError, NotSupported: there is no bench to be had.
        """
        scenario = write(base.trial(None), self._directory / "scenarios" / base.name / "recording.yaml")
        return self._carry_out(scenario)

    def attempt(self, base: Base, cell: Cell) -> Result:
        """Carry a cell's trial out, a few times when nothing comes of it."""
        path = self._directory / "scenarios" / base.name / f"{file_name(cell.key.partition('/')[2])}.yaml"
        scenario = write(base.trial(cell.fault), path)
        tries = 1
        outcome, recording = self._carry_out(scenario)
        while outcome.verdict == "unknown":
            if _NOT_REACHED not in (outcome.reason or ""):
                # Whatever broke, it is not to break the next trial as well.
                self._throw_away()
            if tries >= self._most_tries:
                break
            tries += 1
            outcome, recording = self._carry_out(scenario)
        recovery = recovery_of(recording, cell.fault.at.role) if not cell.is_again else None
        return Result(cell, outcome, tries, recovery)

    def attempt_again(self, base: Base, cell: Cell) -> Result:
        """Carry out the trial of a cell whose fault is done once more during recovery. When a recovery takes another way than
        the one that was seen, it is looked at anew, and hit where it goes now."""
        result = self.attempt(base, cell)
        if result.outcome.verdict != "unknown" or cell.fault.then is None:
            return result
        once = self.attempt(base, Cell(cell.workflow, replace(cell.fault, then=None)))
        fresh = once.recovery
        if fresh is None and once.outcome.verdict == "passed":
            reason = "when it was looked at anew, nothing was crossed during the recovery: there is nothing to hit"
            return replace(result, outcome=replace(result.outcome, verdict="not supported", reason=reason))
        if fresh is None or fresh == cell.fault.then.at:
            return result
        elsewhere = replace(cell.fault, then=replace(cell.fault.then, at=fresh))
        second = self.attempt(base, Cell(cell.workflow, elsewhere))
        return replace(second, tries=result.tries + second.tries)

    def judge(self, data: dict[str, Any], path: Path) -> Outcome:
        """Carry out a scenario that is made of another, such as one that was shrunk."""
        return self._carry_out(write(data, path))[0]

    def _carry_out(self, scenario: Scenario) -> tuple[Outcome, Recording]:
        bench = self._ready()
        bench.records_crossings = True
        try:
            outcome = run(
                scenario, bench, history_directory=self._directory / "histories", seed=self._seed, keep_passed=True
            )
            recording = bench.fault_points().recorded()
        finally:
            bench.records_crossings = False
        outcome = self._restored(bench, outcome)
        return outcome, recording

    def _restored(self, bench: Bench, outcome: Outcome) -> Outcome:
        """Bring everything back to how it was; a bench that does not come back is thrown away, and that is a failure of
        what was done to it, since what was killed must come up again."""
        try:
            bench.processes.restore()
        except Exception as error:
            log.exception("the bench could not be restored and is thrown away")
            self._throw_away()
            if outcome.verdict in ("passed", "unknown"):
                return replace(outcome, verdict="unknown", reason=f"the subject could not be brought back: {error}")
            return outcome
        if wrong := bench.observer.whats_wrong():
            log.error("a new bench is made: %s", wrong)
            self._throw_away()
        return outcome

    def _throw_away(self) -> None:
        self._bench = None
        try:
            self._ending.close()
        except Exception:
            log.exception("the bench did not end in order")

    def _ready(self) -> Bench:
        if self._bench is None:
            self._made += 1
            if self._made > _MOST_BENCHES:
                raise StackError(f"{_MOST_BENCHES} benches were thrown away; the last error stands in the log")
            for attempt in Retrying(
                stop=stop_after_attempt(_MOST_STARTS),
                retry=retry_if_exception_type((StackError, SubjectError, KafkaError)),
                reraise=True,
            ):
                with attempt:
                    self._bench = self._start()
        assert self._bench is not None
        return self._bench

    def _start(self) -> Bench:
        """A bench whose subject goes through the proxies. What was begun is undone when that fails."""
        with contextlib.ExitStack() as undo:
            bench = self._make(undo)
            bench.fault_points()
            self._ending = undo.pop_all()
            return bench
