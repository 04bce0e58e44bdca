"""One generated run under way: its world, its acts, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import contract
from harness.exploration.disturbance import Disturber
from harness.exploration.files import scenario_of
from harness.generation import Case
from harness.history import Event, HistoryWriter
from harness.observer import Observer, Scope
from harness.runner.conditions import judge
from harness.runner.probes import Probes
from harness.runner.waiting import shown
from harness.runner.world import World
from harness.scenario.model import Act

if TYPE_CHECKING:
    from harness.runner import Bench

TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


class Eyes:
    """The observer, for a world whose rows are followed or not."""

    def __init__(self, observer: Observer, is_followed: bool) -> None:
        self._observer = observer
        self._is_followed = is_followed

    def open(self, writer: HistoryWriter) -> Scope:
        return self._observer.open(writer, is_followed=self._is_followed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._observer, name)


class _Ground:
    """The bench, for a world whose agents are registered together with those of others."""

    def __init__(self, bench: Bench, is_followed: bool) -> None:
        self._bench = bench
        self.observer = Eyes(bench.observer, is_followed)
        self.records: list[Mapping[str, Any]] = []

    def register_agent(self, _: Scope, record: Mapping[str, Any]) -> None:
        self.records.append(record)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bench, name)


class Flight:
    """`number` is the case's among all, `seed` that of its batch."""

    def __init__(self, case: Case, bench: Bench, *, number: int, seed: int, is_followed: bool) -> None:
        self.case = case
        self.number = number
        self.seed = seed
        self.is_followed = is_followed
        # In bulk runs are asked for in the place of an API; the file that is written of one leaves the way to the subject.
        asked = case if case.via is not None else replace(case, via="kafka")
        self.scenario = scenario_of(asked, f"generated/{seed}-{number}")
        self.writer = HistoryWriter(None)
        self.ground = _Ground(bench, is_followed)
        ground: Any = self.ground
        self.world = World(self.scenario, ground, self.writer, {})
        self.begun = self.last_event = time.monotonic()
        self.next_act = 0
        self.is_acting = False
        self.problem: str | None = None
        """Why nothing can be said about it: the harness could not do what it wanted to."""

        self.refusal: str | None = None
        """What the subject would not do that the timeline asked for."""

        self.is_disturbed = False
        """Whether something was done to processes while it was under way."""

        self.has_ended = False
        self.ended_runs: set[str] = set()
        """Runs that have been seen at their end since the last act."""

        self.row_changes = -1
        self._began(bench)
        self.writer.listen(self._hear)

    def _hear(self, _: Event) -> None:
        self.last_event = time.monotonic()

    def feel(self, disturber: Disturber) -> None:
        """Have its calls counted, and what happened to processes just before it told."""
        self.writer.listen(lambda event: disturber.heard(self.seed, event))
        if disturber.is_felt:
            self.is_disturbed = True
            told = [(event.kind, event.data) for event in self.writer.history() if event.source == "process"]
            for kind, data in disturber.recent:
                if (kind, data) not in told:
                    self.writer.add("process", kind, **data)

    def _began(self, bench: Bench) -> None:
        self.writer.add(
            "harness",
            "begin",
            scenario=self.scenario.id,
            guarantee=self.scenario.guarantee,
            clauses=list(self.scenario.clauses),
            subject=bench.subject.name,
            contract=contract.VERSION,
            seed=self.seed,
            drawn={},
            roles=list(bench.roles),
            played=list(bench.played),
            extensions=sorted(bench.subject.extensions),
            alone=False,
            agents={name: self.world.agent_name(name) for name in self.scenario.agents},
        )

    @property
    def is_bulk(self) -> bool:
        """Whether it begins with a plain execution, which can be asked for together with others, and makes no other run."""
        is_plain = self.case.via in (None, "kafka") and self.scenario.timeline[0].word == "execute"
        return is_plain and not self.case.others

    @property
    def refused_name(self) -> str | None:
        """The name under which an invalid definition was offered; None when none was."""
        body = self.scenario.timeline[0].arguments.get("body") if self.case.is_refused else None
        name = None if body is None else body.get("name")
        return name.replace("{{unique}}", self.world.unique) if isinstance(name, str) and "{{" in name else None

    @property
    def acts_are_done(self) -> bool:
        """Whether nothing is left of the timeline."""
        return not self.is_acting and self.next_act >= len(self.scenario.timeline)

    def due_act(self) -> Act | None:
        """The next act, when what it waits for has come about."""
        if self.is_acting or self.acts_are_done:
            return None
        act = self.scenario.timeline[self.next_act]
        if act.when is None:
            return act
        with self.world.view.changed:
            holds = judge(act.when, self.world.view, self.world.values, Probes()).holds
        return act if holds else None

    def run_ids(self) -> list[str]:
        """The runs that were made."""
        return list(self.world.made)

    def open_runs(self) -> list[str]:
        """Those that have not been seen at their end since the last act."""
        return [run_id for run_id in self.world.made if run_id not in self.ended_runs]

    def status(self) -> str | None:
        """The last status of the run that was made first."""
        for run_id in self.world.made:
            row = self.world.view.run(run_id).row
            return None if row is None else str(row.get("status"))
        return None

    def waits_for(self) -> str | None:
        """What of the timeline has not come about, in words."""
        if self.acts_are_done:
            return None
        act = self.scenario.timeline[self.next_act]
        return f"what the timeline waits for before {act.word} has not come: {shown(act.when)}"

    def end(self, reason: str, *, is_drained: bool) -> tuple[Event, ...]:
        """Close the world; the whole history."""
        if died := self.problem or self.refusal:
            reason = died
        self.writer.add("harness", "end", reason=reason, waited=self.run_ids(), drained=is_drained)
        self.world.close()
        return self.writer.history().events
