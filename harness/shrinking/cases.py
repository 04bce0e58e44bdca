"""Smaller cases from a case: one thing left out, or put more simply, and all that this makes illegal mended.

Hypothesis' shrinker replays one attempt after another, which on a real subject takes a second each. These are tried many at
once: runs are independent.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from harness.generation import Case
from harness.generation.flawed import small_flawed
from harness.generation.needs import needs_of
from harness.oracle import Plan
from harness.shrinking.mending import lists_of, mended, with_changes

Json = Any
Raw = dict[str, Any]


def smaller_cases(case: Case) -> Iterator[Case]:
    """Cases that are smaller by one thing, the boldest first. All are legal, but for the one flaw that a case may have, and
    sure to come to their end if this one is (an act that waits for what the contract no longer promises would fail with every
    executor); some may be equal to others."""
    is_sure = case.doubt is None
    return (one for one in _smaller(case) if not is_sure or one.doubt is None)


def _smaller(case: Case) -> Iterator[Case]:
    if case.flaw is not None:
        yield from small_flawed(case.flaw["way"], case.via)
        return
    workflow = _copy(case.workflow)
    plan = Plan.of(workflow)
    for act in range(len(case.timeline)):
        yield with_changes(case, timeline=(*case.timeline[:act], *case.timeline[act + 1 :]))
    for change in _changes(plan):
        changed = _copy(workflow)
        change(changed)
        if (legal := mended(case, changed)) is not None:
            yield legal
    yield from _renamed(case, plan)
    yield from _simpler_agents(case)
    yield from _simpler_inputs(case)
    if case.via is not None:
        yield with_changes(case, via=None)


def _copy(value: Json) -> Any:
    return copy.deepcopy(value)


Change = Callable[[Raw], None]

_NAMING = frozenset(
    {"id", "start_step", "next_step", "parallel_steps", "loop_body", "steps", "if_true_step", "if_false_step"}
)


def _changes(plan: Plan) -> Iterator[Change]:
    for step in plan.chain:
        if len(plan.chain) > 1:
            yield partial(_unchain, plan, step)
    for step in plan.steps:
        for _, children in plan.children(step):
            for child in children:
                yield partial(_put, plan, step, child)
        if plan.kind(step) != "agent":
            yield partial(_become_an_agent, step)
    for step in plan.slots:
        yield partial(_leave_out, plan, step)
    for step, written in plan.steps.items():
        yield from _of_step(plan, step, written)


def _unchain(plan: Plan, step: str, workflow: Raw) -> None:
    position = plan.chain.index(step)
    following = plan.chain[position + 1] if position + 1 < len(plan.chain) else None
    if position == 0:
        workflow["start_step"] = following
    else:
        _set_next(workflow, plan.chain[position - 1], following)


def _set_next(workflow: Raw, step: str, following: str | None) -> None:
    if following is None:
        workflow["steps"][step].pop("next_step", None)
    else:
        workflow["steps"][step]["next_step"] = following


def _put(plan: Plan, step: str, child: str, workflow: Raw) -> None:
    """A child in the place of its composite."""
    if step in plan.chain:
        position = plan.chain.index(step)
        _set_next(workflow, child, workflow["steps"][step].get("next_step"))
        if position == 0:
            workflow["start_step"] = child
        else:
            _set_next(workflow, plan.chain[position - 1], child)
    else:
        _replace(workflow, plan, step, child)


def _replace(workflow: Raw, plan: Plan, step: str, other: str) -> None:
    parent = workflow["steps"][plan.slots[step].parent]
    for name in ("if_true_step", "if_false_step"):
        if parent.get(name) == step:
            parent[name] = other
    for listed in lists_of(parent):
        listed[:] = [other if one == step else one for one in listed]


def _leave_out(plan: Plan, step: str, workflow: Raw) -> None:
    """One child less; a branch that has none then goes as well. What is too few then is no legal workflow."""
    parent = workflow["steps"][plan.slots[step].parent]
    for name in ("if_true_step", "if_false_step"):
        if parent.get(name) == step:
            del parent[name]
    for listed in lists_of(parent):
        listed[:] = [one for one in listed if one != step]
    if parent.get("type") == "fork_join":
        config = parent["fork_join_config"]
        config["branches"] = {name: branch for name, branch in config["branches"].items() if branch["steps"]}
        if config.get("n_required"):
            config["n_required"] = min(config["n_required"], len(config["branches"]))


def _become_an_agent(step: str, workflow: Raw) -> None:
    written = workflow["steps"][step]
    following = written.get("next_step")
    workflow["steps"][step] = {"id": step, "agent_name": f"w-{len(workflow['steps'])}"}
    _set_next(workflow, step, following)


def _of_step(plan: Plan, step: str, written: Mapping[str, Any]) -> Iterator[Change]:
    foreign = [name for name in ("parallel_steps", "loop_config", "fork_join_config", "condition") if name in written]
    if plan.kind(step) == "agent" and foreign:
        yield partial(_remove_all, step, foreign)
    if plan.kind(step) == "agent" and "type" in written:
        yield partial(_remove, step, ("type",))
    if "next_step" in written and written["next_step"] is None:
        yield partial(_remove, step, ("next_step",))
    if written.get("input_mapping"):
        yield partial(_remove, step, ("input_mapping",))
        if len(written["input_mapping"]) > 1:
            for name in written["input_mapping"]:
                yield partial(
                    _remove,
                    step,
                    (
                        "input_mapping",
                        name,
                    ),
                )
    if "max_parallelism" in written:
        yield partial(_remove, step, ("max_parallelism",))
    config = written.get("loop_config") if plan.kind(step) == "loop" else None
    for name in ("execution_mode", "on_error", "max_parallelism", "max_iterations"):
        if config is not None and name in config:
            yield partial(
                _remove,
                step,
                (
                    "loop_config",
                    name,
                ),
            )
    if config is not None:
        for simple in [one for one in ([1], [1, 2]) if len(str(one)) < len(str(config["collection"]))]:
            yield partial(_set_collection, step, simple)
    fork = written.get("fork_join_config") if plan.kind(step) == "fork_join" else None
    if fork is not None and "branch_timeout_seconds" in fork:
        yield partial(
            _remove,
            step,
            (
                "fork_join_config",
                "branch_timeout_seconds",
            ),
        )
    if plan.kind(step) == "conditional" and written["condition"]["expression"] not in ("true", "false"):
        for text in ("true", "false", *_parts_of(written["condition"]["expression"])):
            yield partial(_set_condition, step, text)


def _remove(step: str, path: tuple[str, ...], workflow: Raw) -> None:
    node = workflow["steps"][step]
    for name in path[:-1]:
        node = node[name]
    node.pop(path[-1], None)


def _remove_all(step: str, names: list[str], workflow: Raw) -> None:
    for name in names:
        del workflow["steps"][step][name]


def _set_collection(step: str, items: list[int], workflow: Raw) -> None:
    workflow["steps"][step]["loop_config"]["collection"] = list(items)


def _set_condition(step: str, expression: str, workflow: Raw) -> None:
    workflow["steps"][step]["condition"] = {"expression": expression}


def _parts_of(expression: str) -> Iterator[str]:
    """Operands of an expression's connectives, as far as its text shows them."""
    for word in (" and ", " or "):
        if word in expression:
            for part in expression.split(word):
                opened, closed = part.count("("), part.count(")")
                yield part if opened == closed else part.strip("()") if "len(" not in part else "true"


