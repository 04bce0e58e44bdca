"""Definitions that are invalid in exactly one way, with the way named: a legal one, in which one thing is made wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from harness.generation.choosing import Chooser
from harness.generation.workflows import USUAL_SIZE, Size, one_workflow
from harness.oracle.plan import Plan

Json = Any
Raw = dict[str, Any]


@dataclass(frozen=True)
class Invalid:
    """A definition that a subject must refuse (DEF, REF, CND). `way` is what is wrong in a few words, `clause` the clause
    that refuses it, and `place` the id of the step at fault, or the field when no step is (DEF-16)."""

    definition: Mapping[str, Json]
    way: str
    clause: str
    place: str


@dataclass(frozen=True)
class _Way:
    """`find` gives the steps (or "" for the definition) in which this can be made wrong, and what makes it so."""

    name: str
    clause: str
    find: Callable[[Plan], Iterator[tuple[str, Callable[[Raw], None]]]]


@st.composite
def invalid_workflows(draw: st.DrawFn, size: Size = USUAL_SIZE, ways: tuple[str, ...] | None = None) -> Invalid:
    """Definitions with one mistake; `ways` are names of WAYS, by default all."""
    return one_invalid(Chooser(draw), size, ways)


def one_invalid(choose: Chooser, size: Size, ways: tuple[str, ...] | None = None) -> Invalid:
    """One such definition."""
    definition = copy.deepcopy(one_workflow(choose, size))
    plan = Plan.of(definition)
    allowed = [way for way in _WAYS if ways is None or way.name in ways]
    first = choose.number(0, len(allowed) - 1)
    for way in (*allowed[first:], *allowed[:first], _WAYS[0]):
        places = list(way.find(plan))
        if places:
            place, change = choose.one_of(places)
            change(definition)
            return Invalid(definition, way.name, way.clause, place)
    raise AssertionError("the first way can be gone in every definition")


def _everywhere(place: str, change: Callable[[Raw], None]) -> Callable[[Plan], Iterator[Any]]:
    def find(_: Plan) -> Iterator[Any]:
        yield place, change

    return find


def _in_each(kind: str | None, change: Callable[[Raw, Plan, str], None]) -> Callable[[Plan], Iterator[Any]]:
    """In each step of a type, or in every step."""

    def find(plan: Plan) -> Iterator[Any]:
        for step in plan.steps:
            if kind is None or plan.kind(step) == kind:
                yield step, lambda definition, step=step: change(definition["steps"][step], plan, step)

    return find


def _set(**fields: Json) -> Callable[[Raw, Plan, str], None]:
    return lambda step, _plan, _id: step.update(copy.deepcopy(fields))


def _remove(*names: str) -> Callable[[Raw, Plan, str], None]:
    def change(step: Raw, _plan: Plan, _id: str) -> None:
        for name in names:
            step.pop(name, None)

    return change


def _config(name: str, **fields: Json) -> Callable[[Raw, Plan, str], None]:
    return lambda step, _plan, _id: step[name].update(copy.deepcopy(fields))


def _no_config(name: str, field: str) -> Callable[[Raw, Plan, str], None]:
    def change(step: Raw, _plan: Plan, _id: str) -> None:
        step[name].pop(field, None)

    return change


def _mapped(text: Callable[[Plan, str], str | None]) -> Callable[[Plan], Iterator[Any]]:
    """A reference that must not stand in a step's mapping."""

    def find(plan: Plan) -> Iterator[Any]:
        for step in plan.steps:
            reference = text(plan, step)
            if reference is not None:
                yield (
                    step,
                    lambda definition, step=step, reference=reference: definition["steps"][step].update(
                        input_mapping={"x": [reference]}
                    ),
                )

    return find


def _plain(step: str) -> bool:
    return step.isalnum()


def _unused(plan: Plan) -> str:
    return next(name for name in ("nobody", "nobody2", "nobody3") if name not in plan.steps)


