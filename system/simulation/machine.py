"""One machine with its processes, in one thread: every step of everybody is the scheduler's choice, and time is virtual.

The code of a process runs in greenlets. Where it meets the world (a statement, a poll, a wait) it hands over to the
scheduler, so that everything else can happen between any two of its calls, its own death among it. What can go on now
waits in one queue. The calm choice is the one that has waited longest; when nobody can go on, the clock moves to the
next timer.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from greenlet import getcurrent, greenlet

from system.simulation.choices import Choices

_EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# When nothing is to be done but to look again, looks come later and later: a slow machine is a legal one.
_SHORTEST_LEAP_SECONDS = 0.1
_LONGEST_LEAP_SECONDS = 2.0


class Killed(BaseException):
    """The process has died: what it goes on to do, in a `finally` too, has no effect."""


class Stuck(Exception):
    """Nothing can ever happen again, or too much has."""


class Process:
    """A process of the simulated machine. `skew_seconds` is by how much its clock is wrong."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self.name = name
        self.alive = True
        self.paused = False
        self.skew_seconds = 0.0
        self.held: list[Runnable] = []
        self.actors: list[Actor] = []
        self.at_death: list[Callable[[], None]] = []
        self.at_pause: list[Callable[[], None]] = []

    def check(self) -> None:
        """Raise Killed in a process that is dead."""
        if not self.alive:
            raise Killed


class Runnable:
    """Something that can go on. `process` is whose it is, None for what is outside of all."""

    __slots__ = ("at", "process", "queued")

    def __init__(self, process: Process | None) -> None:
        self.process = process
        self.queued = False
        self.at = 0.0

    def run(self) -> None:
        """Go on, until the world is met again."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What goes on, for people."""
        return type(self).__name__


class Happening(Runnable):
    """A function that is called when its turn comes."""

    __slots__ = ("_title", "_work")

    def __init__(self, process: Process | None, title: str, work: Callable[[], None]) -> None:
        super().__init__(process)
        self._title = title
        self._work = work

    def run(self) -> None:
        self._work()

    @property
    def title(self) -> str:
        return self._title


class Actor(Runnable):
    """A thread of a process: a greenlet, and the call to the world that it stands before.

    `kind` and `label` name that call, and `fate` is what shall become of it: None when nothing is wrong.
    """

    __slots__ = ("_greenlet", "fate", "kind", "label", "name", "on_failed", "timer", "woken")

    def __init__(
        self, process: Process, name: str, work: Callable[[], None], on_failed: Callable[[BaseException], None]
    ) -> None:
        super().__init__(process)
        self.name = name
        self.kind = self.label = "begin"
        self.fate: str | None = None
        self.woken = False
        self.timer: Timer | None = None
        self.on_failed = on_failed
        self._greenlet = greenlet(lambda: self._work(work), parent=process.machine.scheduler)

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Killed:
            pass
        except Exception as error:
            self.on_failed(error)

    def run(self) -> None:
        assert self.process is not None
        machine = self.process.machine
        machine.current = self
        self._greenlet.switch()
        machine.current = None
        if self._greenlet.dead and self in self.process.actors:
            self.process.actors.remove(self)

    def die(self) -> None:
        """End the thread where it stands."""
        if not self._greenlet.dead and self._greenlet:
            assert self.process is not None
            # It is known whose calls these are that a `finally` may make: they are refused.
            self.process.machine.current = self
            self._greenlet.throw(Killed)
            self.process.machine.current = None

    @property
    def title(self) -> str:
        return f"{self.name}: {self.label}"


class Timer:
    """When something becomes ready. A `weak` one is only for looking again, and may be late."""

    __slots__ = ("due", "number", "runnable", "weak")

    def __init__(self, due: float, number: int, runnable: Runnable, weak: bool) -> None:
        self.due = due
        self.number = number
        self.runnable: Runnable | None = runnable
        self.weak = weak

    def __lt__(self, other: Timer) -> bool:
        return (self.due, self.number) < (other.due, other.number)


