"""What is run: a few workflows of all shapes, some that fail, some that are cancelled or retried on the way."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.generation import Case

MARKER: Final = "marker"
"""A text of its own in the input of each run, handed to every call: by it a call is known, and runs that get mixed up show."""

_MARKED: Final = {MARKER: f"${{workflow.input.{MARKER}}}"}
_WORKER: Final = {"slow": {"seconds": 0.05, "then": {"echo": True}}}
_LONG: Final = {"slow": {"seconds": 0.8, "then": {"echo": True}}}
_AGENTS: Final[Mapping[str, Any]] = {
    "worker": [_WORKER],
    "other": [{"ok": {"done": True}}],
    "long": [_LONG],
    "broken": [{"fail": "out of stock"}],
}


@dataclass(frozen=True)
class Kind:
    """`name` as the ledger calls it; `weight` of 100; `acts` follow the execution, one after another; `ends` are the
    statuses that the run may end with."""

    name: str
    weight: int
    case: Case
    acts: tuple[str, ...] = ()
    ends: frozenset[str] = frozenset({"COMPLETED"})

    @property
    def step_types(self) -> frozenset[str]:
        """What its workflow is made of."""
        return frozenset(step.get("type", "agent") for step in self.case.workflow["steps"].values())


def input_of(kind: Kind, marker: str, draw: random.Random) -> dict[str, Any]:
    """What one run of this kind is given."""
    return {**kind.case.input, MARKER: marker, "n": draw.randint(0, 9)}


def _step(step: str, agent: str = "worker", next_step: str | None = None, **mapping: str) -> dict[str, Any]:
    return {"id": step, "agent_name": agent, "next_step": next_step, "input_mapping": {**_MARKED, **mapping}}


def _case(start: str, *steps: Mapping[str, Any], **given: Any) -> Case:
    workflow = {"start_step": start, "steps": {step["id"]: dict(step) for step in steps}}
    names = {step["agent_name"] for step in steps if "agent_name" in step}
    return Case(workflow, {name: script for name, script in _AGENTS.items() if name in names}, given)


_CHAIN = _case(
    "a",
    _step("a", next_step="b", n="${workflow.input.n}"),
    _step("b", "other", "c"),
    _step("c", done="${b.output.done}"),
)
_PARALLEL = _case(
    "p",
    {"id": "p", "type": "parallel", "parallel_steps": ["x", "y", "z"], "next_step": "e"},
    *(_step(step) for step in "xy"),
    _step("z", "other"),
    _step("e", "other"),
)
_LOOP = _case(
    "l",
    {
        "id": "l",
        "type": "loop",
        "next_step": "e",
        "loop_config": {"collection": "${workflow.input.items}", "loop_body": ["x"], "execution_mode": "sequential"},
    },
    _step("x", item="${loop.item}"),
    _step("e", "other"),
    items=["one", "two", "three"],
)
_CONDITIONAL = _case(
    "a",
    _step("a", next_step="c"),
    {
        "id": "c",
        "type": "conditional",
        "condition": {"expression": "${workflow.input.n} > 4"},
        "if_true_step": "t",
        "if_false_step": "f",
        "next_step": "e",
    },
    _step("t"),
    _step("f", "other"),
    _step("e", "other"),
)
_FORK_JOIN = _case(
    "f",
    {
        "id": "f",
        "type": "fork_join",
        "next_step": "e",
        "fork_join_config": {
            "join_policy": "all",
            "branches": {"left": {"steps": ["x", "y"]}, "right": {"steps": ["z"]}},
        },
    },
    *(_step(step) for step in "xyz"),
    _step("e", "other"),
)
_FAILING = _case("a", _step("a", next_step="b"), _step("b", "broken", "c"), _step("c", "other"))
_LONG_STEP = _case("a", _step("a", "other", "b"), _step("b", "long", "c"), _step("c", "other"))

KINDS: Final[tuple[Kind, ...]] = (
    Kind("chain", 34, _CHAIN),
    Kind("parallel", 14, _PARALLEL),
    Kind("loop", 14, _LOOP),
    Kind("conditional", 10, _CONDITIONAL),
    Kind("fork_join", 10, _FORK_JOIN),
    Kind("failing", 7, _FAILING, ends=frozenset({"FAILED"})),
    Kind("failed and retried", 3, _FAILING, ("retry",), frozenset({"FAILED"})),
    Kind("cancelled", 4, _LONG_STEP, ("cancel",), frozenset({"CANCELLED", "COMPLETED"})),
    Kind("cancelled and retried", 4, _LONG_STEP, ("cancel", "retry"), frozenset({"CANCELLED", "COMPLETED"})),
)
CANCELLED_AT: Final = "long"
"""The agent at whose task a run is cancelled."""
