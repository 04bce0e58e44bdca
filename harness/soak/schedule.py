"""When which fault is done to what: drawn from a seed, before anything runs. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.faults.points import Boundary, Fault, Kind, Point, applies

GROUPS: Final = ("kill", "stop", "pause", "broker", "database", "network", "connections", "points", "message")
"""What can be asked for; `all` is all of them."""

NOTHING: Final = "nothing"
"""A moment at which nothing is done: how long everything takes to move on by itself."""

_AWAY_SECONDS: Final = 0.1
_KILLS_IN_A_DECK: Final = 2
_BEYOND_SESSION_SECONDS: Final = 9.0
_WARM_SECONDS, _WARM_PART = 10.0, 0.1
_COOL_SECONDS, _COOL_PART = 15.0, 0.15
_MOST_FAULTS: Final = 100_000

_OF_ROLES: Final[Mapping[str, Sequence[tuple[Boundary, str | None]]]] = {
    "api": (("commit", "workflow_runs"), ("produce", "requests")),
    "consumer": (
        ("write", "step_executions"),
        ("commit", "step_executions"),
        ("produce", "tasks"),
        ("produce", "updates"),
        ("offsets", None),
        ("heartbeat", None),
    ),
    "bridge": (("produce", "results"), ("offsets", None), ("call", None)),
}
_AT_POINTS: Final[Sequence[Kind]] = (
    "kill_before", "kill_after", "drop_before", "drop_after", "delay", "error_retriable", "error_late", "error_lost",
    "deadlock", "freeze_before", "freeze_after", "partition_kafka", "partition_database", "partition_both",
)  # fmt: skip
"""All kinds but those after which a run may end otherwise."""


@dataclass(frozen=True, slots=True)
class Planned:
    """`kind` is done to `target` (a process, `broker`, `database`, a topic) `at_seconds` after the beginning, and lasts for
    `seconds`. `fault` is what is armed, of the kind `point`."""

    at_seconds: float
    kind: str
    target: str
    seconds: float = 0.0
    fault: Fault | None = None


def schedule(
    seed: int, seconds: float, groups: Sequence[str], processes: Mapping[str, int], every_seconds: float
) -> list[Planned]:
    """What is done in a soak of so many seconds. The first tenth (10 s at most) and the last seventh (15 s) are left in peace.

    Kinds are dealt like cards, so that each has come before one comes again. Equal arguments give equal schedules.

    Args:
        processes: how many there are of each role, and of `broker` where there are several, of which one is hit at a time.
        every_seconds: between two faults, in the mean.

    Raises:
        ValueError: an unknown group.
    """
    if unknown := [group for group in groups if group not in GROUPS]:
        raise ValueError(f"no group of faults is called {unknown[0]!r}; expected some of {', '.join(GROUPS)}, or all")
    draw = random.Random(f"soak {seed}")
    makers = [
        maker
        for group in GROUPS
        if group in groups
        for maker in _MAKERS[group](processes) * (_KILLS_IN_A_DECK if group == "kill" else 1)
    ]
    found: list[Planned] = []
    at = min(_WARM_SECONDS, _WARM_PART * seconds)
    end = seconds - min(_COOL_SECONDS, _COOL_PART * seconds)
    deck: list[_Maker] = []
    while makers and at < end and len(found) < _MOST_FAULTS:
        if not deck:
            deck = [*makers, _nothing]
            draw.shuffle(deck)
        found.append(deck.pop()(draw, round(at, 3)))
        at += every_seconds * draw.uniform(0.5, 1.5)
    return found


_Maker = Callable[[random.Random, float], Planned]


def _nothing(_: random.Random, at: float) -> Planned:
    return Planned(at, NOTHING, "nothing")


def _of_role(kind: str, role: str, count: int, away: Sequence[float]) -> _Maker:
    def make(draw: random.Random, at: float) -> Planned:
        return Planned(at, kind, f"{role}-{draw.randint(1, count)}", draw.choice(away))

    return make


def _on_roles(kind: str, away: Sequence[float]) -> Callable[[Mapping[str, int]], list[_Maker]]:
    return lambda processes: [
        _of_role(kind, role, count, away) for role, count in processes.items() if count and role in _OF_ROLES
    ]


def _of_part(part: str) -> Callable[[Mapping[str, int]], list[_Maker]]:
    def one(kind: str, longest: float, count: int) -> _Maker:
        def make(draw: random.Random, at: float) -> Planned:
            target = part if count == 1 else f"{part}-{draw.randint(1, count)}"
            return Planned(at, kind, target, round(draw.uniform(0.1, longest), 3))

        return make

    def of(processes: Mapping[str, int]) -> list[_Maker]:
        count = processes.get(part, 1)
        return [one("kill", 2.0, count), one("restart", 0.2, count), one("pause", 4.0, count)]

    return of


def _network(_: Mapping[str, int]) -> list[_Maker]:
    def of(part: str) -> _Maker:
        return lambda draw, at: Planned(at, "cut", part, draw.choice((1.0, 3.0, _BEYOND_SESSION_SECONDS)))

    return [of("broker"), of("database")]


def _connections(processes: Mapping[str, int]) -> list[_Maker]:
    def exhaust(draw: random.Random, at: float) -> Planned:
        return Planned(at, "exhaust", "database", round(draw.uniform(1.0, 3.0), 3))

    return [exhaust, *_on_roles("reset", (0.0,))(processes)]


def _points(processes: Mapping[str, int]) -> list[_Maker]:
    places = {
        kind: [
            (role, boundary, of)
            for role, places_of in _OF_ROLES.items()
            for boundary, of in places_of
            if processes.get(role) and applies(kind, boundary)
        ]
        for kind in _AT_POINTS
    }

    def of(kind: Kind) -> _Maker:
        def make(draw: random.Random, at: float) -> Planned:
            role, boundary, of = draw.choice(places[kind])
            return Planned(at, "point", role, 0.0, Fault(Point(role, boundary, draw.randint(1, 5), of), kind))

        return make

    return [of(kind) for kind in _AT_POINTS if places[kind]]


def _messages(_: Mapping[str, int]) -> list[_Maker]:
    def of(kind: str, topics: Sequence[str]) -> _Maker:
        return lambda draw, at: Planned(at, kind, draw.choice(topics))

    return [
        of("duplicate", ("requests", "tasks", "results")),
        of("late", ("requests", "results")),
        of("foreign", ("cancellations", "results")),
        of("corrupt", ("requests", "cancellations", "tasks", "results")),
    ]


_MAKERS: Final[Mapping[str, Callable[[Mapping[str, int]], list[_Maker]]]] = {
    "kill": _on_roles("kill", (_AWAY_SECONDS, _AWAY_SECONDS, _AWAY_SECONDS, _BEYOND_SESSION_SECONDS)),
    "stop": _on_roles("stop", (_AWAY_SECONDS, 2.0)),
    "pause": _on_roles("pause", (1.0, 3.0, _BEYOND_SESSION_SECONDS)),
    "broker": _of_part("broker"),
    "database": _of_part("database"),
    "network": _network,
    "connections": _connections,
    "points": _points,
    "message": _messages,
}
