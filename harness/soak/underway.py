"""One run under way: its history, what is still to be done to it, and when it was last heard of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import contract
from harness.exploration import scenario_of
from harness.exploration.flight import TERMINAL, Eyes
from harness.history import Event, HistoryWriter
from harness.runner import acts
from harness.runner.world import World
from harness.scenario.model import Act, Scenario
from harness.soak.mix import CANCELLED_AT, Kind

if TYPE_CHECKING:
    from harness.runner.bench import Bench

_ASKING_SECONDS = 90.0
_RUN, _WORKFLOW = "r", "main"
Progress = Callable[[str, float], None]
"""Hears the run_id and the time (seconds of the epoch) of each end of a step or run."""


class _Ground:
    """The bench, for worlds whose requests are repeated while the API may be away, and whose rows are followed or not."""

    def __init__(self, bench: Bench, is_followed: bool = False) -> None:
        self._bench = bench
        self.observer = Eyes(bench.observer, is_followed)
        self.armed_faults = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bench, name)


class Common:
    """What all runs of a kind share: the workflow as it was created, and the agents."""

    def __init__(self, kind: Kind, bench: Bench) -> None:
        """Register the agents and create the workflow. Raises SetUpBroke, Broken."""
        self.kind = kind
        scenario = scenario_of(kind.case, f"soak/{kind.name}")
        self.scenario: Scenario = replace(scenario, deadline_seconds=_ASKING_SECONDS)
        ground: Any = _Ground(bench)
        self.world = World(self.scenario, ground, HistoryWriter(None), {})
        self.world.set_up()


class UnderWay(World):
    """A run of a kind. Its acts are done in threads of a pool; `hears` is called in those of the observer."""

    def __init__(
        self,
        common: Common,
        marker: str,
        given: Mapping[str, Any],
        bench: Bench,
        progress: Progress,
        *,
        is_followed: bool,
    ) -> None:
        self._common = common
        self.kind = common.kind
        self.marker = marker
        self.given = given
        self.is_followed = is_followed
        ground: Any = _Ground(bench, is_followed)
        writer = HistoryWriter(None)
        super().__init__(common.scenario, ground, writer, {})
        self.values["workflows"] = common.world.values["workflows"]
        for name in self.scenario.agents:
            self.scope.agents[self.agent_name(name)] = name
        self._progress = progress
        self.begun = self.last_event = time.monotonic()
        self.left = list(self.kind.acts)
        self.done: list[str] = []
        """The acts that the subject took."""

        self.is_acting = True
        self.is_accepted = False
        self.is_over = False
        self.is_being_judged = False
        self.over_since: float | None = None
        self.problem: str | None = None
        self._cancels_at = self.agent_name(CANCELLED_AT)
        self._is_at_it = False
        self._began(bench)
        writer.listen(self._hear)

    def agent_name(self, name: str) -> str:
        """What an agent is called, in all runs of the kind."""
        return self._common.world.agent_name(name)

    def _definition(self, name: str, written: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        found: dict[str, Any] = self._common.world.values["workflows"][name]["definition"]
        return found

    def close(self) -> None:
        """Let go of the run; the agents stay, since they are those of others as well."""
        # What `add_agent` would note is shared, and not this scope's to take away.
        self.scope.agents.clear()
        self.bench.observer.close(self.scope)

    @property
    def id(self) -> str | None:
        """The run_id, once it is known."""
        return self.made[0] if self.made else None

    @property
    def status(self) -> str | None:
        """The status in which its row was last read."""
        row = self.view.run(self.made[0]).row if self.made else None
        return None if row is None else str(row.get("status"))

    @property
    def due_act(self) -> str | None:
        """What is to be done to it now."""
        if self.is_acting or not self.left:
            return None
        word = self.left[0]
        return word if (self._is_at_it if word == "cancel" else self.is_over) else None

    def do(self, word: str, arguments: Mapping[str, Any]) -> Any:
        """Do an act and note it. Raises what `acts.do` does."""
        outcome: Any = None
        place = self.scenario.timeline[0].place
        try:
            outcome = acts.do(Act(word, arguments, None, place), self)
        finally:
            told = {name: value for name, value in arguments.items() if name != "input"}
            self.writer.add("harness", "act", act=word, arguments=told, outcome=outcome)
        return outcome

    def ask(self) -> None:
        """Have it executed; it is accepted when this returns."""
        self.do("execute", {"workflow": _WORKFLOW, "input": dict(self.given), "as": _RUN})
        self.is_accepted = True

    def act(self, word: str) -> None:
        """Cancel or retry it. Whoever asked twice may be refused the second time, and has got what was asked for."""
        outcome = self.do(word, {"run": _RUN})
        self.left.pop(0)
        refused = outcome["status"] >= 400 if isinstance(outcome, Mapping) else str(outcome).startswith("refused")
        if not refused or word == "retry":
            self.done.append(word)
        if word == "retry":
            self.is_over = False
        elif refused:
            # It has ended by itself; there is nothing to be retried.
            self.left.clear()

    def touch(self, seconds: float = 0.0) -> None:
        """Wait a little longer for it: more is to be seen, perhaps only after so long."""
        self.last_event = time.monotonic() + seconds

    def timeline(self) -> tuple[Mapping[str, Any], ...]:
        """What was done, for the oracle. A cancellation whose answer was lost shows in the run alone."""
        done = self.done if self.done or self.status != "CANCELLED" else ["cancel"]
        return tuple({word: _RUN} for word in done)

    @property
    def expected(self) -> frozenset[str]:
        """The statuses that it may end with, after what was done to it."""
        if self.done == ["cancel"]:
            return frozenset({"CANCELLED"})
        return frozenset({"COMPLETED"}) if self.done == ["cancel", "retry"] else self.kind.ends

    def so_far(self, reason: str, *, is_drained: bool) -> tuple[Event, ...]:
        """The history as it stands, with an end; more may come."""
        waited = list(self.made) if is_drained else []
        seen = self.writer.history().events
        data = {"reason": reason, "waited": waited, "drained": is_drained}
        return (*seen, Event(len(seen), seen[-1].at, seen[-1].wall, "harness", "end", None, data))

    def _hear(self, event: Event) -> None:
        if event.run is None:
            return
        self.last_event = time.monotonic()
        if event.kind != "message" or event["by"] != "subject" or not isinstance(event["value"], Mapping):
            return
        if event["topic"] == "tasks":
            self._is_at_it = self._is_at_it or event["value"].get("agent_name") == self._cancels_at
        elif event["topic"] == "updates" and event["value"].get("status") in TERMINAL and event.run is not None:
            self._progress(event.run, _appended(event))

    def _began(self, bench: Bench) -> None:
        self.writer.add(
            "harness", "begin", scenario=self.scenario.id, guarantee=self.scenario.guarantee,
            clauses=list(self.scenario.clauses), subject=bench.subject.name, contract=contract.VERSION, seed=0, drawn={},
            roles=list(bench.roles), played=list(bench.played), extensions=sorted(bench.subject.extensions), alone=False,
            agents={name: self.agent_name(name) for name in self.scenario.agents},
        )  # fmt: skip


def _appended(event: Event) -> float:
    """When the broker took a message; where its topic does not tell, when it was seen."""
    told = event.data.get("appended")
    return datetime.fromisoformat(told).timestamp() if isinstance(told, str) else time.time()