def _renamed(case: Case, plan: Plan) -> Iterator[Case]:
    """Ids that are no single letter become one, in the workflow and wherever it refers to them."""
    free = [letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in plan.steps]
    for step in plan.steps:
        if free and not re.fullmatch("[a-z]", step) and not any(repr(step) in repr(act) for act in case.timeline):
            changed = _with_other_name(_copy(case.workflow), step, free[0])
            if (legal := mended(case, changed)) is not None:
                yield legal


def _with_other_name(workflow: Raw, step: str, name: str) -> Raw:
    def other(value: Json, key: str | None = None) -> Json:
        if isinstance(value, dict):
            return {one: other(item, one) for one, item in value.items()}
        if isinstance(value, list):
            return [other(item, key) for item in value]
        if not isinstance(value, str):
            return value
        if key in _NAMING and value == step:
            return name
        for before, after in (
            (f"${{{step}.output", f"${{{name}.output"),
            (f"$.{step}.output_data", f"$.{name}.output_data"),
        ):
            value = value.replace(before, after)
        return value

    changed: Raw = other(workflow)
    changed["steps"] = {name if one == step else one: written for one, written in changed["steps"].items()}
    return changed


def _simpler_agents(case: Case) -> Iterator[Case]:
    for name, written in case.agents.items():
        script = written["script"] if isinstance(written, Mapping) else written
        simpler: list[Json] = [[{"ok": {}}]]
        if len(script) > 1:
            simpler += [[entry] for entry in script]
        ((word, argument),) = script[0].items()
        if word in ("slow", "held", "if"):
            simpler += [
                [argument[one]] for one in ("then", "else") if isinstance(argument, Mapping) and one in argument
            ]
        if word == "ok" and len(argument) > 1:
            simpler += [[{"ok": {key: item for key, item in argument.items() if key != out}}] for out in argument]
        if word in ("rpc_error", "status", "body", "reset"):
            simpler.append([{"fail": "no"}])
        for one in simpler:
            if one != written:
                yield with_changes(case, agents={**case.agents, name: one})


def _simpler_inputs(case: Case) -> Iterator[Case]:
    used = {path[0] for path in needs_of(case.workflow).of_input if path}
    unused = {key: item for key, item in case.input.items() if key in used}
    if unused != case.input:
        yield with_changes(case, input=unused)
    for key, value in case.input.items():
        yield with_changes(case, input={name: item for name, item in case.input.items() if name != key})
        if value not in (1, 0, "a", True, [1]):
            yield with_changes(case, input={**case.input, key: [1] if isinstance(value, list) else 1})
