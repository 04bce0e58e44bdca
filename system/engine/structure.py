"""How the steps of a definition hang together, judged on its JSON: places, the chain, cycles, reachability, depth.

The JSON is taken to fit the contract's workflow schema.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from system.engine.definition import Problem, Slot
from system.engine.references import escape_pointer
from system.engine.values import quoted

MOST_PROBLEMS = 50
DEEPEST_NESTING = 100
"""Levels of composite steps around a step. Paths name every level, and rows and messages carry paths."""

_MOST_NAMES = 20
_MOST_COMPARED = 500

RawSteps = Mapping[str, Mapping[str, Any]]


class Problems:
    """The mistakes found so far, 50 at most: nobody mends more at once, and each costs time to word."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, pointer: str, message: str, suggestion: str | None = None) -> None:
        """Note a mistake, unless there are enough."""
        if len(self.found) < MOST_PROBLEMS:
            self.found.append(Problem(pointer, message, suggestion))

    def add_unknown(self, pointer: str, message: str, word: str, steps: Collection[str]) -> None:
        """Note that a step is named which is not there, with what may have been meant."""
        if len(self.found) < MOST_PROBLEMS:
            self.add(pointer, message, _nearest(word, steps))

    def __bool__(self) -> bool:
        return bool(self.found)


def at(step_id: str, *parts: str | int) -> str:
    """The JSON pointer of something in a step."""
    return "".join(f"/{escape_pointer(str(part))}" for part in ("steps", step_id, *parts))


def _nearest(word: str, steps: Collection[str]) -> str:
    names = list(steps)
    close = get_close_matches(word, names[:_MOST_COMPARED], n=1)
    return f"did you mean {quoted(close[0])}?" if close else f"the steps are {_listed(names)}"


def _listed(names: list[str], sign: str = ", ") -> str:
    return sign.join([*map(quoted, names[:_MOST_NAMES]), *(["…"] if len(names) > _MOST_NAMES else [])])


def check_names(data: Mapping[str, Any], problems: Problems) -> None:
    """A step's id is its key, and start_step and every next_step name a step."""
    steps: RawSteps = data["steps"]
    start = data["start_step"]
    if start not in steps:
        problems.add_unknown("/start_step", f"start_step names {quoted(start)}, which is no step", start, steps)
    for step_id, raw in steps.items():
        if raw["id"] != step_id:
            problems.add(
                at(step_id, "id"),
                f"the id of step {quoted(step_id)} must equal its key, found {quoted(raw['id'])}",
                f"write {quoted(step_id)}",
            )
        following = raw.get("next_step")
        if following is not None and following not in steps:
            message = f"next_step of step {quoted(step_id)} names {quoted(following)}, which is no step"
            problems.add_unknown(at(step_id, "next_step"), message, following, steps)


def children_of(raw: Mapping[str, Any]) -> Iterator[tuple[str, int, str | None, tuple[str | int, ...]]]:
    """(child, index in its list, branch name, pointer parts below the step) for each child that a raw step names."""
    kind = raw.get("type", "agent")
    if kind == "parallel":
        for index, child in enumerate(raw["parallel_steps"]):
            yield child, index, None, ("parallel_steps", index)
    elif kind == "conditional":
        for index, name in enumerate(("if_true_step", "if_false_step")):
            if raw.get(name) is not None:
                yield raw[name], index, None, (name,)
    elif kind == "loop":
        for index, child in enumerate(raw["loop_config"]["loop_body"]):
            yield child, index, None, ("loop_config", "loop_body", index)
    elif kind == "fork_join":
        for branch, content in raw["fork_join_config"]["branches"].items():
            for index, child in enumerate(content["steps"]):
                yield child, index, branch, ("fork_join_config", "branches", branch, "steps", index)


