"""Workflow definitions over the whole format (contract, section 4). Every one of them is legal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from harness.generation import references
from harness.generation.choosing import Chooser
from harness.generation.references import Scope
from harness.generation.values import BRANCH_NAMES, ODD_IDS

Json = Any

_IGNORED: Mapping[str, Json] = {"parallel_steps": None, "loop_config": 7, "fork_join_config": {}, "condition": []}
"""Fields of other types of steps, as serializers of typed models write them (DEF-15)."""


@dataclass(frozen=True)
class Size:
    """What a definition may contain. Composites that are open when `most_steps` are there are still given their steps."""

    most_steps: int = 12
    deepest: int = 3
    longest_chain: int = 4
    odd_ids: bool = True
    step_types: frozenset[str] = frozenset(("agent", "parallel", "conditional", "loop", "fork_join"))


USUAL_SIZE = Size()


@st.composite
def workflows(draw: st.DrawFn, size: Size = USUAL_SIZE) -> dict[str, Json]:
    """Legal workflow definitions: every type of step, nested, every policy and limit, references in both syntaxes, and ids
    that look like something else. Agents are called `w1`, `w2`, … ; each agent step mostly has one of its own."""
    return _Draft(Chooser(draw), size).whole()


def one_workflow(choose: Chooser, size: Size) -> dict[str, Json]:
    """One such definition."""
    return _Draft(choose, size).whole()


Shown = tuple[tuple[str, str], ...]
"""(id, type) of the steps that what follows may refer to."""


@dataclass
class _Draft:
    choose: Chooser
    size: Size
    steps: dict[str, dict[str, Json]] = field(default_factory=dict)
    agents: int = 0

    def __post_init__(self) -> None:
        plain = [chr(ord("a") + number) if number < 26 else f"s{number}" for number in range(self.size.most_steps + 60)]
        odd = self.choose.some(ODD_IDS, 5, least=1) if self.size.odd_ids and self.choose.rarely(4) else []
        self.ids = [*odd, *(one for one in plain if one not in odd)]
        self.fillers: Mapping[str, Callable[[Scope, dict[str, Json]], Shown]] = {
            "agent": self.agent,
            "parallel": self.parallel,
            "conditional": self.conditional,
            "loop": self.loop,
            "fork_join": self.fork_join,
        }
        wanted = ("agent", "agent", "agent", "agent", "parallel", "conditional", "loop", "loop", "fork_join")
        self.kinds = [kind for kind in wanted if kind in self.size.step_types]

    @property
    def room(self) -> int:
        return self.size.most_steps - len(self.steps)

    def whole(self) -> dict[str, Json]:
        chain, _ = self.sequence(Scope(), self.size.longest_chain)
        for step, following in zip(chain, [*chain[1:], None], strict=True):
            if following is not None or self.choose.rarely(2):
                self.steps[step]["next_step"] = following
        steps = self.steps
        if self.choose.rarely(4):
            # The order in which steps are written down means nothing.
            steps = dict(reversed(steps.items()))
        return {"name": "main", "start_step": chain[0], "steps": steps}

    def sequence(self, scope: Scope, longest: int) -> tuple[list[str], Shown]:
        ids: list[str] = []
        shown: Shown = ()
        while not ids or (len(ids) < longest and self.room > 0 and self.choose.number(0, 2)):
            step, more = self.step(scope.after(shown))
            ids.append(step)
            shown += more
        return ids, shown

    def step(self, scope: Scope) -> tuple[str, Shown]:
        step_id = self.ids.pop(0)
        step: dict[str, Json] = {"id": step_id}
        self.steps[step_id] = step
        can_nest = scope.depth < self.size.deepest and self.room >= 1
        kind = self.choose.one_of(self.kinds) if can_nest else "agent"
        if kind != "agent" or self.choose.rarely(3):
            step["type"] = kind
        inner = self.fillers[kind](scope, step)
        if kind == "agent" or self.choose.rarely(6):
            written = references.mapping(self.choose, scope)
            if written is not None:
                step["input_mapping"] = written
        return step_id, ((step_id, kind), *inner)

    def agent(self, _: Scope, step: dict[str, Json]) -> Shown:
        if self.agents and self.choose.rarely(8):
            step["agent_name"] = f"w{self.choose.number(1, self.agents)}"
        else:
            self.agents += 1
            step["agent_name"] = f"w{self.agents}"
        if self.choose.rarely(16):
            step |= _IGNORED
        return ()

    def parallel(self, scope: Scope, step: dict[str, Json]) -> Shown:
        children = [self.step(scope.below()), self.step(scope.below())]
        while self.room > 0 and self.choose.rarely(3):
            children.append(self.step(scope.below()))
        step["parallel_steps"] = [child for child, _ in children]
        limit = self.choose.one_of((None, None, 1, 2))
        if limit is not None or self.choose.rarely(8):
            step["max_parallelism"] = limit
        return tuple(one for _, shown in children for one in shown)

    def conditional(self, scope: Scope, step: dict[str, Json]) -> Shown:
        step["condition"] = {"expression": references.condition(self.choose, scope)}
        shown: Shown = ()
        given = self.choose.one_of(
            (
                ("if_true_step",),
                ("if_true_step", "if_false_step"),
                ("if_false_step",),
                ("if_true_step", "if_false_step"),
            )
        )
        for name in given:
            step[name], more = self.step(scope.below())
            shown += more
        return shown

    def loop(self, scope: Scope, step: dict[str, Json]) -> Shown:
        config: dict[str, Json] = {"collection": references.collection(self.choose, scope)}
        mode = self.choose.one_of((None, "sequential", "parallel", "parallel"))
        optional = {
            "execution_mode": mode,
            "on_error": self.choose.one_of((None, "stop", "continue", "collect")),
            "max_parallelism": self.choose.one_of((None, None, 1, 2)) if mode == "parallel" else None,
            "max_iterations": self.choose.number(1, 3) if self.choose.rarely(4) else None,
        }
        config |= {name: given for name, given in optional.items() if given is not None}
        if self.choose.rarely(12):
            config |= {name: given for name, given in optional.items() if given is None}
        config["loop_body"], _ = self.sequence(scope.below(in_loop=True), 2)
        step["loop_config"] = config
        # Each iteration has outputs of its own: from outside only the loop's output can be meant (REF-18).
        return ()

    def fork_join(self, scope: Scope, step: dict[str, Json]) -> Shown:
        names = BRANCH_NAMES[:3] if not self.choose.rarely(4) else self.choose.some(BRANCH_NAMES, 3, least=3)
        branches: dict[str, Json] = {}
        shown: Shown = ()
        for name in names[: self.choose.number(2, 3)]:
            ids, more = self.sequence(scope.below(), 2)
            branches[name] = {"steps": ids}
            shown += more
        policy = self.choose.one_of(("all", "any", "majority", "n_of_m"))
        config: dict[str, Json] = {"branches": branches, "join_policy": policy}
        if policy == "n_of_m":
            config["n_required"] = self.choose.number(1, len(branches))
        if self.choose.rarely(6):
            config["branch_timeout_seconds"] = self.choose.one_of((60, 3600.5, None))
        step["fork_join_config"] = config
        return shown
