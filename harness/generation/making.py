"""What makers of timelines go by: a case that has no acts yet, and what the oracle says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.generation.choosing import Chooser
from harness.oracle import Allowed, doubt
from harness.oracle.answers import AgentScript

Json = Any
Act = Mapping[str, Json]
Changed = tuple[Mapping[str, Any], Mapping[str, Any], tuple[Act, ...]]
"""(workflow, agents, acts): what a maker makes of a case."""


@dataclass(frozen=True)
class Facts:
    """A case without acts, and what the oracle knows of it."""

    workflow: Mapping[str, Any]
    given: Any
    agents: Mapping[str, Any]
    plain: Allowed

    @property
    def status(self) -> str:
        return self.plain.final.status

    @property
    def is_pure(self) -> bool:
        """Whether equal tasks get equal answers."""
        return all(AgentScript.of(name, script).is_pure for name, script in self.agents.items())

    @property
    def is_repeatable(self) -> bool:
        """Whether nothing changes when calls are made again."""
        return all(AgentScript.of(name, script).is_repeatable for name, script in self.agents.items())

    def asked_once(self) -> list[str]:
        """Agent steps that a task is sure to be published for, once, outside loops."""
        return [
            one.step
            for one in self.plain.final.executions.values()
            if one.is_asked
            and not one.may_be_absent
            and not any(isinstance(place, int) for place, _ in one.path)
            and "}}" not in one.step
        ]

    def sure_steps(self) -> list[str]:
        """Of those the ones whose agents are called for nothing else."""
        asked = [self.agent_of(one.step) for one in self.plain.final.executions.values() if one.is_asked]
        unknown = {name for name, script in self.agents.items() if not AgentScript.of(name, script).is_known}
        names = [(step, self.agent_of(step)) for step in self.asked_once()]
        return [step for step, name in names if asked.count(name) == 1 and name not in unknown]

    def agent_of(self, step: str) -> str:
        return str(self.workflow["steps"][step]["agent_name"])

    def with_held(self, step: str) -> Mapping[str, Any] | None:
        """The agents, with that of a step held; None when its script counts calls."""
        name = self.agent_of(step)
        written = self.agents[name]
        if not isinstance(written, list) or len(written) != 1 or "slow" in written[0]:
            return None
        if "held" in written[0]:
            return self.agents
        return {**self.agents, name: [{"held": written[0]}]}

    def can_be_held(self) -> dict[str, Mapping[str, Any]]:
        """Steps that are sure to be asked once → the agents, with that of the step held."""
        return {step: held for step in self.sure_steps() if (held := self.with_held(step)) is not None}

    def has_begun(self, step: str, calls: int = 1) -> Json:
        return {"agent": self.agent_of(step), "calls": {"at_least": calls}}

    def is_sure(self, agents: Mapping[str, Any], acts: Sequence[Act]) -> bool:
        """Whether the run comes to its end with these agents and acts, whatever executes it."""
        return doubt(self.workflow, self.given, agents, [{"execute": {"as": "r"}}, *acts]) is None


@dataclass(frozen=True)
class Making(Facts):
    """What a timeline is made for, and with which choices."""

    choose: Chooser
