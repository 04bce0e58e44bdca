"""What a scenario needs of a subject, found from what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import contract
from harness.scenario import templates
from harness.scenario.acts import long_arguments, word_of
from harness.scenario.model import Needs

STEP_TYPES: Final = frozenset({"agent", "parallel", "conditional", "loop", "fork_join"})
ROLES: Final = ("api", "consumer", "bridge")
_ASKING: Final = frozenset({"execute", "cancel", "retry"})
_READERS: Final = {"requests": "consumer", "cancellations": "consumer", "results": "consumer", "tasks": "bridge"}
_DISTURBING: Final = frozenset((
    "kill", "stop", "start", "restart", "pause", "resume", "add", "remove", "redeliver", "fault", "cut", "join",
    "exhaust", "fill",
))  # fmt: skip
"""Acts that whoever uses the same subject would feel."""


def needs_of(data: Mapping[str, Any]) -> Needs:
    """What the file says, and what it does not say found from workflows, acts, conditions and clauses."""
    said: Mapping[str, Any] = data.get("needs", {})
    return Needs(
        roles=frozenset(said["roles"]) if "roles" in said else _roles(data),
        step_types=frozenset(said["step_types"]) if "step_types" in said else _step_types(data),
        extensions=frozenset(said["extensions"]) if "extensions" in said else _extensions(data),
        own_roles=frozenset(said["roles"]) if "roles" in said else _own_roles(data) | _readers(data),
        speaks_rest="api" in _own_roles(data)
        or any(word in _ASKING and "via" not in arguments for word, arguments in _acts(data["timeline"])),
    )


def is_alone(data: Mapping[str, Any]) -> bool:
    """Whether an act starts, ends or disturbs a process."""
    return any(word in _DISTURBING for word, _ in _acts(data["timeline"]))


def _roles(data: Mapping[str, Any]) -> frozenset[str]:
    found = set(_own_roles(data))
    if any(word in _ASKING for word, _ in _acts(data["timeline"])):
        found.add("consumer")
    played = {"executor": "consumer"}
    for clause in contract.clauses():
        if clause.id in data["clauses"] and len(clause.roles) == 1:
            found.add(played.get(clause.roles[0], clause.roles[0]))
    return frozenset(found or {"consumer"})


def _readers(data: Mapping[str, Any]) -> frozenset[str]:
    """Who reads the messages that the scenario makes up: they are meant for nobody else."""
    topics = {arguments.get("topic") for word, arguments in _acts(data["timeline"]) if word == "publish"}
    return frozenset(reader for topic, reader in _READERS.items() if topic in topics)


def _own_roles(data: Mapping[str, Any]) -> frozenset[str]:
    """What is spoken to over REST, started, ended, disturbed, or waited for to be ready."""
    found: set[str] = set()
    for word, arguments in _acts(data["timeline"]):
        if word == "rest" or arguments.get("via") == "rest":
            found.add("api")
        found |= {str(arguments.get(key)) for key in ("role", "group")} & set(ROLES)
        found |= {str(point.get("role")) for point in fault_points(arguments)} & set(ROLES)
    for condition in _conditions(data):
        if "rest" in condition:
            found.add("api")
        if condition.get("ready") in ROLES:
            found.add(condition["ready"])
        if condition.get("table") == "step_executions":
            found.add("consumer")
    return frozenset(found)


def fault_points(arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The fault points of an act, those of the faults that follow it among them; none of another act's."""
    fault: Any = arguments
    while isinstance(fault, Mapping) and isinstance(fault.get("at"), Mapping):
        yield fault["at"]
        fault = fault.get("then")


def _step_types(data: Mapping[str, Any]) -> frozenset[str]:
    """Of a definition that breaks the contract those types that there are: who lacks one refuses it for that alone."""
    used = _used_workflows(data)
    return frozenset(
        kind
        for name, definition in data.get("workflows", {}).items()
        if name in used and isinstance(definition.get("steps"), dict)
        for step in definition["steps"].values()
        if isinstance(step, dict) and isinstance(kind := step.get("type") or "agent", str)
        if kind in STEP_TYPES or not definition.get("invalid")
    )


def _used_workflows(data: Mapping[str, Any]) -> frozenset[str]:
    """The workflows that are executed or named; all of them where it cannot be told before the scenario runs."""
    workflows = frozenset(data.get("workflows", {}))
    executed = {str(arguments.get("workflow")) for word, arguments in _acts(data["timeline"]) if word == "execute"}
    named = {used.split(".")[1] for _, used in templates.names(dict(data)) if used.startswith("workflows.")}
    found = executed | named if len(workflows) > 1 else workflows
    return workflows & found if found <= workflows else workflows


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
