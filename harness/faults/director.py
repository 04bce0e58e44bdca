"""Who decides at every crossing: counts it for the faults that are armed, and does the fault whose point it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeVar

from harness.faults.points import Boundary, Crossing, Fault
from harness.faults.proxy.gate import PASSED, Decision, Gate, Passage

RESTART_SECONDS: Final = 0.1
"""How long a killed process stays away, as under a supervisor that starts it again at once."""

DELAY_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 1.5
"""How long after all that is expected a fault point may still be reached."""

OFFSETS_GRACE_SECONDS: Final = 6.0
"""The same for the commit of an offset, which clients of Kafka leave to every fifth second unless told otherwise."""

DATABASE_PARTITION_SECONDS: Final = 2.0
_BEYOND_SESSION_SECONDS: Final = 0.75
_SESSION_SECONDS: Final = 10.0
_AFTER: Final = frozenset(("kill_after", "drop_after", "freeze_after", "error_lost"))
_MOST_RECORDED: Final = 100_000
_WATCH_SECONDS: Final = 0.1
_MOST_LOOKS: Final = 3000
_WAIT_SECONDS: Final = 0.02
_MOST_WAITS: Final = 4000

State = Literal["armed", "taking effect", "done", "over"]
Tell = Callable[..., None]
_T = TypeVar("_T")


class Deeds(Protocol):
    """What can be done to processes; may block, and is called in threads of its own."""

    def kill(self, process: str) -> None:
        """SIGKILL."""

    def start(self, process: str) -> None:
        """Start it again, as a supervisor does; nothing happens when it runs."""

    def pause(self, process: str) -> None:
        """SIGSTOP."""

    def resume(self, process: str) -> None:
        """SIGCONT."""

    def has_died(self, process: str) -> bool:
        """Whether it has ended by itself."""


@dataclass(slots=True)
class Armed:
    """A fault that waits for its point, or that was done."""

    fault: Fault
    deeds: Deeds
    tell: Tell
    count: int = 0
    state: State = "armed"
    crossing: Crossing | None = None


@dataclass(slots=True)
class Recording:
    """The crossings that were seen while it lasted, and how many of them had been seen when each fault was done."""

    crossings: list[Crossing] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)


class Director:
    """Belongs to the loop of the proxies: its methods are called in it, but for none."""

    def __init__(self, gates: Callable[[str], dict[Literal["kafka", "database"], Gate]]) -> None:
        """`gates` gives those of a process."""
        self._gates = gates
        self._armed: list[Armed] = []
        self._recording: Recording | None = None
        self._session_seconds: dict[str, float] = {}
        self._under_way: set[asyncio.Task[Any]] = set()
        self._watching: set[asyncio.Task[Any]] = set()
        self._troubles: list[str] = []
        self.may_die: set[str] = set()
        """Processes that may give themselves up, after what was done to them."""

    async def record(self) -> None:
        """Note every crossing from now on."""
        self._recording = Recording()

    async def recorded(self) -> Recording:
        """What was noted; noting ends."""
        found, self._recording = self._recording or Recording(), None
        return found

    async def arm(self, fault: Fault, deeds: Deeds, tell: Tell) -> Armed:
        """Have a fault done when its point is reached, counting from now; `tell` writes down what becomes of it."""
        armed = Armed(fault, deeds, tell)
        self._armed.append(armed)
        return armed

    async def settle(self) -> list[str]:
        """Wait until everything is done and over: killed processes started again, frozen ones going on, partitions
        healed. Gives what went wrong with the faults, in words: a point that was not reached, a deed that failed."""
        begun = time.monotonic()
        for _ in range(_MOST_WAITS):
            # Some points come a little after the end of a run, such as offsets that are committed in the background.
            states = {one.state for one in self._armed}
            awaited = {one.fault.at.boundary for one in self._armed if one.state == "armed"}
            grace_seconds = OFFSETS_GRACE_SECONDS if "offsets" in awaited else GRACE_SECONDS
            may_come = awaited and time.monotonic() < begun + grace_seconds
            if not self._under_way and not may_come and "taking effect" not in states:
                break
            await asyncio.sleep(_WAIT_SECONDS)
        not_done = [one for one in self._armed if one.state not in ("done", "over")]
        wrong = [f"the fault point {one.fault.at} was not reached ({_progress(one)})" for one in not_done]
        wrong += [
            f"the fault point {then.at} was not reached, since the one before it was not"
            for one in not_done
            for then in one.fault.all()[1:]
        ]
        return [*self._troubles, *wrong]

    async def disarm(self) -> frozenset[str]:
        """Forget all faults, once those that were begun are over; gives the processes that may give themselves up."""
        self._armed.clear()
        for task in list(self._watching):
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        while self._under_way:
            await asyncio.wait(set(self._under_way))
        self._armed.clear()
        self._troubles.clear()
        in_doubt = frozenset(self.may_die)
        self.may_die.clear()
        return in_doubt

    def joined(self, process: str, session_timeout_ms: int) -> None:
        """Note how long a group would wait for a silent process."""
        self._session_seconds[process] = session_timeout_ms / 1000

    async def before(self, process: str, boundary: Boundary, names: Sequence[str]) -> Decision:
        """A request has arrived and was not passed on."""
        if not self._armed and self._recording is None:
            return PASSED
        crossing = Crossing(process, boundary, tuple(names), time.monotonic())
        if self._recording is not None and len(self._recording.crossings) < _MOST_RECORDED:
            self._recording.crossings.append(crossing)
        reached: Armed | None = None
        for armed in self._armed:
            if armed.state == "armed" and armed.fault.at.fits(crossing):
                armed.count += 1
                if armed.count == armed.fault.at.nth and reached is None:
                    reached = armed
        if reached is None:
            return PASSED
        reached.crossing = crossing
        reached.state = "taking effect"
        if reached.fault.do in _AFTER:
            return Decision(token=reached)
        return await self._carry_out(reached, crossing)

    async def after(self, token: object) -> Decision:
        """It has taken effect, and the acknowledgement was not passed on."""
        assert isinstance(token, Armed)
        assert token.crossing is not None
        return await self._carry_out(token, token.crossing)

    async def _carry_out(self, armed: Armed, crossing: Crossing) -> Decision:
        # The connection that asks may end meanwhile, by the very fault; what was begun is carried through all the same.
        return await asyncio.shield(self._begin(self._do(armed, crossing)))

    async def _do(self, armed: Armed, crossing: Crossing) -> Decision:
        kind, process, deeds = armed.fault.do, crossing.process, armed.deeds
        match kind:
            case "kill_before" | "kill_after":
                if not await self._deed(deeds.kill, process):
                    return PASSED
                self._done(armed, crossing)
                self._begin(self._start_again(deeds, process))
                return Decision(Passage.CLOSE)
            case "drop_before" | "drop_after":
                self._done(armed, crossing)
                self._over(armed)
                return Decision(Passage.CLOSE)
            case "delay" | "error_late":
                self._done(armed, crossing)
                await asyncio.sleep(armed.fault.seconds or DELAY_SECONDS)
                self._over(armed)
                return PASSED if kind == "delay" else Decision(Passage.REFUSE, kind)
            case "freeze_before" | "freeze_after":
                if not await self._deed(deeds.pause, process):
                    return PASSED
                self._done(armed, crossing)
                thaw = self._begin(self._thaw(armed, process, armed.fault.seconds or self._beyond_session(process)))
                await asyncio.shield(thaw)
                return PASSED
            case "partition_kafka" | "partition_database" | "partition_both":
                self._partition(armed, crossing)
                return PASSED
            case "error_retriable" | "error_lost" | "error_fatal" | "deadlock":
                if kind == "error_fatal" and process not in self.may_die:
                    self.may_die.add(process)
                    self._begin(self._revive(deeds, process), self._watching)
                self._done(armed, crossing)
                self._over(armed)
                return Decision(Passage.REFUSE, kind)

    def _partition(self, armed: Armed, crossing: Crossing) -> None:
        kind, process = armed.fault.do, crossing.process
        gates = self._gates(process)
        shut = [gates[name] for name in ("kafka", "database") if kind in (f"partition_{name}", "partition_both")]
        for gate in shut:
            gate.shut(id(armed))
        self._done(armed, crossing)
        seconds = DATABASE_PARTITION_SECONDS if kind == "partition_database" else self._beyond_session(process)

        async def heal() -> None:
            await asyncio.sleep(armed.fault.seconds or seconds)
            for gate in shut:
                gate.open(id(armed))
            self._over(armed)

        self._begin(heal())

    async def _thaw(self, armed: Armed, process: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._deed(armed.deeds.resume, process)
        self._over(armed)

    async def _start_again(self, deeds: Deeds, process: str) -> None:
        await asyncio.sleep(RESTART_SECONDS)
        await self._deed(deeds.start, process)

    async def _revive(self, deeds: Deeds, process: str) -> None:
        """Watch a process that may give itself up, and start it again, until faults are disarmed; for five minutes at most."""
        for _ in range(_MOST_LOOKS):
            if await asyncio.to_thread(deeds.has_died, process):
                await self._deed(deeds.start, process)
            await asyncio.sleep(_WATCH_SECONDS)

    async def _deed(self, deed: Callable[[str], None], process: str) -> bool:
        try:
            await asyncio.to_thread(deed, process)
        except Exception as error:
            self._troubles.append(f"{deed.__name__} {process}: {error}")
            return False
        return True

    def _begin(self, work: Coroutine[Any, Any, _T], among: set[asyncio.Task[Any]] | None = None) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        tasks = self._under_way if among is None else among
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    def _done(self, armed: Armed, crossing: Crossing) -> None:
        armed.state = "done"
        fault = armed.fault
        if self._recording is not None:
            self._recording.marks.append(len(self._recording.crossings))
        armed.tell(
            state="done", do=fault.do, at_point=str(fault.at), process=crossing.process, boundary=crossing.boundary,
            names=list(crossing.names),
        )  # fmt: skip
        if fault.then is not None:
            self._armed.append(Armed(fault.then, armed.deeds, armed.tell))

    def _over(self, armed: Armed) -> None:
        armed.state = "over"
        assert armed.crossing is not None
        armed.tell(state="over", do=armed.fault.do, at_point=str(armed.fault.at), process=armed.crossing.process)

    def _beyond_session(self, process: str) -> float:
        # Who is no member of a group stands still for as long as those who are.
        longest = max(self._session_seconds.values(), default=_SESSION_SECONDS)
        return self._session_seconds.get(process, longest) + _BEYOND_SESSION_SECONDS


def _progress(armed: Armed) -> str:
    if armed.state == "taking effect":
        return "it was asked for and has not taken effect"
    return f"{armed.count} of {armed.fault.at.nth} were seen"
