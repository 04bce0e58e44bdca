"""The oracle of one observed run, and which steps a task can be of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.checkers.oracle.expected import Context, Oracle, Recorded
from harness.checkers.view import RunView, Task
from harness.oracle.plan import Plan
from harness.oracle.references import parts
from harness.oracle.values import canonical, same

_KEPT = "_oracle_of_the_run"


def oracle(run: RunView, plan: Plan) -> Oracle:
    """The oracle of a run; made once."""
    kept = run.__dict__.get(_KEPT)
    if kept is None:
        kept = Oracle(
            plan,
            run.input,
            _recorded(run, plan),
            _composites(run, plan),
            was_retried=run.is_retried,
            is_complete=run.is_complete,
        )
        run.__dict__[_KEPT] = kept
    assert isinstance(kept, Oracle)
    return kept


def contexts_of(run: RunView, plan: Plan, step: str, input_data: Any) -> list[Context] | None:
    """The places in which a step can have had this input; None when that is not known."""
    answers = oracle(run, plan)
    if not has_shape(plan.steps[step].get("input_mapping") or {}, input_data, plan):
        return []
    places = answers.places_by_input(step)
    return None if places is None else places.get(canonical(input_data), [])


def has_shape(template: Any, value: Any, plan: Plan) -> bool:
    """Whether a value can be what a mapping resolves to, whatever its references hold: keys and literals are given."""
    if isinstance(template, dict):
        if not isinstance(value, Mapping) or set(template) != set(value):
            return False
        return all(has_shape(item, value[key], plan) for key, item in template.items())
    if isinstance(template, list):
        if not isinstance(value, list) or len(template) != len(value):
            return False
        return all(has_shape(item, found, plan) for item, found in zip(template, value, strict=True))
    if isinstance(template, str) and any(not isinstance(part, str) for part in parts(template, plan.steps)):
        return True
    return same(template, value)


def steps_of(run: RunView, plan: Plan, task: Task) -> list[str]:
    """The agent steps that a task can be of, by its agent and its input. The contract's task does not name its step.

    A step whose input is not known can be meant by any task for its agent. When no input fits, the task is of one of
    the steps with its agent, with a wrong input.
    """
    kept: dict[str, list[str]] = run.__dict__.setdefault("_steps_of_tasks", {})
    if task.key not in kept:
        named = [step for step in plan.agents if plan.steps[step].get("agent_name") == task.agent]
        fitting = [step for step in named if contexts_of(run, plan, step, task.input) != []]
        kept[task.key] = fitting or named
    return kept[task.key]


def step_of(run: RunView, plan: Plan, task: Task) -> str | None:
    """The one step that a task is of, when there is no doubt."""
    steps = steps_of(run, plan, task)
    return steps[0] if len(steps) == 1 else None


def _recorded(run: RunView, plan: Plan) -> list[Recorded]:
    """Ends of agent steps as rows and results tell of them."""
    outputs: dict[tuple[str, str, str, str], Any] = {}
    executions: dict[tuple[str, str, str, str], set[Any]] = {}

    def add(execution: Any, step: str, given: Any, is_completed: bool, output: Any) -> None:
        output = output if is_completed else None
        key = (step, canonical(given), "COMPLETED" if is_completed else "FAILED", canonical(output))
        outputs.setdefault(key, output)
        executions.setdefault(key, set()).add(execution)

    for row in run.rows:
        if row.step in plan.steps and plan.kind(row.step) == "agent":
            last = None
            for _, seen in row.seen:
                # What was read twice is often the same object, and then not another end.
                if seen is not last and (status := seen.get("status")) in ("COMPLETED", "FAILED"):
                    add(row.id, row.step, seen.get("input_data"), status == "COMPLETED", seen.get("output_data"))
                last = seen
    if run.is_retried:
        # A retry may have taken rows up again before their end was seen; results tell what their end was.
        tasks = {task.task_id: task for task in run.tasks}
        for event in run.results:
            value = event["value"] if isinstance(event["value"], Mapping) else {}
            task = tasks.get(str(value.get("task_id")))
            if task is None:
                continue
            given = canonical(task.input)
            named = [step for step in plan.agents if plan.steps[step].get("agent_name") == task.agent]
            with_row = [step for step in named if _had_input(run, step, given)]
            for step in with_row or named:
                add(task.task_id, step, task.input, value.get("status") == "SUCCESS", value.get("output_data"))
    return [Recorded(*key[:3], output, len(executions[key])) for key, output in outputs.items()]


def _had_input(run: RunView, step: str, key: str) -> bool:
    return any(canonical(seen.get("input_data")) == key for row in run.rows_of(step) for _, seen in row.seen)


def _composites(run: RunView, plan: Plan) -> dict[str, list[Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in run.rows:
        if row.step in plan.steps and plan.kind(row.step) != "agent":
            for _, seen in row.seen:
                if seen.get("status") == "COMPLETED":
                    output = seen.get("output_data")
                    found.setdefault(row.step, {}).setdefault(canonical(output), output)
    return {step: list(outputs.values()) for step, outputs in found.items()}
