"""Workflow definitions in a scenario file, held to the contract's schema and to what it says about ids and agents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import contract
from harness.document import Place, breaches, did_you_mean
from harness.scenario import templates

Told = tuple[Place, str, bool]
"""A place in the scenario's data, a message, and whether the key is at fault."""


def definition_mistakes(data: Mapping[str, Any]) -> Iterator[Told]:
    """Every mistake in definitions that are not marked as invalid on purpose."""
    for name, definition in data.get("workflows", {}).items():
        place: Place = ("workflows", name)
        if "name" in definition:
            message = "expected no name here: a definition is given one of its own each time"
            yield (*place, "name"), message, True
        if definition.get("invalid"):
            continue
        by_schema = list(_schema_mistakes(definition, place))
        yield from by_schema
        if not by_schema and isinstance(definition["steps"], dict):
            yield from _id_mistakes(definition, place)
            yield from _agent_mistakes(definition, place, data.get("agents", {}))


def _schema_mistakes(definition: Mapping[str, Any], above: Place) -> Iterator[Told]:
    """Breaches of the contract's schema; what a draw will fill in is not judged."""
    plain = {key: value for key, value in definition.items() if key != "invalid"}
    if "name" not in plain:
        plain["name"] = "a name"
    for place, message, at_key in breaches(plain, contract.schema("workflow")):
        if templates.open_name_at(plain, place) is None:
            hint = " (if that is on purpose, write 'invalid: true' beside 'steps')"
            yield (*above, *place), f"{message}{hint}", at_key


def _id_mistakes(definition: Mapping[str, Any], place: Place) -> Iterator[Told]:
    steps: Mapping[str, Any] = definition["steps"]
    known = list(steps)

    def wrong(inner: Place, step: Any) -> Iterator[Told]:
        if isinstance(step, str) and step not in steps and not _has_template(step):
            listed = ", ".join(map(repr, known))
            message = f"step '{step}' does not exist; expected one of {listed}{did_you_mean(step, known)}"
            yield (*place, *inner), message, False

    yield from wrong(("start_step",), definition["start_step"])
    for key, step in steps.items():
        if step["id"] != key and not _has_template(step["id"]) and not _has_template(key):
            yield (*place, "steps", key, "id"), f"expected '{key}', the key of the step, found '{step['id']}'", False
        for inner, target in _named_steps(step):
            yield from wrong(("steps", key, *inner), target)


def _named_steps(step: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """(place, id) of every step that a step names."""
    yield ("next_step",), step.get("next_step")
    kind = step.get("type") or "agent"
    listed: list[tuple[Place, Any]] = []
    if kind == "parallel":
        listed.append((("parallel_steps",), step["parallel_steps"]))
    elif kind == "conditional":
        yield from (((key,), step.get(key)) for key in ("if_true_step", "if_false_step"))
    elif kind == "loop" and isinstance(step["loop_config"], dict):
        listed.append((("loop_config", "loop_body"), step["loop_config"]["loop_body"]))
    elif kind == "fork_join" and isinstance(step["fork_join_config"], dict):
        branches = step["fork_join_config"]["branches"]
        place: Place = ("fork_join_config", "branches")
        listed += [((*place, name, "steps"), branch["steps"]) for name, branch in branches.items()]
    for place, names in listed:
        # A list that a draw will fill in is a text until then.
        yield from (((*place, index), name) for index, name in enumerate(names if isinstance(names, list) else ()))


def _agent_mistakes(definition: Mapping[str, Any], place: Place, agents: Mapping[str, Any]) -> Iterator[Told]:
    for key, step in definition["steps"].items():
        name = step.get("agent_name")
        if (step.get("type") or "agent") == "agent" and name not in agents and not _has_template(name):
            known = list(agents)
            listed = f"expected one of {', '.join(map(repr, known))}" if known else "there are none"
            message = f"agent '{name}' is not among `agents`; {listed}{did_you_mean(name, known)}"
            yield (*place, "steps", key, "agent_name"), message, False


def _has_template(text: Any) -> bool:
    return isinstance(text, str) and any(True for _ in templates.names(text))
