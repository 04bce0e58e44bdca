"""The schedule carried out: each fault done at its time, noted when it is over, and what died by itself started again."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

from harness.faults.cuts import PartName, Unreachable
from harness.faults.deeds import Hands
from harness.faults.session import FaultPoints
from harness.history import Event
from harness.runner.acts_faults import exhaust_database
from harness.runner.bench import Bench
from harness.runner.errors import NotSupported, SetUpBroke
from harness.soak.everyone import Everyone
from harness.soak.ledger import Done, Ledger
from harness.soak.load import Load
from harness.soak.messages import BadMessages
from harness.soak.recovery import Recoveries
from harness.soak.schedule import NOTHING, Planned
from harness.stack import StackError
from harness.subject import SubjectError

log = logging.getLogger(__name__)

_POINT_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.25
_LONG_SECONDS: Final = 5.0
_PARTS: Final = ("broker", "database")
_ON_MESSAGES: Final = ("duplicate", "late", "foreign", "corrupt")


class Disorder:
    """A thread that does one thing after another."""

    def __init__(
        self, planned: Sequence[Planned], bench: Bench, load: Load, ledger: Ledger, recoveries: Recoveries,
        everyone: Everyone, messages: BadMessages, now: Callable[[], float],
    ) -> None:  # fmt: skip
        """`now` gives the seconds since the beginning."""
        self._planned = planned
        self._bench = bench
        self._load = load
        self._ledger = ledger
        self._recoveries = recoveries
        self._everyone = everyone
        self._messages = messages
        self._now = now
        self._stop = threading.Event()
        self._reached = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-disorder", daemon=True)
        self._deaths = bench.deaths()
        self.present = ""
        """What is being done now, in words."""

        everyone.listen(self._hear)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Do nothing more; returns once what was begun is over and every process runs."""
        self._stop.set()
        self._thread.join(180)
        self._bench.processes.restore()
        self._look_for_deaths()

    def _run(self) -> None:
        for one in self._planned:
            while (left := one.at_seconds - self._now()) > 0:
                if self._stop.wait(min(left, _LOOK_SECONDS)):
                    return
                self._start_what_died()
            self._do(one)

    def _do(self, one: Planned) -> None:
        self.present = f"{one.kind} {one.target}"
        begun = self._now()
        try:
            outcome = self._outcome(one)
        except NotSupported as error:
            outcome = f"not supported: {error}"
        except (SetUpBroke, StackError, SubjectError, TimeoutError, Unreachable) as error:
            outcome = f"not done: {error!s:.200}"
        except Exception as error:
            log.exception("the fault %s could not be done", one)
            outcome = f"not done: {error!r:.200}"
        self.present = ""
        kind, target = self._name(one), str(one.fault) if one.fault is not None else one.target
        self._ledger.fault(Done(round(begun, 2), round(self._now(), 2), kind, target, outcome))

    def _name(self, one: Planned) -> str:
        """How faults of its kind are told together."""
        if one.fault is not None:
            return f"{one.fault.do} at {one.fault.at.role} {one.fault.at.boundary}"
        if one.kind == NOTHING or one.kind in _ON_MESSAGES:
            return one.kind if one.kind == NOTHING else f"{one.kind} messages"
        # Who is not started again at once is recovered from by others, and takes another time.
        stays_away = one.kind == "kill" and one.target not in _PARTS and one.seconds >= _LONG_SECONDS
        away = f", away for {one.seconds:g} s" if stays_away else ""
        return f"{one.kind} {one.target.rpartition('-')[0] or one.target}{away}"

    def _outcome(self, one: Planned) -> str:
        processes, everyone = self._bench.processes, self._everyone
        if one.fault is not None:
            return self._point(one)
        if one.kind in _ON_MESSAGES:
            return self._messages.send(one.kind, one.target)
        if one.kind == "exhaust":
            with self._told(one, "database"):
                exhaust_database(self._bench.stack.database_url, one.seconds)
            return "done"
        if one.kind == NOTHING:
            self._begins(one)
            return "done"
        role, number = (one.target, None) if one.target in _PARTS else _parts(one.target)
        match one.kind:
            case "kill" | "stop":
                # A stop ends in order, so what it holds up begins with the signal.
                self._begins(one)
                getattr(processes, one.kind)(everyone, role, number)
                self._stop.wait(one.seconds)
                processes.start(everyone, role, number)
            case "restart":
                self._begins(one)
                processes.restart(everyone, role, number)
            case "pause":
                self._begins(one)
                processes.pause(everyone, role, number)
                self._stop.wait(one.seconds)
                processes.resume(everyone, role, number)
            case "reset":
                with self._told(one, one.target):
                    self._bench.fault_points().reset(one.target)
            case "cut":
                self._cut(one)
        return "done"

    def _cut(self, one: Planned) -> None:
        """Have no process of the subject reach a part of the stack for a while."""
        points, part = self._bench.fault_points(), cast(PartName, one.target)
        with self._told(one, "subject"):
            points.cut(part)
            self._stop.wait(one.seconds)
            points.join(part)
        points.disarm()

    @contextlib.contextmanager
    def _told(self, one: Planned, process: str) -> Iterator[None]:
        """A fault that goes through the proxies, and stands in the histories of all runs under way."""
        self._everyone.add("harness", "fault", state="done", do=one.kind, at_point=one.target, process=process)
        self._begins(one)
        try:
            yield
        finally:
            self._everyone.add("harness", "fault", state="over", do=one.kind, at_point=one.target, process=process)

    def _point(self, one: Planned) -> str:
        assert one.fault is not None
        points: FaultPoints = self._bench.fault_points()
        self._reached.clear()
        self._present = one
        points.arm(one.fault, Hands(self._bench.processes, self._bench.running, self._everyone), self._everyone)
        was_reached = self._reached.wait(_POINT_SECONDS)
        points.disarm()
        if was_reached:
            self._start_what_died()
        return "done" if was_reached else "the point was not reached"

    def _hear(self, event: Event) -> None:
        if event.kind == "fault" and event["state"] == "done" and event.data.get("boundary") is not None:
            self._begins(self._present)
            self._reached.set()

    def _begins(self, one: Planned) -> None:
        ids = [run.id for run in self._load.under_way() if run.id is not None]
        self._recoveries.begin(self._name(one), time.time(), ids)

    def _start_what_died(self) -> None:
        """As a supervisor does."""
        self._look_for_deaths()
        for process in self._bench.running.processes:
            if process.has_died:
                self._bench.processes.start(self._everyone, process.role, process.number)

    def _look_for_deaths(self) -> None:
        found = self._bench.deaths_since(self._deaths)
        self._deaths += len(found)
        with self._ledger.lock:
            self._ledger.deaths += found


def _parts(process: str) -> tuple[str, int]:
    role, _, number = process.rpartition("-")
    return role, int(number)
