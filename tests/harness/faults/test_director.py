"""The director, with crossings that are made up and deeds that are noted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from harness.faults import director as under_test
from harness.faults.director import Armed, Director
from harness.faults.points import Fault, Kind, Point
from harness.faults.proxy.gate import Decision, Gate, Passage

PROCESS = "consumer-2"
COMMIT = Point("consumer", "commit", 2, "runs")


class Deeds:
    """Notes what it is asked to do."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.dead: set[str] = set()

    def kill(self, process: str) -> None:
        self.done.append(("kill", process))

    def start(self, process: str) -> None:
        self.done.append(("start", process))
        self.dead.discard(process)

    def pause(self, process: str) -> None:
        self.done.append(("pause", process))

    def resume(self, process: str) -> None:
        self.done.append(("resume", process))

    def has_died(self, process: str) -> bool:
        return process in self.dead


class Stage:
    """A director with its gates, one fault armed, and what was told of it."""

    def __init__(self) -> None:
        self.deeds = Deeds()
        self.told: list[dict[str, Any]] = []
        self.gates: dict[Literal["kafka", "database"], Gate] = {}
        self.director = Director(lambda _: self.gates)
        self.gates["kafka"] = Gate(PROCESS, self.director, ("127.0.0.1", 9))
        self.gates["database"] = Gate(PROCESS, self.director, ("127.0.0.1", 9))

    async def arm(self, fault: Fault) -> Armed:
        return await self.director.arm(fault, self.deeds, lambda **data: self.told.append(data))

    async def commit(self, *tables: str, process: str = PROCESS) -> Decision:
        return await self.director.before(process, "commit", tables or ("runs",))


def play(act: Callable[[Stage], Awaitable[None]]) -> Stage:
    async def all_of_it() -> Stage:
        stage = Stage()
        await act(stage)
        return stage

    return asyncio.run(all_of_it())


def test_the_nth_crossing_that_fits_is_hit() -> None:
    """Others pass: earlier ones, those of other tables, of other roles; by whichever process of the role it is reached."""

    async def act(stage: Stage) -> None:
        await stage.arm(Fault(COMMIT, "kill_before"))
        for decision in (
            await stage.commit(process="consumer-1"),
            await stage.commit("outbox"),
            await stage.commit(process="bridge-1"),
            await stage.director.before(PROCESS, "produce", ("runs",)),
        ):
            assert decision.passage is Passage.PASS
        assert (await stage.commit("outbox", "runs")).passage is Passage.CLOSE
        assert await stage.director.settle() == []

    stage = play(act)
    assert stage.deeds.done == [("kill", PROCESS), ("start", PROCESS)]
    assert [(one["state"], one["process"]) for one in stage.told] == [("done", PROCESS)]


def test_what_is_done_after_the_effect_waits_for_it() -> None:
    """The request passes; the process dies when it has taken effect."""

    async def act(stage: Stage) -> None:
        await stage.arm(Fault(Point("consumer", "commit"), "kill_after"))
        decision = await stage.commit()
        assert decision.passage is Passage.PASS
        assert stage.deeds.done == []
        assert (await stage.director.after(decision.token)).passage is Passage.CLOSE
        assert await stage.director.settle() == []

    assert play(act).deeds.done == [("kill", PROCESS), ("start", PROCESS)]


def test_the_next_fault_counts_from_the_first() -> None:
    """What follows is armed when the first is done, and counts no crossing from before."""

    async def act(stage: Stage) -> None:
        await stage.arm(Fault(COMMIT, "drop_before", Fault(COMMIT, "error_retriable")))
        passages = [(await stage.commit()).passage for _ in range(5)]
        assert passages == [Passage.PASS, Passage.CLOSE, Passage.PASS, Passage.REFUSE, Passage.PASS]
        assert await stage.director.settle() == []

    play(act)


def test_a_late_refusal_comes_after_what_was_sent_next() -> None:
    """The request is held, and then refused; another process's passes meanwhile."""

    async def act(stage: Stage) -> None:
        await stage.arm(Fault(Point("bridge", "produce", of="results"), "error_late", seconds=0.2))
        first = asyncio.create_task(stage.director.before("bridge-1", "produce", ("results",)))
        await asyncio.sleep(0.05)
        assert (await stage.director.before("bridge-2", "produce", ("results",))).passage is Passage.PASS
        assert not first.done()
        assert await first == Decision(Passage.REFUSE, "error_late")
        assert await stage.director.settle() == []

    assert [one["state"] for one in play(act).told] == ["done", "over"]


