"""From a definition's JSON to a Definition, with everything checked that a schema cannot say (contract section 4).

The JSON is taken to fit the contract's workflow schema; the caller checks that first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    RawDefinition,
    Slot,
    Step,
    StepKind,
)
from system.engine.reach import unreachable_reason
from system.engine.references import Reference, compile_template, references_in
from system.engine.structure import Problems, RawSteps, at, check_names, check_reach, find_chain, find_slots
from system.engine.values import is_deeper_than, quoted

DEEPEST_TEMPLATE = 100
"""Levels of nesting that an input_mapping or a literal collection may have."""

_NO_LIMIT = 2**31


def load(data: RawDefinition) -> Definition:
    """Build a Definition.

    Raises:
        InvalidDefinition: with the problems found, 50 at most: unknown steps, a step in two places, cycles,
            unreachable steps, conditions that do not parse, references to steps that cannot have run.
    """
    problems = Problems()
    raw_steps: RawSteps = data["steps"]
    slots = find_slots(raw_steps, problems)
    check_names(data, problems)
    steps = {
        step_id: step
        for step_id, raw in raw_steps.items()
        if (step := _step(step_id, raw, raw_steps, slots.get(step_id), problems)) is not None
    }
    chain = find_chain(data, slots, problems)
    if not problems:
        check_reach(raw_steps, slots, chain, problems)
    if problems:
        raise InvalidDefinition(problems.found)
    definition = Definition(
        name=data["name"],
        start_step=data["start_step"],
        steps=steps,
        chain=chain,
        workflow_id=data.get("workflow_id"),
        version=data.get("version"),
    )
    _check_references(definition, problems)
    if problems:
        raise InvalidDefinition(problems.found)
    return definition


def _step(
    step_id: str, raw: Mapping[str, Any], raw_steps: RawSteps, slot: Slot | None, problems: Problems
) -> Step | None:
    mapping = raw.get("input_mapping")
    if is_deeper_than(mapping, DEEPEST_TEMPLATE):
        message = f"the input_mapping of step {quoted(step_id)} is nested deeper than {DEEPEST_TEMPLATE} levels"
        problems.add(at(step_id, "input_mapping"), message)
        return None
    kind = _kind(step_id, raw, raw_steps, problems)
    if kind is None:
        return None
    return Step(
        id=step_id,
        name=raw.get("name") or step_id,
        kind=kind,
        next_step=raw.get("next_step"),
        input_mapping=compile_template({} if mapping is None else mapping, raw_steps),
        slot=slot,
    )


def _kind(step_id: str, raw: Mapping[str, Any], raw_steps: RawSteps, problems: Problems) -> StepKind | None:
    kind = raw.get("type", "agent")
    if kind == "agent":
        return AgentStep(raw["agent_name"])
    if kind == "parallel":
        return ParallelStep(tuple(raw["parallel_steps"]), _limit(raw.get("max_parallelism")))
    if kind == "conditional":
        return _conditional(step_id, raw, raw_steps, problems)
    if kind == "loop":
        return _loop(step_id, raw["loop_config"], raw_steps, problems)
    return _fork_join(step_id, raw["fork_join_config"], problems)


def _conditional(
    step_id: str, raw: Mapping[str, Any], raw_steps: RawSteps, problems: Problems
) -> ConditionalStep | None:
    try:
        condition = parse_condition(raw["condition"]["expression"], raw_steps)
    except ConditionSyntaxError as error:
        message = f"the expression of step {quoted(step_id)} is no condition: {error}"
        problems.add(at(step_id, "condition", "expression"), message)
        return None
    return ConditionalStep(condition, raw.get("if_true_step"), raw.get("if_false_step"))


def _loop(step_id: str, config: Mapping[str, Any], raw_steps: RawSteps, problems: Problems) -> LoopStep | None:
    if is_deeper_than(config["collection"], DEEPEST_TEMPLATE):
        message = f"the collection of step {quoted(step_id)} is nested deeper than {DEEPEST_TEMPLATE} levels"
        problems.add(at(step_id, "loop_config", "collection"), message)
        return None
    sequential = (config.get("execution_mode") or "sequential") == "sequential"
    limit = config.get("max_iterations")
    return LoopStep(
        collection=compile_template(config["collection"], raw_steps),
        body=tuple(config["loop_body"]),
        max_parallelism=1 if sequential else _limit(config.get("max_parallelism")),
        max_iterations=None if limit is None else int(limit),
        on_error=config.get("on_error") or "stop",
    )


def _fork_join(step_id: str, config: Mapping[str, Any], problems: Problems) -> ForkJoinStep | None:
    general = config.get("branch_timeout_seconds")
    branches = tuple(
        Branch(name, tuple(raw["steps"]), general if raw.get("timeout_seconds") is None else raw["timeout_seconds"])
        for name, raw in config["branches"].items()
    )
    policy, total = config["join_policy"], len(branches)
    given = config.get("n_required")
    if policy == "n_of_m" and (given is None or int(given) > total):
        problems.add(
            at(step_id, "fork_join_config", "n_required"),
            f"n_required of step {quoted(step_id)} must be from 1 to the number of its branches, {total}; found {given}",
        )
        return None
    required = {"all": total, "any": 1, "majority": total // 2 + 1}.get(policy)
    return ForkJoinStep(branches, policy, required or int(given or 0))


def _limit(value: Any) -> int:
    return _NO_LIMIT if value is None else int(value)


def _check_references(definition: Definition, problems: Problems) -> None:
    for step in definition.steps.values():
        for pointer, reference in _references_of(step):
            told = f"{reference.text} in step {quoted(step.id)}"
            if reference.source == "step" and reference.name not in definition.steps:
                message = f"{told} names {quoted(reference.name)}, which is no step"
                problems.add_unknown(pointer, message, reference.name, definition.steps)
                continue
            reason = unreachable_reason(definition, step.id, reference)
            if reason is not None:
                problems.add(pointer, f"{told} can never be resolved: {reason}")


def _references_of(step: Step) -> Iterator[tuple[str, Reference]]:
    for below, reference in references_in(step.input_mapping):
        yield at(step.id, "input_mapping") + below, reference
    if isinstance(step.kind, ConditionalStep):
        for reference in step.kind.condition.references():
            yield at(step.id, "condition", "expression"), reference
    if isinstance(step.kind, LoopStep):
        pointer = at(step.id, "loop_config", "collection")
        for below, reference in references_in(step.kind.collection):
            yield pointer + below, reference
