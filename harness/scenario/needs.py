"""What a scenario needs of a subject, found from what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import contract
from harness.scenario.acts import long_arguments, word_of
from harness.scenario.model import Needs

ROLES: Final = ("api", "consumer", "bridge")
_DISTURBING: Final = frozenset({"kill", "stop", "start", "restart", "pause", "resume", "add", "remove", "redeliver"})
"""Acts that whoever uses the same subject would feel."""


def needs_of(data: Mapping[str, Any]) -> Needs:
    """What the file says, and what it does not say found from workflows, acts, conditions and clauses."""
    said: Mapping[str, Any] = data.get("needs", {})
    return Needs(
        roles=frozenset(said["roles"]) if "roles" in said else _roles(data),
        step_types=frozenset(said["step_types"]) if "step_types" in said else _step_types(data),
        extensions=frozenset(said["extensions"]) if "extensions" in said else _extensions(data),
    )


def is_alone(data: Mapping[str, Any]) -> bool:
    """Whether an act starts, ends or disturbs a process."""
    return any(word in _DISTURBING for word, _ in _acts(data["timeline"]))


def _roles(data: Mapping[str, Any]) -> frozenset[str]:
    found: set[str] = set()
    for word, arguments in _acts(data["timeline"]):
        if word in ("execute", "cancel", "retry"):
            found.add("consumer")
        if word == "rest" or arguments.get("via") == "rest":
            found.add("api")
        found |= {str(arguments.get(key)) for key in ("role", "group")} & set(ROLES)
    for condition in _conditions(data):
        if "rest" in condition:
            found.add("api")
        if condition.get("ready") in ROLES:
            found.add(condition["ready"])
    played = {"executor": "consumer"}
    for clause in contract.clauses():
        if clause.id in data["clauses"] and len(clause.roles) == 1:
            found.add(played.get(clause.roles[0], clause.roles[0]))
    return frozenset(found or {"consumer"})


def _step_types(data: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        step.get("type") or "agent"
        for definition in data.get("workflows", {}).values()
        if isinstance(definition.get("steps"), dict) and not definition.get("invalid")
        for step in definition["steps"].values()
        if isinstance(step, dict) and isinstance(step.get("type", "agent"), str)
    )


def _extensions(data: Mapping[str, Any]) -> frozenset[str]:
    topics = {condition["message"]["topic"] for condition in _conditions(data) if "message" in condition}
    return frozenset({"dead_letters"} & topics)


def _acts(timeline: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in timeline:
        word = word_of(entry)
        if word == "all":
            yield from _acts(entry["all"])
        else:
            yield word, {} if word == "wait" else long_arguments(word, entry[word], {})


def _conditions(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every condition that looks at something, wherever it stands."""
    waiting: list[Any] = [*data["timeline"]]
    for entry in waiting:
        waiting += entry.get("all", ())
    open_conditions = [entry[key] for entry in waiting for key in ("when", "wait") if key in entry]
    open_conditions += [condition for listed in data.get("expect", {}).values() for condition in listed]
    while open_conditions:
        condition = open_conditions.pop()
        open_conditions += [*condition.get("all", ()), *condition.get("any", ())]
        if "not" in condition:
            open_conditions.append(condition["not"])
        yield condition