def test_a_commit_of_offsets_is_waited_for_longer_than_other_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients leave it to every fifth second, when the run has long ended."""
    monkeypatch.setattr(under_test, "GRACE_SECONDS", 0.0)

    async def act(stage: Stage) -> None:
        await stage.arm(Fault(Point("consumer", "offsets"), "drop_before"))
        settling = asyncio.create_task(stage.director.settle())
        await asyncio.sleep(0.1)
        assert not settling.done()
        await stage.director.before(PROCESS, "offsets", ("requests",))
        assert await settling == []

    play(act)


def test_a_point_that_is_not_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never taken for done; nor is what would have followed it."""
    monkeypatch.setattr(under_test, "GRACE_SECONDS", 0.1)

    async def act(stage: Stage) -> None:
        await stage.arm(Fault(COMMIT, "kill_before", Fault(Point("bridge", "call"), "delay")))
        await stage.commit()
        wrong = await stage.director.settle()
        assert wrong == [
            "the fault point consumer commit runs 2 was not reached (1 of 2 were seen)",
            "the fault point bridge call 1 was not reached, since the one before it was not",
        ]
        assert await stage.director.disarm() == frozenset()
        assert await stage.director.settle() == []

    assert play(act).deeds.done == []


def test_a_deed_that_fails_is_told() -> None:
    """A process that could not be killed was not killed: the request passes, and the trial says nothing."""

    async def act(stage: Stage) -> None:
        def kill(process: str) -> None:
            raise RuntimeError(f"{process} does not run")

        stage.deeds.kill = kill  # type: ignore[method-assign]
        armed = await stage.arm(Fault(Point("consumer", "commit"), "kill_before"))
        assert (await stage.commit()).passage is Passage.PASS
        armed.state = "over"
        assert await stage.director.settle() == [f"kill {PROCESS}: {PROCESS} does not run"]

    play(act)


def test_frozen_for_longer_than_its_session() -> None:
    """A process stands still for longer than the time-out that it asked for when it joined; the request waits so long."""

    async def act(stage: Stage) -> None:
        stage.director.joined(PROCESS, 100)
        await stage.arm(Fault(Point("consumer", "commit"), "freeze_before"))
        begun = asyncio.get_running_loop().time()
        assert (await stage.commit()).passage is Passage.PASS
        assert asyncio.get_running_loop().time() - begun > 0.1
        assert await stage.director.settle() == []

    assert play(act).deeds.done == [("pause", PROCESS), ("resume", PROCESS)]


@pytest.mark.parametrize(
    ("kind", "shut"),
    [("partition_kafka", {"kafka"}), ("partition_database", {"database"}), ("partition_both", {"kafka", "database"})],
)
def test_a_partition_ends(kind: Kind, shut: set[str]) -> None:
    """Nothing passes the gates that it is about, and all does once it is over."""

    async def act(stage: Stage) -> None:
        await stage.arm(Fault(Point("consumer", "commit"), kind, seconds=0.2))
        assert (await stage.commit()).passage is Passage.PASS
        passing = {name: asyncio.create_task(gate.passable()) for name, gate in stage.gates.items()}
        await asyncio.sleep(0.05)
        assert {name for name, task in passing.items() if not task.done()} == shut
        assert await stage.director.settle() == []
        await asyncio.wait_for(asyncio.gather(*passing.values()), 1)

    stage = play(act)
    assert [one["state"] for one in stage.told] == ["done", "over"]


def test_who_gives_itself_up_is_started_again() -> None:
    """After an error that is final, a process may end itself, as often as it is told so, and is started again once for each."""

    async def act(stage: Stage) -> None:
        point = Point("consumer", "commit")
        await stage.arm(Fault(point, "error_fatal", Fault(point, "error_fatal")))
        assert (await stage.commit()).error == "error_fatal"
        assert (await stage.commit()).error == "error_fatal"
        stage.deeds.dead.add(PROCESS)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if stage.deeds.done:
                break
        assert await stage.director.settle() == []
        assert await stage.director.disarm() == frozenset({PROCESS})

    assert play(act).deeds.done == [("start", PROCESS)]


def test_crossings_are_recorded_with_the_moment_of_the_fault() -> None:
    """A recording has what was crossed, and how much of it when the fault was done."""

    async def act(stage: Stage) -> None:
        await stage.director.record()
        await stage.arm(Fault(COMMIT, "drop_before"))
        for _ in range(3):
            await stage.commit()
        await stage.director.disarm()
        recording = await stage.director.recorded()
        assert [crossing.process for crossing in recording.crossings] == [PROCESS] * 3
        assert recording.marks == [2]

    play(act)