def _later(plan: Plan, step: str) -> str | None:
    if step not in plan.chain:
        return None
    after = [other for other in plan.chain[plan.chain.index(step) + 1 :] if _plain(other)]
    return f"${{{after[0]}.output}}" if after else None


def _around(plan: Plan, step: str) -> str | None:
    above = [other for other in plan.above(step) if _plain(other)]
    return f"$.{above[0]}.output_data.x" if above else None


def _beside(plan: Plan, step: str) -> str | None:
    slot = plan.slots.get(step)
    if slot is None or plan.kind(slot.parent) not in ("parallel", "fork_join", "conditional"):
        return None
    for other, place in plan.slots.items():
        same = place.parent == slot.parent and other != step and _plain(other)
        if same and (plan.kind(slot.parent) == "parallel" or place.name != slot.name):
            return f"${{{other}.output}}"
    return None


def _into_a_loop(plan: Plan, step: str) -> str | None:
    if step not in plan.chain:
        return None
    before = plan.chain[: plan.chain.index(step)]
    for other in plan.steps:
        if plan.top(other) in before and plan.loops_around(other) and _plain(other):
            return f"${{{other}.output}}"
    return None


def _cycle(plan: Plan) -> Iterator[Any]:
    last = plan.chain[-1]
    yield plan.start, lambda definition: definition["steps"][last].update(next_step=plan.start)


def _two_places(plan: Plan) -> Iterator[Any]:
    for step in plan.slots:
        if plan.kind(plan.slots[step].parent) != "conditional":
            last = plan.chain[-1]
            yield step, lambda definition, step=step, last=last: definition["steps"][last].update(next_step=step)


def _successor_inside(plan: Plan) -> Iterator[Any]:
    for step in plan.slots:
        parent = plan.slots[step].parent
        yield step, lambda definition, step=step, parent=parent: definition["steps"][step].update(next_step=parent)


def _unreachable(definition: Raw) -> None:
    definition["steps"]["nobody"] = {"id": "nobody", "agent_name": "w1"}


def _other_id(step: Raw, plan: Plan, _: str) -> None:
    step["id"] = _unused(plan)


def _appended(own: Raw, *children: str) -> Callable[[Plan], Iterator[Any]]:
    """One more step at the end of the chain, with children of its own: nothing else of the definition is touched."""

    def find(plan: Plan) -> Iterator[Any]:
        if "nobody" in plan.steps or any(child in plan.steps for child in children):
            return
        last = plan.chain[-1]

        def change(definition: Raw) -> None:
            definition["steps"][last]["next_step"] = "nobody"
            definition["steps"]["nobody"] = {"id": "nobody", **copy.deepcopy(own)}
            for child in children:
                definition["steps"][child] = {"id": child, "agent_name": "w1"}

        yield "nobody", change

    return find


def _outside_loops(plan: Plan, step: str) -> str | None:
    return None if plan.loops_around(step) else "${loop.index}"


def _itself(_: Plan, step: str) -> str | None:
    return f"${{{step}.output}}" if _plain(step) else None


def _unknown_child(step: Raw, plan: Plan, _: str) -> None:
    step["parallel_steps"] = [*step["parallel_steps"], _unused(plan)]


def _too_many_required(step: Raw, _plan: Plan, _id: str) -> None:
    step["fork_join_config"].update(join_policy="n_of_m", n_required=len(step["fork_join_config"]["branches"]) + 1)


_BAD_EXPRESSIONS: Final = (
    "", "1 ==", "len()", "import os", "a.b", "f(1)", "1 = 1", "(1", "'a", "1 == 1 == 1", "x", "${workflow.input.n} +",
)  # fmt: skip


def _bad_expression(plan: Plan) -> Iterator[Any]:
    for step in plan.steps:
        if plan.kind(step) == "conditional":
            for text in _BAD_EXPRESSIONS:
                yield (
                    step,
                    lambda definition, step=step, text=text: definition["steps"][step].update(
                        condition={"expression": text}
                    ),
                )


