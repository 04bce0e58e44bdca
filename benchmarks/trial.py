"""Repetitions, interleaved: in each one every contender comes up, is measured and goes, in turning order."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psutil

from benchmarks.agent_process import calls_per_second, echo_agent
from benchmarks.contender import Contender, Place
from benchmarks.measurement import Measurement
from benchmarks.measures import MEASURES, Seat, Sizes, warm_up
from benchmarks.rows import RowWatch
from benchmarks.workload import Workload
from harness.stack import STEADY_JVM, EmbeddedStack

_AGENT_SECONDS = 1.0
_WARMING_ROUNDS = 5
"""As many repetitions of the first contender come ahead and do not count: Kafka is slow until its Java machine has compiled
what it does, and takes the cores from others while it does so."""


@dataclass(frozen=True)
class Trial:
    """What is to be measured."""

    contenders: Sequence[Contender]
    workload: Workload
    sizes: Sizes
    repetitions: int
    measures: Sequence[str]


@dataclass
class Results:
    """What was measured, on which machine, by whom; and who was left out, with the reason."""

    trial: Trial
    measurements: list[Measurement] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    agent_calls_per_second: float = 0.0

    @property
    def present(self) -> list[Contender]:
        """The contenders that took part."""
        return [contender for contender in self.trial.contenders if contender.name not in self.skipped]


@contextlib.contextmanager
def place() -> Iterator[tuple[Place, Mapping[str, Sequence[int]], float]]:
    """Stack and agent, their processes by role, and how many calls a second the agent takes by itself."""
    with EmbeddedStack(kafka_jvm=STEADY_JVM) as stack, echo_agent(stack.warden) as agent:
        capacity = calls_per_second(agent, _AGENT_SECONDS)
        roles = {"agent": [agent.pid], **_servers()}
        yield Place(stack, agent.url), roles, capacity


def carry_out(trial: Trial, say: Callable[[str], None]) -> Results:
    """Measure everything. Raises what a contender raises that fails: half a comparison is none."""
    results = Results(trial)
    for contender in trial.contenders:
        if (reason := contender.missing(say)) is not None:
            results.skipped[contender.name] = reason
            say(f"{contender.name} is skipped: {reason}")
    with place() as (where, roles, capacity):
        results.agent_calls_per_second = capacity
        results.machine = machine(where.stack)
        say(f"the agent alone answers {capacity:,.0f} calls a second")
        present = results.present
        for _ in range(_WARMING_ROUNDS if trial.repetitions > 1 else 0):
            for measured in _measured(present[0], where, roles, trial, 0):
                say(f"not counted: {_in_short(measured, trial.repetitions)}")
        for repetition in range(trial.repetitions):
            # Whoever comes first finds the machine as the last repetition left it: nobody is always that one.
            for turn in range(len(present)):
                contender = present[(repetition + turn) % len(present)]
                for measured in _measured(contender, where, roles, trial, repetition):
                    results.measurements.append(measured)
                    say(_in_short(measured, trial.repetitions))
    return results


def _measured(
    contender: Contender, where: Place, roles: Mapping[str, Sequence[int]], trial: Trial, repetition: int
) -> Iterator[Measurement]:
    with contender.start(where, trial.workload) as entrant:
        seat = Seat(contender.name, repetition, entrant, trial.workload, roles, trial.sizes)
        warm_up(seat)
        for name in trial.measures:
            yield MEASURES[name](seat)


def _in_short(measured: Measurement, repetitions: int) -> str:
    values = ", ".join(f"{name} {value:,.1f}" for name, value in measured.values.items())
    return (
        f"{measured.repetition + 1}/{repetitions} {measured.contender} {measured.measure}: {values} "
        f"({measured.foreign_cores:.2f} cores busy elsewhere)"
    )


def _servers() -> dict[str, list[int]]:
    """The stack's servers, which are children of this process."""
    names = {"postgres": "postgresql", "java": "kafka"}
    found: dict[str, list[int]] = {}
    for child in psutil.Process().children():
        if child.name() in names:
            found.setdefault(names[child.name()], []).append(child.pid)
    if len(found) != len(names):
        raise RuntimeError(f"expected the processes {', '.join(names)} of the stack among our children; found {found}")
    return found


def machine(stack: EmbeddedStack) -> dict[str, str]:
    """What it was measured on, and with what durability."""
    with RowWatch(stack.database_url) as database:
        settings: dict[str, Any] = {
            name: database.one(f"SHOW {name}") for name in ("server_version", "fsync", "synchronous_commit")
        }
    return {
        "when": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="minutes"),
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgresql": f"{settings['server_version']}, fsync {settings['fsync']}, synchronous_commit "
        f"{settings['synchronous_commit']}",
        "load before": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
