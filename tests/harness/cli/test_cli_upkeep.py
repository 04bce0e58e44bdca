"""Parts that die are started again, until one dies too often."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from harness.cli.upkeep import MOST_DEATHS, WITHIN_SECONDS, GivenUp, Upkeep
from harness.stack import EmbeddedStack
from harness.subject import RunningSubject


@dataclass
class Part:
    """A server or a process that dies when told to."""

    name: str = "part"
    pid: int | None = 1
    exit_code: int | None = None
    starts: int = 0

    def start(self, *, wait: bool = True) -> None:
        assert wait is (self.name == "part")
        self.pid = 1
        self.starts += 1

    def die(self) -> None:
        self.pid, self.exit_code = None, 9

    def log_tail(self) -> str:
        return f"the last words of {self.name}"


@dataclass
class World:
    """A stack and a subject at once."""

    database: Part = field(default_factory=Part)
    broker: Part = field(default_factory=Part)
    process: Part = field(default_factory=lambda: Part("consumer-1"))
    log_directory: Path = Path("/logs")
    keeps_logs: bool = False
    now: float = 1000.0
    told: list[str] = field(default_factory=list)

    def died(self) -> list[Part]:
        return [self.process] if self.process.pid is None else []

    def keep_logs(self) -> None:
        self.keeps_logs = True

    def upkeep(self) -> Upkeep:
        return Upkeep(cast(EmbeddedStack, self), cast(RunningSubject, self), self.told.append, lambda: self.now)


def test_what_lives_is_left_alone() -> None:
    """Nothing is said, nothing is started, and the logs need not stay."""
    world = World()
    world.upkeep().look()
    assert (world.told, world.process.starts, world.keeps_logs) == ([], 0, False)


@pytest.mark.parametrize("part", ["database", "broker", "process"])
def test_a_part_that_died_is_started_again_and_its_log_shown(part: str) -> None:
    """Once for each death."""
    world = World()
    upkeep = world.upkeep()
    dead: Part = getattr(world, part)
    dead.die()
    upkeep.look()
    upkeep.look()
    assert (dead.starts, world.keeps_logs) == (1, True)
    assert f"the last words of {dead.name}" in world.told[0]


def test_a_part_that_dies_again_and_again_within_a_minute_is_given_up() -> None:
    """With its log's end and the folder of all logs."""
    world = World()
    upkeep = world.upkeep()
    for _ in range(MOST_DEATHS - 1):
        world.process.die()
        upkeep.look()
        world.now += WITHIN_SECONDS / MOST_DEATHS
    world.process.die()
    with pytest.raises(GivenUp, match=r"(?s)consumer-1 ended with exit code 9.*last words.*3 times.*/logs"):
        upkeep.look()
    assert world.process.starts == MOST_DEATHS - 1


def test_deaths_that_lie_further_apart_are_not_counted_together() -> None:
    """As many as there may be."""
    world = World()
    upkeep = world.upkeep()
    for _ in range(MOST_DEATHS * 3):
        world.process.die()
        upkeep.look()
        world.now += WITHIN_SECONDS / (MOST_DEATHS - 1) + 1
    assert world.process.starts == MOST_DEATHS * 3
