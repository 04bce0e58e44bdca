"""How what a run costs changes with how much there is: finished runs, waiting runs, iterations, processes.

The reference alone, since the question is not how fast it is but whether it stays so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import filling
from benchmarks.agent_process import echo_agent
from benchmarks.contender import Place, Say
from benchmarks.measurement import Measurement, Spread, paired_ratios
from benchmarks.measures import MEASURES, Seat, Sizes, warm_up
from benchmarks.processes import Meter
from benchmarks.reference import Reference
from benchmarks.report import markdown_table, shown
from benchmarks.trial import machine, place
from benchmarks.workload import Workload
from harness.subject import RoleName

_SLOW_AGENT_SECONDS = 0.5
_SERVERS: Final = ("postgresql", "kafka")
_OURS: Final = ("api", "consumer", "bridge")


@dataclass(frozen=True)
class Extent:
    """How far each question is followed; the first of each is what the others are compared with."""

    finished_runs: int = 1_000_000
    backlogs: Sequence[int] = (2_000, 20_000, 100_000)
    iterations: Sequence[int] = (100, 1_000, 10_000)
    waiting_runs: int = 10_000
    members: Sequence[int] = (1, 2, 4)
    runs: int = 2_000
    repetitions: int = 5


def scale_of_reference(extent: Extent, say: Say) -> str:
    """Measure everything; gives Markdown."""
    with place() as (where, roles, _):
        told = "; ".join(f"{name} {value}" for name, value in machine(where.stack).items())
        parts = [
            _about_finished_runs(where, roles, extent, say),
            _about_backlogs(where, roles, extent, say),
            _about_members(where, roles, extent, say),
            _about_iterations(where, roles, extent, say),
            _about_waiting_runs(where, roles, extent, say),
        ]
    return "\n\n".join([*parts, f"Machine: {told}."]) + "\n"


def _about_finished_runs(where: Place, roles: Mapping[str, Sequence[int]], extent: Extent, say: Say) -> str:
    """An empty database, a full one, and the emptied one again: had the machine changed, the two empty ones would differ."""
    url = where.stack.database_url
    found: dict[str, list[Measurement]] = {}
    sizes: dict[str, float] = {}

    def measure(title: str) -> None:
        with Reference().start(where, Workload()) as entrant:
            for repetition in range(extent.repetitions):
                seat = Seat("reference", repetition, entrant, Workload(), roles, Sizes(extent.runs, 100, 200))
                if not repetition:
                    warm_up(seat)
                for name in ("latency", "backlog"):
                    measured = MEASURES[name](seat)
                    found.setdefault(f"{title} {name}", []).append(measured)
                    say(f"{title}, {name}: {dict(measured.values)}")
        sizes[title] = filling.size_mib(url)

    titles = ("none", f"{extent.finished_runs:,}", "none again")
    measure(titles[0])
    filling.fill(url, extent.finished_runs, say)
    measure(titles[1])
    filling.empty(url)
    measure(titles[2])

    def rows() -> Iterator[list[str]]:
        yield ["finished runs", "database, MiB", "one run, p50, ms", "backlog, runs/s", "CPU of the engine, ms/run",
               "CPU of PostgreSQL, ms/run"]  # fmt: skip
        for title in titles:
            backlogs = found[f"{title} backlog"]
            yield [
                title,
                f"{sizes[title]:,.0f}",
                shown(Spread.of([one.values["p50_ms"] for one in found[f"{title} latency"]]), 1),
                shown(Spread.of([one.values["runs_per_second"] for one in backlogs]), 1),
                shown(Spread.of([_cpu(one, _OURS) for one in backlogs]), 2),
                shown(Spread.of([_cpu(one, ("postgresql",)) for one in backlogs]), 2),
            ]

    return (
        f"**What is there already.** {extent.repetitions} times {extent.runs:,} runs each.\n\n{markdown_table(rows())}"
    )


def _about_backlogs(where: Place, roles: Mapping[str, Sequence[int]], extent: Extent, say: Say) -> str:
    found: dict[int, Measurement] = {}
    with Reference().start(where, Workload()) as entrant:
        for number, runs in enumerate(extent.backlogs):
            seat = Seat("reference", number, entrant, Workload(), roles, Sizes(runs, 1, 200))
            if not number:
                warm_up(seat)
            found[runs] = MEASURES["backlog"](seat)
            say(f"a backlog of {runs:,}: {dict(found[runs].values)}")
    heading = ["backlog, runs", "runs/s", "CPU of the engine, ms/run", "CPU of the servers, ms/run", *_memory_heading()]

    def rows() -> Iterator[list[str]]:
        yield heading
        for runs, one in found.items():
            yield [
                f"{runs:,}",
                f"{one.values['runs_per_second']:,.0f}",
                f"{_cpu(one, _OURS):.2f}",
                f"{_cpu(one, _SERVERS):.2f}",
                *_memory(one),
            ]

    return f"**What waits.** One start, one backlog after the other.\n\n{markdown_table(rows())}"


def _about_members(where: Place, roles: Mapping[str, Sequence[int]], extent: Extent, say: Say) -> str:
    found: dict[int, dict[int, Measurement]] = {members: {} for members in extent.members}
    for repetition in range(max(1, extent.repetitions // 2)):
        for members in extent.members:
            counts: dict[RoleName, int] = {"api": 1, "consumer": members, "bridge": members}
            with Reference(counts).start(where, Workload()) as entrant:
                seat = Seat("reference", repetition, entrant, Workload(), roles, Sizes(extent.runs, 1, 200))
                warm_up(seat)
                measured = found[members][repetition] = MEASURES["backlog"](seat)
            say(f"{members} consumers and bridges: {dict(measured.values)}")
    first = {key: one.values["runs_per_second"] for key, one in found[extent.members[0]].items()}

    def rows() -> Iterator[list[str]]:
        yield ["consumers and bridges", "runs/s", "against the first", "CPU of the engine, ms/run", *_memory_heading()]
        for members, by_repetition in found.items():
            speeds = {key: one.values["runs_per_second"] for key, one in by_repetition.items()}
            yield [
                f"{members} and {members}",
                shown(Spread.of(list(speeds.values())), 0),
                shown(Spread.of(paired_ratios(speeds, first)), 2, "×"),
                shown(Spread.of([_cpu(one, _OURS) for one in by_repetition.values()]), 2),
                *_memory(next(iter(by_repetition.values()))),
            ]

    return f"**How many share the work**, on {os.cpu_count()} cores.\n\n{markdown_table(rows())}"


def _about_iterations(where: Place, roles: Mapping[str, Sequence[int]], extent: Extent, say: Say) -> str:
    def rows() -> Iterator[list[str]]:
        yield ["iterations of one loop", "ms an iteration", "CPU of the engine, ms an iteration", *_memory_heading()]
        for count in extent.iterations:
            workload = Workload(steps=count, shape="loop")
            with Reference().start(where, workload) as entrant:
                seat = Seat("reference", 0, entrant, workload, roles, Sizes(1, 1, 1))
                measured = MEASURES["backlog"](seat)
            say(f"{count:,} iterations: {dict(measured.values)}")
            seconds = measured.values["seconds"]
            cpu = _cpu(measured, _OURS) / count
            yield [f"{count:,}", f"{seconds * 1000 / count:.2f}", f"{cpu:.2f}", *_memory(measured)]

    return f"**One long run**, its iterations one after the other.\n\n{markdown_table(rows())}"


def _about_waiting_runs(where: Place, roles: Mapping[str, Sequence[int]], extent: Extent, say: Say) -> str:
    workload = Workload(steps=1)
    with echo_agent(where.stack.warden, _SLOW_AGENT_SECONDS) as agent:
        slow = Place(where.stack, agent.url)
        with Reference().start(slow, workload) as entrant:
            meter = Meter({**entrant.roles, **roles})
            idle = {role: mib for role, mib in meter.read()[1].items() if role in _OURS}
            seat = Seat("reference", 0, entrant, workload, roles, Sizes(extent.waiting_runs, 1, 1))
            begun = time.monotonic()
            measured = MEASURES["backlog"](seat)
            say(f"{extent.waiting_runs:,} runs at a slow agent took {time.monotonic() - begun:.0f} s")

    def rows() -> Iterator[list[str]]:
        yield ["", *_memory_heading()]
        yield ["at rest", *(f"{idle[role]:,.0f}" for role in _OURS)]
        yield [f"{extent.waiting_runs:,} runs wait", *_memory(measured)]

    return (
        f"**Runs that wait for an agent** that takes {_SLOW_AGENT_SECONDS:g} s for a call: "
        f"{measured.values['runs_per_second']:,.0f} runs/s.\n\n{markdown_table(rows())}"
    )


def _cpu(measured: Measurement, roles: Sequence[str]) -> float:
    return sum(measured.cpu_ms_per_run.get(role, 0.0) for role in roles)


def _memory_heading() -> list[str]:
    return [f"peak of {role}, MiB" for role in _OURS]


def _memory(measured: Measurement) -> list[str]:
    return [f"{measured.peak_mib[role]:,.0f}" for role in _OURS]