class Machine:
    """The queue of what can go on, the timers, and the clock.

    Args:
        choices: decide.
        tick_seconds: by how much the clock moves with each step.
    """

    def __init__(self, choices: Choices, tick_seconds: float) -> None:
        self.choices = choices
        self.seconds = 0.0
        self.steps = 0
        self.current: Actor | None = None
        self.ready: deque[Runnable] = deque()
        self.history: list[tuple[Any, ...]] = []
        self._tick_seconds = tick_seconds
        self._timers: list[Timer] = []
        self._number = 0
        self._leap_seconds = _SHORTEST_LEAP_SECONDS
        self.scheduler = getcurrent()

    # time

    def now(self) -> datetime:
        """The true time."""
        return _EPOCH + timedelta(seconds=self.seconds)

    def at(self, due: float, runnable: Runnable, *, weak: bool = False) -> Timer:
        """Make something ready at a time in seconds."""
        self._number += 1
        timer = Timer(due, self._number, runnable, weak)
        heapq.heappush(self._timers, timer)
        return timer

    def after(self, seconds: float, process: Process | None, title: str, work: Callable[[], None]) -> None:
        """Call a function some time from now."""
        self.at(self.seconds + seconds, Happening(process, title, work))

    def advance(self) -> bool:
        """Move the clock to the next timer, or further when only looks are due until then; False without timers."""
        while self._timers and self._timers[0].runnable is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return False
        target = self._timers[0].due
        if self._timers[0].weak:
            strong = min((t.due for t in self._timers if not t.weak and t.runnable is not None), default=float("inf"))
            target = max(target, min(strong, self.seconds + self._leap_seconds))
            self._leap_seconds = min(self._leap_seconds * 2, _LONGEST_LEAP_SECONDS)
        self.seconds = max(self.seconds, target)
        self.fire()
        return True

    def fire(self) -> None:
        """Make ready what is due."""
        while self._timers and self._timers[0].due <= self.seconds:
            timer = heapq.heappop(self._timers)
            if timer.runnable is not None:
                self.make_ready(timer.runnable)

    def noted(self, *what: Any) -> None:
        """Something happened that everybody may see: it stands in the history, and looking again is worth while."""
        self._leap_seconds = _SHORTEST_LEAP_SECONDS
        self.history.append((self.steps, round(self.seconds, 6), *what))

    # who goes on

    def make_ready(self, runnable: Runnable) -> None:
        """Let something go on when its turn comes."""
        if not runnable.queued:
            runnable.queued = True
            self.ready.append(runnable)

    def soon(self, process: Process | None, title: str, work: Callable[[], None]) -> None:
        """Call a function when its turn comes."""
        self.make_ready(Happening(process, title, work))

    def run(self, index: int = 0) -> None:
        """Let the `index`-th of those that can go on do so: the longest waiting one is the first."""
        if index:
            self.ready.rotate(-index)
            runnable = self.ready.popleft()
            self.ready.rotate(index)
        else:
            runnable = self.ready.popleft()
        runnable.queued = False
        self.steps += 1
        self.seconds += self._tick_seconds
        process = runnable.process
        if process is not None:
            if not process.alive:
                return
            if process.paused:
                process.held.append(runnable)
                return
        if self._timers and self._timers[0].due <= self.seconds:
            self.fire()
        runnable.run()

    # for the code of processes

    def start(
        self, process: Process, name: str, work: Callable[[], None], on_failed: Callable[[BaseException], None]
    ) -> Actor:
        """A new thread of a process."""
        actor = Actor(process, name, work, on_failed)
        process.actors.append(actor)
        self.make_ready(actor)
        return actor

    def point(self, kind: str, label: str) -> str | None:
        """The running thread stands before a call to the world: others go first, or it dies here.

        Returns:
            what shall become of the call, None when nothing is wrong.
        """
        actor = self.current
        if actor is None:
            # The stand-ins are also used without a scheduler, to be held to the real ones.
            return None
        assert actor.process is not None
        actor.process.check()
        actor.kind, actor.label = kind, label
        self.make_ready(actor)
        self.scheduler.switch()
        fate, actor.fate = actor.fate, None
        return fate

    def wait(self, label: str, timeout_seconds: float, *, weak: bool = False) -> bool:
        """The running thread waits until `wake`, or for so long; True when it was woken."""
        actor = self.current
        assert actor is not None, f"{label}: only a thread of a process can wait"
        assert actor.process is not None
        actor.process.check()
        actor.kind, actor.label, actor.woken = "wait", label, False
        timer = self.at(self.seconds + timeout_seconds, actor, weak=weak)
        self.scheduler.switch()
        timer.runnable = None
        actor.fate = None
        return actor.woken

    def wake(self, actor: Actor) -> None:
        """Let a waiting thread go on."""
        actor.woken = True
        self.make_ready(actor)

    # what befalls processes

    def kill(self, process: Process) -> None:
        """End a process where it stands; what it has handed to the world stays there."""
        if not process.alive:
            return
        process.alive = False
        self.noted("killed", process.name)
        for actor in process.actors:
            actor.die()
        process.actors.clear()
        for ended in process.at_death:
            ended()

    def pause(self, process: Process) -> None:
        """Stop a process in mid-flight."""
        process.paused = True
        self.noted("paused", process.name)
        for told in process.at_pause:
            told()

    def resume(self, process: Process) -> None:
        """Let a stopped process go on as if nothing had happened."""
        process.paused = False
        self.noted("resumed", process.name)
        held, process.held = process.held, []
        for runnable in held:
            self.make_ready(runnable)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """For what is done on behalf of nobody: it is not interrupted."""
        current, self.current = self.current, None
        try:
            yield
        finally:
            self.current = current


class MachineClock:
    """Clock port: the machine's time as one process sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._machine = process.machine

    def now(self) -> datetime:
        return _EPOCH + timedelta(seconds=self._machine.seconds + self._process.skew_seconds)

    def monotonic(self) -> float:
        # As on a real machine, the beginning of time lies before the process.
        return 1000.0 + self._machine.seconds

    def sleep(self, seconds: float) -> None:
        self._machine.wait("sleep", seconds)
