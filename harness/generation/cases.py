"""Whole cases: a workflow, its agents, an input, and what is done to the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from harness.generation.agents import some_agents
from harness.generation.choosing import Chooser
from harness.generation.inputs import some_input
from harness.generation.timelines import USUAL_DISORDER, Disorder, some_timeline
from harness.generation.workflows import USUAL_SIZE, Size, one_workflow
from harness.oracle import Allowed, Undecided, allowed, doubt
from harness.oracle.acts import runs_of

Json = Any
RUN = "r"
WORKFLOW = "main"
IS_CONSUMED: Mapping[str, Json] = {
    "message": {"topic": "cancellations", "where": {"run_id": f"{{{{{RUN}.id}}}}"}, "consumed": True}
}
"""What a run that was cancelled before it was made has to wait for: nothing orders two topics, and a request that follows its
cancellation at once may be read before it."""


@dataclass(frozen=True)
class Case:
    """A run to be made: all of it JSON, in the forms of a scenario file. `timeline` has the acts that follow the
    execution; `via` is how the run is asked for.

    With a `flaw` (its `way`, `clause` and `place`, as `Invalid` has them) the workflow breaks the contract in that one way:
    over REST it is offered as a definition, which must be refused, and else a run of it must fail (FAI-06).
    """

    workflow: Mapping[str, Json]
    agents: Mapping[str, Json]
    input: Mapping[str, Json]
    timeline: Sequence[Mapping[str, Json]] = field(default_factory=tuple)
    via: str | None = None
    flaw: Mapping[str, str] | None = None

    @property
    def is_refused(self) -> bool:
        """Whether it is a definition that is offered over REST, and no run."""
        return self.flaw is not None and self.via == "rest"

    @property
    def key(self) -> str:
        """One text for all equal cases."""
        flaw = [] if self.flaw is None else [self.flaw]
        return json.dumps(
            [self.workflow, self.agents, self.input, list(self.timeline), self.via, *flaw],
            ensure_ascii=True,
            sort_keys=False,
        )

    @classmethod
    def of_key(cls, key: str) -> Case:
        """The case of such a text."""
        workflow, agents, given, timeline, via, *flaw = json.loads(key)
        return cls(workflow, agents, given, tuple(timeline), via, *flaw)

    def allowed(self, *, is_disturbed: bool = False, run: str | None = None) -> Allowed:
        """What may come of it, or of one of the runs beside it, also when processes were ended or added meanwhile. Raises
        :class:`harness.oracle.Undecided`, also where there is a flaw."""
        if self.flaw is not None:
            raise Undecided(f"the workflow is not valid: {self.flaw['way']}")
        timeline = [*self.whole_timeline, *([{"kill": "consumer"}] if is_disturbed else [])]
        given = self.input if run is None else self.others[run]
        return allowed(self.workflow, given, self.agents, timeline, run)

    @property
    def others(self) -> dict[str, Mapping[str, Json]]:
        """The runs beside it, by their names, with their inputs."""
        runs = runs_of(self.whole_timeline)
        return {name: act.arguments.get("input", {}) for name, act in runs.items() if name != RUN}

    @property
    def doubt(self) -> str | None:
        """Why it may stand still though the executor keeps the contract; None when it cannot, or there is a flaw."""
        if self.flaw is not None:
            return None
        return doubt(self.workflow, self.input, self.agents, self.whole_timeline)

    @property
    def whole_timeline(self) -> list[Mapping[str, Json]]:
        """The timeline with the execution in it."""
        arguments: dict[str, Json] = {"as": RUN}
        if self.input:
            arguments["input"] = self.input
        before = [act for act in self.timeline if act.get("before")]
        # What is done to a run before it is made names an id that the harness chooses; and an API refuses a plan with a flaw.
        via = "kafka" if before or (self.flaw is not None and not self.is_refused) else self.via
        if via is not None:
            arguments["via"] = via
        after = [act for act in self.timeline if not act.get("before")]
        execute: dict[str, Json] = {"execute": arguments}
        if any("cancel" in act for act in before):
            execute = {"when": IS_CONSUMED, **execute}
        return [*({k: v for k, v in act.items() if k != "before"} for act in before), execute, *after]


@st.composite
def cases(draw: st.DrawFn, size: Size = USUAL_SIZE, disorder: Disorder = USUAL_DISORDER) -> Case:
    """Cases whose outcome the oracle can tell, for the greatest part. `disorder` says what may be done to the run."""
    choose = Chooser(draw)
    workflow: Mapping[str, Json] = one_workflow(choose, size)
    scripts: Mapping[str, Json] = some_agents(choose, workflow, counting=disorder.counting_agents)
    given = some_input(choose, workflow)
    timeline: tuple[Mapping[str, Json], ...] = ()
    if disorder.words and choose.rarely(disorder.one_in):
        workflow, scripts, timeline = some_timeline(choose, workflow, given, scripts, disorder)
    via = choose.one_of(disorder.ways)
    if via == "message" and timeline:
        # Until the executor has made its row, nobody can do anything to the run over REST.
        via = None
    return Case(workflow, scripts, given, timeline, via)