_WAYS: Final = (
    _Way("no name", "DEF-01", _everywhere("name", lambda definition: definition.pop("name"))),
    _Way("empty name", "DEF-01", _everywhere("name", lambda definition: definition.update(name=""))),
    _Way("no start_step", "DEF-01", _everywhere("start_step", lambda definition: definition.pop("start_step"))),
    _Way("no steps", "DEF-01", _everywhere("steps", lambda definition: definition.update(steps={}))),
    _Way("unknown start_step", "DEF-08", _everywhere("start_step", lambda definition: definition.update(start_step="?!"))),
    _Way("a step without id", "DEF-02", _in_each(None, _remove("id"))),
    _Way("an id that is not the key", "DEF-02", _in_each(None, _other_id)),
    _Way("an unknown type", "DEF-03", _in_each("agent", _set(type="agnet"))),
    _Way("a type of null", "DEF-03", _in_each("agent", _set(type=None))),
    _Way("an agent step without agent", "DEF-04", _in_each("agent", _remove("agent_name"))),
    _Way("a parallel of one", "DEF-04", _appended({"type": "parallel", "parallel_steps": ["nobody2"]}, "nobody2")),
    _Way("a conditional without condition", "DEF-04", _in_each("conditional", _remove("condition"))),
    _Way("a conditional without branches", "DEF-04", _appended({"type": "conditional", "condition": {"expression": "true"}})),
    _Way("a loop without collection", "DEF-04", _in_each("loop", _no_config("loop_config", "collection"))),
    _Way("a loop without body", "DEF-04", _appended({"type": "loop", "loop_config": {"collection": [1], "loop_body": []}})),
    _Way(
        "a fork_join of one branch",
        "DEF-04",
        _appended(
            {"type": "fork_join", "fork_join_config": {"branches": {"b": {"steps": ["nobody2"]}}, "join_policy": "all"}},
            "nobody2",
        ),
    ),
    _Way("an unknown join_policy", "DEF-04", _in_each("fork_join", _config("fork_join_config", join_policy="most"))),
    _Way("n_required above the branches", "DEF-06", _in_each("fork_join", _too_many_required)),
    _Way("a max_parallelism of 0", "DEF-07", _in_each("parallel", _set(max_parallelism=0))),
    _Way("a max_iterations of 1.5", "DEF-07", _in_each("loop", _config("loop_config", max_iterations=1.5))),
    _Way("a time-out of 0", "DEF-07", _in_each("fork_join", _config("fork_join_config", branch_timeout_seconds=0))),
    _Way("an unknown step inside", "DEF-08", _in_each("parallel", _unknown_child)),
    _Way("a cycle", "DEF-09", _cycle),
    _Way(
        "a step that contains itself",
        "DEF-09",
        _appended({"type": "loop", "loop_config": {"collection": [1], "loop_body": ["nobody"]}}),
    ),
    _Way("an unreachable step", "DEF-10", _everywhere("nobody", _unreachable)),
    _Way("a step in two places", "DEF-11", _two_places),
    _Way("a successor inside a composite", "DEF-12", _successor_inside),
    _Way("a loop reference outside loops", "REF-15", _mapped(_outside_loops)),
    _Way("a reference to what runs beside", "REF-16", _mapped(_beside)),
    _Way("a reference to itself", "REF-17", _mapped(_itself)),
    _Way("a reference to what is around", "REF-17", _mapped(_around)),
    _Way("a reference to what is later", "REF-17", _mapped(_later)),
    _Way("a reference into a loop", "REF-18", _mapped(_into_a_loop)),
    _Way("a reference to an unknown step", "REF-19", _mapped(lambda plan, _: f"${{{_unused(plan)}.output.x}}")),
    _Way("a condition that does not parse", "CND-07", _bad_expression),
)  # fmt: skip

WAYS: Final[Mapping[str, str]] = {way.name: way.clause for way in _WAYS}
"""Every way in which a definition is made invalid, with the clause that refuses it."""

OF_THE_NAME: Final = frozenset({"no name", "empty name"})
"""Those that only a definition can have: whoever makes a request gives its plan a name."""
