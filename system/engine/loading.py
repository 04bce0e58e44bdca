"""From a definition's JSON to a Definition, with everything checked that a schema cannot say (contract section 4).

The JSON is taken to fit the contract's workflow schema; the caller checks that first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from system.engine.conditions import ConditionSyntaxError, parse_condition
from system.engine.definition import (
    AgentStep,
    Branch,
    ConditionalStep,
    Definition,
    ForkJoinStep,
    InvalidDefinition,
    LoopStep,
    ParallelStep,
    Problem,
    RawDefinition,
    Slot,
    Step,
    StepKind,
)
from system.engine.reach import unreachable_reason
from system.engine.references import (
    Reference,
    compile_template,
    escape_pointer,
    references_in,
)

_NO_LIMIT = 2**31


def load(data: RawDefinition) -> Definition:
    """Build a Definition.

    Raises:
        InvalidDefinition: with every problem found: unknown steps, a step in two places, cycles, unreachable steps,
            conditions that do not parse, references to steps that cannot have run.
    """
    problems: list[Problem] = []
    raw_steps: Mapping[str, Any] = data["steps"]
    slots = _slots(raw_steps, problems)
    _check_names(data, problems)
    steps = {
        step_id: step
        for step_id, raw in raw_steps.items()
        if (step := _step(step_id, raw, raw_steps, slots.get(step_id), problems)) is not None
    }
    chain = _chain(data, slots, problems)
    if not problems:
        _check_reachable(steps, chain, problems)
    definition = Definition(
        name=data["name"],
        start_step=data["start_step"],
        steps=steps,
        chain=tuple(chain),
        workflow_id=data.get("workflow_id"),
        version=data.get("version"),
    )
    if not problems:
        problems.extend(_reference_problems(definition))
    if problems:
        raise InvalidDefinition(problems)
    return definition


def _at(step_id: str, *parts: str | int) -> str:
    return "".join(f"/{escape_pointer(str(part))}" for part in ("steps", step_id, *parts))


def _nearest(word: str, words: Mapping[str, Any]) -> str | None:
    close = get_close_matches(word, [*words], n=1)
    return f"did you mean {close[0]!r}?" if close else f"the steps are {', '.join(map(repr, [*words][:20]))}"


def _check_names(data: RawDefinition, problems: list[Problem]) -> None:
    steps = data["steps"]
    if data["start_step"] not in steps:
        problems.append(
            Problem("/start_step", f"no step is called {data['start_step']!r}", _nearest(data["start_step"], steps))
        )
    for step_id, raw in steps.items():
        if raw["id"] != step_id:
            problems.append(
                Problem(_at(step_id, "id"), f"a step's id equals its key, found {raw['id']!r}", f"write {step_id!r}")
            )
        following = raw.get("next_step")
        if following is not None and following not in steps:
            problems.append(
                Problem(_at(step_id, "next_step"), f"no step is called {following!r}", _nearest(following, steps))
            )


def _children(raw: Mapping[str, Any]) -> Iterator[tuple[str, int, str | None, tuple[str | int, ...]]]:
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


def _slots(raw_steps: Mapping[str, Any], problems: list[Problem]) -> dict[str, Slot]:
    slots: dict[str, Slot] = {}
    for step_id, raw in raw_steps.items():
        for child, index, branch, where in _children(raw):
            pointer = _at(step_id, *where)
            if child not in raw_steps:
                problems.append(Problem(pointer, f"no step is called {child!r}", _nearest(child, raw_steps)))
            elif child in slots:
                problems.append(
                    Problem(pointer, f"step {child!r} runs already as part of {slots[child].parent!r}", "name a copy")
                )
            else:
                slots[child] = Slot(step_id, index, branch)
                if raw_steps[child].get("next_step") is not None:
                    problems.append(
                        Problem(
                            _at(child, "next_step"),
                            f"step {child!r} runs as part of {step_id!r}, so nothing follows it",
                            "write null; what follows is the parent's next_step",
                        )
                    )
    return slots


def _chain(data: RawDefinition, slots: Mapping[str, Slot], problems: list[Problem]) -> list[str]:
    raw_steps = data["steps"]
    chain: list[str] = []
    pointer, current = "/start_step", data["start_step"]
    while current is not None and current in raw_steps:
        if current in chain:
            problems.append(
                Problem(pointer, f"the steps run in a cycle: {' -> '.join([*chain[chain.index(current) :], current])}")
            )
            break
        if current in slots:
            problems.append(
                Problem(pointer, f"step {current!r} runs already as part of {slots[current].parent!r}", "name a copy")
            )
            break
        chain.append(current)
        pointer, current = _at(current, "next_step"), raw_steps[current].get("next_step")
    return chain


def _check_reachable(steps: Mapping[str, Step], chain: list[str], problems: list[Problem]) -> None:
    children: dict[str, list[str]] = {}
    for step in steps.values():
        if step.slot is not None:
            children.setdefault(step.slot.parent, []).append(step.id)
    reached: set[str] = set()
    waiting = list(chain)
    while waiting:
        step_id = waiting.pop()
        if step_id not in reached:
            reached.add(step_id)
            waiting.extend(children.get(step_id, ()))
    problems.extend(
        Problem(_at(step_id), f"step {step_id!r} can never run: nothing leads to it", "name it or remove it")
        for step_id in steps
        if step_id not in reached
    )


def _step(
    step_id: str, raw: Mapping[str, Any], raw_steps: Mapping[str, Any], slot: Slot | None, problems: list[Problem]
) -> Step | None:
    try:
        kind = _kind(step_id, raw, raw_steps)
    except ConditionSyntaxError as error:
        problems.append(Problem(_at(step_id, "condition", "expression"), f"this is no condition: {error}"))
        return None
    except _Mistake as error:
        problems.append(error.problem)
        return None
    mapping = raw.get("input_mapping")
    return Step(
        id=step_id,
        name=raw.get("name") or step_id,
        kind=kind,
        next_step=raw.get("next_step"),
        input_mapping=compile_template({} if mapping is None else mapping, raw_steps),
        slot=slot,
    )


class _Mistake(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def _kind(step_id: str, raw: Mapping[str, Any], raw_steps: Mapping[str, Any]) -> StepKind:
    kind = raw.get("type", "agent")
    if kind == "agent":
        return AgentStep(raw["agent_name"])
    if kind == "parallel":
        return ParallelStep(tuple(raw["parallel_steps"]), _limit(raw.get("max_parallelism")))
    if kind == "conditional":
        condition = parse_condition(raw["condition"]["expression"], raw_steps)
        return ConditionalStep(condition, raw.get("if_true_step"), raw.get("if_false_step"))
    if kind == "loop":
        return _loop(raw["loop_config"], raw_steps)
    return _fork_join(step_id, raw["fork_join_config"])


def _loop(config: Mapping[str, Any], raw_steps: Mapping[str, Any]) -> LoopStep:
    sequential = (config.get("execution_mode") or "sequential") == "sequential"
    limit = config.get("max_iterations")
    return LoopStep(
        collection=compile_template(config["collection"], raw_steps),
        body=tuple(config["loop_body"]),
        max_parallelism=1 if sequential else _limit(config.get("max_parallelism")),
        max_iterations=None if limit is None else int(limit),
        on_error=config.get("on_error") or "stop",
    )


def _fork_join(step_id: str, config: Mapping[str, Any]) -> ForkJoinStep:
    general = config.get("branch_timeout_seconds")
    branches = tuple(
        Branch(name, tuple(raw["steps"]), general if raw.get("timeout_seconds") is None else raw["timeout_seconds"])
        for name, raw in config["branches"].items()
    )
    policy, total = config["join_policy"], len(branches)
    given = config.get("n_required")
    if policy == "n_of_m" and (given is None or int(given) > total):
        raise _Mistake(
            Problem(
                _at(step_id, "fork_join_config", "n_required"),
                f"n_of_m needs n_required from 1 to the number of branches, {total}; found {given}",
            )
        )
    required = {"all": total, "any": 1, "majority": total // 2 + 1}.get(policy)
    return ForkJoinStep(branches, policy, required or int(given or 0))


def _limit(value: Any) -> int:
    return _NO_LIMIT if value is None else int(value)


def _reference_problems(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps.values():
        for pointer, reference, seen_from_condition in _references_of(step):
            if reference.source == "step" and reference.name not in definition.steps:
                yield Problem(
                    pointer,
                    f"{reference.text} names a step that does not exist",
                    _nearest(reference.name, definition.steps),
                )
                continue
            reason = unreachable_reason(definition, step.id, reference)
            if reason is not None:
                yield Problem(pointer, f"{reference.text} cannot be resolved {seen_from_condition}: {reason}")


def _references_of(step: Step) -> Iterator[tuple[str, Reference, str]]:
    for below, reference in references_in(step.input_mapping):
        yield _at(step.id, "input_mapping") + below, reference, "here"
    if isinstance(step.kind, ConditionalStep):
        for reference in step.kind.condition.references():
            yield _at(step.id, "condition", "expression"), reference, "in this condition"
    if isinstance(step.kind, LoopStep):
        pointer = _at(step.id, "loop_config", "collection")
        for below, reference in references_in(step.kind.collection):
            yield pointer + below, reference, "here"
