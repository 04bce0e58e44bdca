"""A workflow from which something was taken out, made legal again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.generation import Case
from harness.oracle import NotAPlan, Plan
from harness.oracle.references import Reference, parts

Json = Any
Raw = dict[str, Any]

_BRACED = re.compile(r"\$\{[^{}]*\}")


def with_changes(case: Case, **changes: Json) -> Case:
    """The case with other fields."""
    fields = {name: getattr(case, name) for name in ("workflow", "agents", "input", "timeline", "via")}
    return Case(**{**fields, **changes})


def lists_of(parent: Raw) -> list[list[str]]:
    """The lists of steps inside a step, such as they stand in it."""
    match parent.get("type"):
        case "parallel":
            return [parent["parallel_steps"]]
        case "loop":
            return [parent["loop_config"]["loop_body"]]
        case "fork_join":
            return [branch["steps"] for branch in parent["fork_join_config"]["branches"].values()]
    return []


def mended(case: Case, workflow: Raw) -> Case | None:
    """The case with this workflow: steps that nothing names, and references to what cannot have run, are taken out; None
    when it is no legal workflow for another reason."""
    steps = workflow["steps"]
    try:
        reached = _reached(workflow)
    except (LookupError, TypeError):
        return None
    if any(len(one) < 1 for step in reached for one in lists_of(steps[step])):
        return None
    for step in reached:
        kind = steps[step].get("type", "agent")
        few = (
            (kind == "parallel" and len(steps[step]["parallel_steps"]) < 2)
            or (kind == "fork_join" and len(steps[step]["fork_join_config"]["branches"]) < 2)
            or (kind == "conditional" and not (steps[step].get("if_true_step") or steps[step].get("if_false_step")))
        )
        if few:
            return None
    workflow["steps"] = {step: written for step, written in steps.items() if step in reached}
    for step, written in workflow["steps"].items():
        if step in _inside(workflow):
            written.pop("next_step", None)
    try:
        plan = Plan.of(workflow)
    except NotAPlan:
        return None
    _Mending(plan, workflow).mend()
    names = {str(plan.steps[step]["agent_name"]) for step in plan.agents}
    agents = {name: case.agents.get(name, [{"ok": {}}]) for name in sorted(names)}
    if any(not _is_about(act, plan, names) for act in case.timeline):
        return None
    return with_changes(case, workflow=workflow, agents=agents)


def _reached(workflow: Raw) -> set[str]:
    waiting = [workflow["start_step"]]
    found: set[str] = set()
    while waiting:
        step = waiting.pop()
        if step is None or step in found:
            continue
        found.add(step)
        written = workflow["steps"][step]
        waiting += [one for listed in lists_of(written) for one in listed]
        if written.get("type") == "conditional":
            waiting += [written.get("if_true_step"), written.get("if_false_step")]
        waiting.append(written.get("next_step"))
    return found


def _inside(workflow: Raw) -> set[str]:
    found: set[str] = set()
    for written in workflow["steps"].values():
        found.update(one for listed in lists_of(written) for one in listed)
        if written.get("type") == "conditional":
            found.update(one for one in (written.get("if_true_step"), written.get("if_false_step")) if one)
    return found


def _is_about(act: Mapping[str, Any], plan: Plan, agents: set[str]) -> bool:
    """Whether all steps and agents that an act names are still there."""
    text = repr(act)
    steps = re.findall(r"'(?:step|from)': '((?:[^'\\]|\\.)*)'", text)
    named = re.findall(r"'(?:agent|release|hold)': '([^']*)'", text)
    return all(step in plan.steps for step in steps) and all(name in agents for name in named)


class _Mending:
    """References to what cannot have run become the literal 1."""

    def __init__(self, plan: Plan, workflow: Raw) -> None:
        self._plan = plan
        self._steps = workflow["steps"]

    def mend(self) -> None:
        visible: frozenset[str] = frozenset()
        for step in self._plan.chain:
            visible |= self._step(step, visible, in_loop=False)

    def _step(self, step: str, visible: frozenset[str], *, in_loop: bool) -> frozenset[str]:
        written = self._steps[step]
        if written.get("input_mapping"):
            written["input_mapping"] = self._value(written["input_mapping"], visible, in_loop)
        kind = self._plan.kind(step)
        if kind == "loop":
            written["loop_config"]["collection"] = self._value(written["loop_config"]["collection"], visible, in_loop)
            if not isinstance(written["loop_config"]["collection"], (list, str)):
                written["loop_config"]["collection"] = [1, 2]
        if kind == "conditional":
            text = written["condition"]["expression"]
            written["condition"] = {
                "expression": _BRACED.sub(lambda match: str(self._text(match[0], visible, in_loop)), text)
            }
        inner: frozenset[str] = frozenset()
        for _, children in self._plan.children(step):
            seen = visible
            for child in children:
                shown = self._step(child, seen, in_loop=in_loop or kind == "loop")
                if kind in ("loop", "fork_join"):
                    seen |= shown
                inner |= shown
        return frozenset({step}) | (inner if kind != "loop" else frozenset())

    def _value(self, value: Json, visible: frozenset[str], in_loop: bool) -> Json:
        if isinstance(value, dict):
            return {key: self._value(item, visible, in_loop) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, visible, in_loop) for item in value]
        return self._text(value, visible, in_loop) if isinstance(value, str) else value

    def _text(self, text: str, visible: frozenset[str], in_loop: bool) -> Json:
        for part in parts(text, self._plan.steps):
            if isinstance(part, Reference) and not self._is_legal(part, visible, in_loop):
                return 1
        # What named a step that is gone reads as text to the one who knows only those that are left.
        return 1 if re.search(r"\.output(?:_data)?(?:[.\[}]|$)", text) and not self._names_a_step(text) else text

    def _is_legal(self, reference: Reference, visible: frozenset[str], in_loop: bool) -> bool:
        if reference.source == "loop":
            return in_loop
        return reference.source == "input" or reference.name in visible

    def _names_a_step(self, text: str) -> bool:
        found = [part for part in parts(text, self._plan.steps) if isinstance(part, Reference)]
        return bool(found) and text.count(".output") == sum(part.text.count(".output") for part in found)
