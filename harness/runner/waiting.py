"""Waiting for conditions: woken by every event, never by the clock alone; and the watch over `always` and `never`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from harness.history import Event
from harness.observer import read_table
from harness.runner.conditions import Judgement, judge
from harness.runner.errors import Broken, NotSupported, SetUpBroke
from harness.runner.probes import Probes, leaves, requests_in, roles_in, tables_in
from harness.runner.world import World
from harness.scenario.model import Expectation, Place
from harness.verdict import Finding

_PROBE_SECONDS = 0.05
_WAIT_SECONDS = 0.25
_CATCH_UP_SECONDS = 10.0


class Watchdog:
    """Judges every `always` and `never` at every event; the first one that is violated ends the scenario."""

    def __init__(self, world: World, expectations: Sequence[Expectation]) -> None:
        self._world = world
        self._expectations = [one for one in expectations if one.mode in ("always", "never")]
        self.probes = Probes()
        self.violation: tuple[Expectation, Judgement, tuple[int, ...]] | None = None
        self._unjudged: list[int] = []
        self.crash: BaseException | None = None
        if self._expectations:
            world.writer.listen(self._hear)

    @property
    def conditions(self) -> list[Mapping[str, Any]]:
        """What it judges."""
        return [one.what for one in self._expectations]

    def check(self) -> None:
        """Raise :class:`Broken` when something was violated, :class:`SetUpBroke` when judging has crashed."""
        if self.crash is not None:
            raise SetUpBroke(f"an expectation could not be judged: {self.crash!r}") from self.crash
        if self.violation is not None:
            expectation, judgement, events = self.violation
            self.violation = None
            _note(self._world, expectation, "violated", judgement.found)
            raise Broken([finding(self._world, expectation, "violated", judgement.found, events)])

    def note_held(self) -> None:
        """Write down that everything held to the end."""
        for expectation in self._expectations:
            _note(self._world, expectation, "met", "held on every event")

    def _hear(self, event: Event) -> None:
        if self.violation is not None or self.crash is not None or event.source == "harness":
            return
        self._unjudged.append(event.seq)
        if self._world.scope.is_reading:
            # Half of what one read of the database found is no state that ever was: all of it is judged with its last row.
            return
        events, self._unjudged = tuple(self._unjudged), []
        for expectation in self._expectations:
            try:
                values = dict(self._world.values)
                judgement = judge(expectation.what, self._world.view, values, self.probes)
            except Exception as error:
                self.crash = error
                return
            if judgement.holds is not None and judgement.holds != (expectation.mode == "always"):
                self.violation = (expectation, judgement, events)
                return


class Waiting:
    """Waits for the conditions of one scenario. May be used from several threads."""

    def __init__(self, world: World, watchdog: Watchdog) -> None:
        self._world = world
        self._watchdog = watchdog

    def for_act(self, condition: Mapping[str, Any], place: Place) -> None:
        """Wait for a condition of the timeline. Raises :class:`Broken` when it never comes true, as the subject's fault."""
        judgement = self._wait(condition)
        if not judgement.holds:
            raise Broken([
                Finding(
                    "timeline",
                    self._world.scenario.clauses[0],
                    "condition never met",
                    f"{place}: what the timeline waits for did not come within {self._seconds:g} s: "
                    f"{shown(condition)}; last seen: {judgement.found}",
                    self._last(),
                )
            ])  # fmt: skip

    def for_expectation(self, expectation: Expectation) -> None:
        """Wait for an `eventually`. Raises :class:`Broken` at the deadline."""
        judgement = self._wait(expectation.what)
        if not judgement.holds:
            _note(self._world, expectation, "timed out", judgement.found)
            raise Broken([finding(self._world, expectation, "not met in time", judgement.found, self._last())])
        _note(self._world, expectation, "met", judgement.found)

    def look_once(self, expectation: Expectation) -> Finding | None:
        """Judge a `finally`."""
        probes = Probes()
        self._probe([expectation.what], probes)
        judgement = self._judge(expectation.what, probes)
        if judgement.holds:
            _note(self._world, expectation, "met", judgement.found)
            return None
        _note(self._world, expectation, "violated", judgement.found)
        return finding(self._world, expectation, "not so at the end", judgement.found, self._last())

    @property
    def _seconds(self) -> float:
        return self._world.scenario.deadline_seconds

    def _last(self) -> tuple[int, ...]:
        return (self._world.writer.history().events[-1].seq,)

    def _wait(self, condition: Mapping[str, Any]) -> Judgement:
        deadline = time.monotonic() + self._seconds
        probes = Probes()
        needs_probes = any(word in leaf for word in ("rest", "ready", "table") for leaf in leaves(condition))
        watched = self._watchdog.conditions
        while True:
            self._watchdog.check()
            self._check_observer()
            seen = self._world.view.count
            if needs_probes:
                self._probe([condition], probes)
            self._probe(watched, self._watchdog.probes)
            judgement = self._judge(condition, probes)
            if judgement.holds:
                return judgement
            left = deadline - time.monotonic()
            if left <= 0:
                return self._last_look(condition, probes)
            with self._world.view.changed:
                if self._world.view.count == seen or needs_probes:
                    self._world.view.changed.wait(min(left, _PROBE_SECONDS if needs_probes else _WAIT_SECONDS))

    def _last_look(self, condition: Mapping[str, Any], probes: Probes) -> Judgement:
        """At the deadline nothing that has happened may have been overlooked."""
        if blind := self._world.bench.observer.catch_up(self._world.scope, _CATCH_UP_SECONDS):
            # The stack may be down because the scenario keeps it down; what is known is judged.
            self._world.writer.add("harness", "gap", of="observer", reason=blind)
        self._watchdog.check()
        self._probe([condition], probes)
        return self._judge(condition, probes)

    def _judge(self, condition: Mapping[str, Any], probes: Probes) -> Judgement:
        with self._world.view.changed:
            self._world.view.changed.wait_for(lambda: not self._world.scope.is_reading, _WAIT_SECONDS)
            return judge(condition, self._world.view, self._world.values, probes)

    def _probe(self, conditions: Sequence[Mapping[str, Any]], probes: Probes) -> None:
        for condition in conditions:
            for key, request in requests_in(condition, dict(self._world.values)):
                probes.answers[key] = self._world.bench.rest.ask(
                    self._world.scope,
                    request.get("method", "GET"),
                    request["path"],
                    request.get("body"),
                    headers=request.get("headers"),
                    run=request.get("run"),
                )
            for role in roles_in(condition, dict(self._world.values)):
                probes.ready[role] = self._world.bench.processes.lacking(role, self._world.writer)
            for table in tables_in(condition, dict(self._world.values)):
                if self._world.bench.binding.has_own_rows:
                    raise NotSupported("the subject's tables are its own, and the scenario looks at the contract's")
                probes.tables[table] = read_table(self._world.bench.stack.database_url, table)

    def _check_observer(self) -> None:
        if wrong := self._world.bench.observer.whats_wrong(self._world.scope):
            raise SetUpBroke(wrong)


def finding(world: World, expectation: Expectation, anomaly: str, found: str, events: tuple[int, ...]) -> Finding:
    """The finding for an expectation that did not hold."""
    return Finding(
        "expectation",
        world.scenario.clauses[0],
        anomaly,
        f"{expectation.place}: {expectation.mode}: {shown(expectation.what)}; found: {found}",
        events,
    )


def shown(value: Any) -> str:
    """A condition in one line, as a file could have it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _note(world: World, expectation: Expectation, state: str, found: str) -> None:
    world.writer.add(
        "harness", "expectation", expectation=dict(expectation.what), mode=expectation.mode, state=state, found=found
    )