def find_slots(steps: RawSteps, problems: Problems) -> dict[str, Slot]:
    """Where each step stands that runs as part of another one: each in one place, with nothing after it."""
    slots: dict[str, Slot] = {}
    for step_id, raw in steps.items():
        for child, index, branch, where in children_of(raw):
            pointer = at(step_id, *where)
            if child not in steps:
                message = f"step {quoted(step_id)} names {quoted(child)}, which is no step"
                problems.add_unknown(pointer, message, child, steps)
            elif child == step_id:
                problems.add(pointer, f"step {quoted(step_id)} contains itself")
            elif child in slots:
                _add_second_place(pointer, child, slots[child].parent, problems)
            else:
                slots[child] = Slot(step_id, index, branch)
                if steps[child].get("next_step") is not None:
                    problems.add(
                        at(child, "next_step"),
                        f"step {quoted(child)} runs as part of {quoted(step_id)}, so nothing follows it",
                        f"write null; what follows is the next_step of {quoted(step_id)}",
                    )
    return slots


def _add_second_place(pointer: str, step_id: str, parent: str, problems: Problems) -> None:
    message = f"step {quoted(step_id)} is named here, and runs already as part of {quoted(parent)}"
    problems.add(pointer, message, "a step has one place: give a copy of it an id of its own")


def find_chain(data: Mapping[str, Any], slots: Mapping[str, Slot], problems: Problems) -> tuple[str, ...]:
    """The top-level steps in the order in which they run."""
    steps: RawSteps = data["steps"]
    chain: dict[str, None] = {}
    pointer, current = "/start_step", data["start_step"]
    while current is not None and current in steps:
        if current in chain:
            names = list(chain)
            _add_cycle(pointer, names[names.index(current) :], problems)
            break
        if current in slots:
            _add_second_place(pointer, current, slots[current].parent, problems)
            break
        chain[current] = None
        pointer, current = at(current, "next_step"), steps[current].get("next_step")
    return tuple(chain)


def _add_cycle(pointer: str, cycle: list[str], problems: Problems) -> None:
    problems.add(pointer, f"the steps run in a cycle: {_listed([*cycle, cycle[0]], ' -> ')}", "write null")


def check_reach(steps: RawSteps, slots: Mapping[str, Slot], chain: Collection[str], problems: Problems) -> None:
    """Every step is reached from the chain, and none is nested too deeply. To be asked of sound slots and chain only."""
    children: dict[str, list[str]] = {}
    for child, slot in slots.items():
        children.setdefault(slot.parent, []).append(child)
    reached: set[str] = set()
    level, depth = list(chain), 0
    while level:
        if depth > DEEPEST_NESTING:
            message = f"step {quoted(level[0])} is nested deeper than {DEEPEST_NESTING} levels"
            problems.add(at(level[0]), message)
            return
        reached.update(level)
        level, depth = [child for step_id in level for child in children.get(step_id, ())], depth + 1
    _check_unreached([step_id for step_id in steps if step_id not in reached], steps, problems)


def _check_unreached(lost: list[str], steps: RawSteps, problems: Problems) -> None:
    """Tell of the first of each group of steps that nothing leads to, not of all that hang on it; or of its cycle."""
    leads_to = {step_id: [child for child, *_ in children_of(steps[step_id])] for step_id in lost}
    for step_id in lost:
        if (following := steps[step_id].get("next_step")) is not None:
            leads_to[step_id].append(following)
    named = {other for others in leads_to.values() for other in others}
    told: set[str] = set()

    def follow(first: str) -> None:
        waiting = [first]
        while waiting:
            step_id = waiting.pop()
            if step_id not in told:
                told.add(step_id)
                waiting.extend(other for other in leads_to[step_id] if other in leads_to)

    for step_id in lost:
        if step_id not in named:
            follow(step_id)
            message = f"step {quoted(step_id)} can never run: nothing leads to it"
            problems.add(at(step_id), message, "name it as a next_step or in a composite step, or remove it")
    for step_id in lost:
        if step_id not in told:
            follow(step_id)
            problems.add(at(step_id), f"step {quoted(step_id)} can never run: only a cycle of steps leads to it")
