"""What a workflow refers to, and values that have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.generation.choosing import Chooser
from harness.generation.values import INTEGERS, TEXTS, value
from harness.oracle import conditions
from harness.oracle.references import Reference, references_in

Json = Any
Path = tuple[str | int, ...]

_MISSING = frozenset({"missing", "deeper", 99})
_LISTS: tuple[Json, ...] = ([1], [1, 2], [], [1, 2, 3], ["a", {"a": 1}], [None, [], ""], [True, 1, "1"])


@dataclass(frozen=True)
class Needs:
    """Paths by what they lead into: the run's input, and the outputs of steps."""

    of_input: frozenset[Path]
    of_step: Mapping[str, frozenset[Path]] = field(default_factory=dict)


def needs_of(workflow: Mapping[str, Any]) -> Needs:
    """All paths that a workflow's mappings, collections and conditions refer to."""
    of_input: set[Path] = set()
    of_step: dict[str, set[Path]] = {}
    for reference in _references(workflow):
        if reference.source == "input":
            of_input.add(reference.path)
        elif reference.source == "step":
            of_step.setdefault(reference.name, set()).add(reference.path)
    return Needs(frozenset(of_input), {step: frozenset(paths) for step, paths in of_step.items()})


def _references(workflow: Mapping[str, Any]) -> Iterator[Reference]:
    steps = workflow["steps"]
    for step in steps.values():
        yield from references_in(step.get("input_mapping") or {}, steps)
        config = step.get("loop_config")
        if step.get("type") == "loop" and isinstance(config, Mapping):
            yield from references_in(config.get("collection"), steps)
        condition = step.get("condition")
        if step.get("type") == "conditional" and isinstance(condition, Mapping):
            try:
                yield from conditions.references_of(conditions.parse(condition["expression"], steps))
            except (conditions.NotParsed, KeyError, TypeError):
                # Such an expression is refused before anything is looked up.
                continue


def object_with(choose: Chooser, paths: Iterable[Path]) -> dict[str, Json]:
    """An object that has these paths, but for those that are meant to lead to nothing, with drawn values there."""
    tree: dict[str | int, Any] = {}
    for path in sorted(paths, key=repr):
        node = tree
        for part in path:
            if part in _MISSING:
                break
            node = node.setdefault(part, {})
    made = _made(choose, tree, "")
    return made if isinstance(made, dict) else {}


def _made(choose: Chooser, tree: Mapping[str | int, Any], name: str) -> Json:
    indices = [part for part in tree if isinstance(part, int)]
    names = [part for part in tree if isinstance(part, str)]
    if names or not name:
        return {part: _made(choose, tree[part], part) for part in names}
    if indices:
        size = max(indices) + 1 + choose.number(0, 2)
        return [_made(choose, tree.get(index, {}), "item") for index in range(size)]
    return _leaf(choose, name)


def _leaf(choose: Chooser, name: str) -> Json:
    """A value as its name says, mostly."""
    if choose.rarely(12):
        return value(choose)
    match name:
        case "n":
            return choose.one_of(INTEGERS)
        case "s":
            return choose.one_of(TEXTS)
        case "b":
            return choose.one_of((True, False))
        case "l":
            return choose.one_of(_LISTS)
        case "none":
            return None
        case _:
            return value(choose)
