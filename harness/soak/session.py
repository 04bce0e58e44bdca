"""A soak from its beginning to its end: load, disorder and measuring together, and the ledger at last."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from harness.faults.session import FaultPoints
from harness.runner.bench import Bench
from harness.runner.errors import NotSupported
from harness.soak.calls import CallsOfRuns
from harness.soak.disorder import Disorder
from harness.soak.everyone import Everyone
from harness.soak.ledger import Ledger, Snapshot
from harness.soak.load import STUCK_SECONDS, Load
from harness.soak.messages import BadMessages
from harness.soak.recovery import Recoveries
from harness.soak.resources import HARNESS, Resources, Watched, of_harness
from harness.soak.schedule import Planned, schedule

DRAIN_SECONDS: Final = 120.0
_THROUGH_PROXIES: Final = ("points", "connections", "network")
_MOST_SAMPLES: Final = 900
_TELL_SECONDS: Final = 1.0
_CALLS_KEPT_SECONDS: Final = 300.0
Told = Callable[[Snapshot, str, Mapping[str, float]], None]
"""Hears how far it has come, what is being done now, and the MiB of each process."""


@dataclass
class Soak:
    """What is asked for; `every_seconds` is the mean time between two faults."""

    seconds: float
    rate: float
    groups: Sequence[str]
    seed: int
    every_seconds: float
    directory: Path
    stuck_seconds: float = STUCK_SECONDS
    drain_seconds: float = DRAIN_SECONDS

    def carry_out(self, bench: Bench, told: Told) -> tuple[Ledger, dict[str, Any]]:
        """The ledger, and all of it with figures as JSON has it.

        Raises:
            SetUpBroke, Broken: workflows or agents cannot be made, or the harness cannot see any more.
            SubjectError, StackError: what was killed does not come back.
        """
        ledger, recoveries = Ledger(), Recoveries()
        everyone = Everyone(bench.observer.scopes)
        planned = schedule(self.seed, self.seconds, self.groups, self._processes(bench), self.every_seconds)
        points: FaultPoints | None = None
        if set(self.groups) & set(_THROUGH_PROXIES):
            # On a stack without proxies, what needs them is noted as not supported when its time comes.
            with contextlib.suppress(NotSupported):
                points = bench.fault_points()
        load = Load(
            bench, ledger, recoveries, everyone, rate=self.rate, seed=self.seed, directory=self.directory,
            stuck_seconds=self.stuck_seconds,
        )  # fmt: skip
        load.set_up()
        bench.agents.listen(CallsOfRuns(bench.observer.scopes, ledger, load.scopes))
        begun = time.monotonic()

        def now() -> float:
            return time.monotonic() - begun

        messages = BadMessages(bench, load, ledger, self.seed)
        disorder = Disorder(planned, bench, load, ledger, recoveries, everyone, messages, now)
        resources = Resources(lambda: _watched(bench, points), now, max(1.0, self.seconds / _MOST_SAMPLES))
        told_at = 0.0

        def tell() -> None:
            nonlocal told_at
            if now() - told_at >= _TELL_SECONDS:
                told_at = now()
                bench.agents.let_go(_CALLS_KEPT_SECONDS)
                told(ledger.counts, disorder.present, resources.latest())

        resources.start()
        disorder.start()
        try:
            load.carry(self.seconds, self.drain_seconds, tell)
        finally:
            disorder.stop()
            resources.sample()
            resources.stop()
            bench.agents.listen(bench.observer.agents)
        return ledger, self._data(bench, ledger, recoveries, resources, planned)

    def _processes(self, bench: Bench) -> dict[str, int]:
        roles = {str(name): len(role) for name, role in bench.running.roles.items()}
        brokers = len(getattr(bench.stack.broker, "members", ()))
        return {**roles, "broker": brokers} if brokers else roles

    def _data(
        self, bench: Bench, ledger: Ledger, recoveries: Recoveries, resources: Resources, planned: Sequence[Planned]
    ) -> dict[str, Any]:
        return {
            **ledger.data(),
            "subject": bench.subject.name,
            "asked_for": {
                "seconds": self.seconds, "rate": self.rate, "faults": list(self.groups), "seed": self.seed,
                "every_seconds": self.every_seconds, "processes": self._processes(bench),
            },
            "planned": len(planned),
            "recovery": recoveries.figures(),
            "resources": resources.data(),
        }  # fmt: skip


def _watched(bench: Bench, points: FaultPoints | None) -> dict[str, Watched]:
    routes = {} if points is None else points.routes
    stack = bench.stack
    kafka = {int(address.rpartition(":")[2]) for address in stack.kafka_brokers.split(",")}
    database = urlsplit(stack.database_url).port or 5432
    found = {}
    for process in bench.running.processes:
        route = routes.get(process.name)
        databases, brokers = {database}, set(kafka)
        if route is not None:
            databases.add(urlsplit(route.database_url).port or database)
            brokers.add(int(route.kafka_brokers.rpartition(":")[2]))
        found[process.name] = Watched(process.pid, frozenset(databases), frozenset(brokers))
    for name in ("broker", "database"):
        pid = getattr(getattr(stack, name, None), "pid", None)
        if pid is not None:
            found[name] = Watched(pid)
    return {**found, HARNESS: of_harness()}
