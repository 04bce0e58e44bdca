"""A crew carries scenarios out on one bench: those that disturb nobody several at a time, those that do alone."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka.errors import KafkaError

from harness.runner.bench import Bench
from harness.runner.run import SHRINK_SECONDS, history_path, known_failure, run
from harness.scenario.model import Scenario
from harness.subject import Subject
from harness.verdict import Outcome

log = logging.getLogger(__name__)

AT_ONCE = 8
_MOST_NEW_BENCHES = 3


class Crew:
    """A context manager. The bench is made when the first scenario is asked for, and made anew when it cannot be brought
    back to order after a scenario; when that does not succeed either, what is left is unknown."""

    def __init__(
        self,
        subject: Subject,
        make_bench: Callable[[contextlib.ExitStack], Bench],
        *,
        history_directory: Path,
        seed: int,
        keep_passed: bool = False,
        at_once: int = AT_ONCE,
        shrink_seconds: float = SHRINK_SECONDS,
    ) -> None:
        """`make_bench` brings a bench up and pushes its ending, and that of its stack, on the stack that it is given;
        `shrink_seconds` as for `run`."""
        self._subject = subject
        self._make_bench = make_bench
        self._history_directory = history_directory
        self._seed = seed
        self._keep_passed = keep_passed
        self._shrink_seconds = shrink_seconds
        self._bench: Bench | None = None
        self._endings = contextlib.ExitStack()
        self._new_benches = 0
        self._why_no_bench: str | None = None
        self._making = threading.RLock()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="scenario")
        self._futures: dict[str, Future[Outcome]] = {}
        self._history_directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def why_no_bench(self) -> str | None:
        """Why no further scenario can be carried out; None as long as they can."""
        return self._why_no_bench

    def stop(self) -> None:
        """Give up what has not begun, wait for what has, and end the bench."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._endings.close()

    def begin(self, scenarios: Iterable[Scenario]) -> None:
        """Start scenarios that disturb nobody; `outcome` gives what came of each."""
        for scenario in scenarios:
            if scenario.id not in self._futures and not scenario.alone:
                self._futures[scenario.id] = self._pool.submit(self._shared, scenario)

    def outcome(self, scenario: Scenario) -> Outcome:
        """What came of a scenario: of one that was begun once it has ended; any other is carried out now, and alone when
        it must be."""
        if not scenario.alone:
            self.begin([scenario])
            return self._futures[scenario.id].result()
        for future in list(self._futures.values()):
            if not future.cancelled():
                future.exception()
        if self._bench is not None and not _adds_processes(scenario):
            with contextlib.suppress(KafkaError):
                self._bench.processes.await_departures()
        outcome = self._run(scenario)
        self._restore()
        return outcome

    def _shared(self, scenario: Scenario) -> Outcome:
        outcome = self._run(scenario)
        bench = self._bench
        if bench is not None:
            try:
                bench.revive()
            except Exception:
                log.exception("the subject's dead processes could not be started again")
                self._why_no_bench = (
                    self._why_no_bench or "a process of the subject died and could not be started again"
                )
        return outcome

    def _run(self, scenario: Scenario) -> Outcome:
        bench = self._ready_bench()
        if bench is None:
            return self._unknown(scenario, self._why_no_bench or "there is no bench")
        return run(
            scenario,
            bench,
            history_directory=self._history_directory,
            seed=self._seed,
            keep_passed=self._keep_passed,
            shrink_seconds=self._shrink_seconds,
        )

    def _ready_bench(self) -> Bench | None:
        with self._making:
            if self._bench is not None and (wrong := self._bench.observer.whats_wrong()):
                # Those that are under way on it find out by themselves; the next ones get another.
                log.error("a new bench is made: %s", wrong)
                self._bench = None
                self._new_benches += 1
                if self._new_benches > _MOST_NEW_BENCHES:
                    self._why_no_bench = wrong
            if self._bench is None and self._why_no_bench is None:
                ending = contextlib.ExitStack()
                try:
                    self._bench = self._make_bench(ending)
                    self._endings.push(ending)
                except Exception as error:
                    log.debug("the bench could not be made", exc_info=True)
                    ending.close()
                    self._why_no_bench = f"the subject or its stack could not be started: {error}"
            return self._bench if self._why_no_bench is None else None

    def _restore(self) -> None:
        bench = self._bench
        if bench is None:
            return
        try:
            bench.processes.restore()
        except Exception as error:
            log.exception("the bench could not be restored and is thrown away")
            with self._making:
                self._bench = None
                self._new_benches += 1
                try:
                    self._endings.close()
                except Exception:
                    log.exception("the bench did not end in order")
                if self._new_benches > _MOST_NEW_BENCHES:
                    self._why_no_bench = (
                        f"the subject could not be brought back to order {self._new_benches} times: {error}"
                    )

    def _unknown(self, scenario: Scenario, reason: str) -> Outcome:
        path = history_path(self._history_directory, scenario)
        return Outcome(
            scenario=scenario.id,
            guarantee=scenario.guarantee,
            clauses=scenario.clauses,
            subject=self._subject.name,
            verdict="unknown",
            reason=reason,
            findings=(),
            seconds=0.0,
            history=path if path.exists() else None,
            seed=self._seed,
            scenario_file=scenario.path,
            known_failure=known_failure(scenario, self._subject),
        )


def _adds_processes(scenario: Scenario) -> bool:
    """Those that do wait themselves for the group to be as they want it."""
    return any(one.word == "add" for act in scenario.timeline for one in (act, *act.arguments.get("acts", ())))
