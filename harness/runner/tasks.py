"""Which step asked a task: messages name the agent, not the step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from harness.runner.view import RunView
from harness.scenario import matchers


def steps_of_tasks(run: RunView) -> dict[str, str]:
    """task_id → step id, in the order in which the tasks were first seen.

    A step whose agent no other step has is known by that. Where several steps share an agent, the row whose input_data
    equals the task's tells, and of several such steps the one that has fewest tasks for its rows.
    """
    by_agent: dict[Any, list[str]] = {}
    for step_id, step in _steps(run).items():
        if isinstance(step, Mapping):
            by_agent.setdefault(step.get("agent_name"), []).append(step_id)
    given: Counter[str] = Counter()
    found: dict[str, str] = {}
    for task_id, event in run.tasks.items():
        candidates = by_agent.get(event["value"].get("agent_name"), [])
        if not candidates:
            continue
        step_id = candidates[0] if len(candidates) == 1 else _likeliest(run, event["value"], candidates, given)
        given[step_id] += 1
        found[task_id] = step_id
    return found


def tasks_of_step(run: RunView, step: str) -> list[str]:
    """The different tasks that a step asked, in the order in which they were first seen."""
    return [task_id for task_id, step_id in steps_of_tasks(run).items() if step_id == step]


def is_agent_step(run: RunView, step: str) -> bool:
    """Whether the plan says that an agent is asked for this step."""
    described = _steps(run).get(step)
    return isinstance(described, Mapping) and (described.get("type") or "agent") == "agent"


def _steps(run: RunView) -> Mapping[str, Any]:
    steps = run.plan.get("steps")
    return steps if isinstance(steps, Mapping) else {}


def _likeliest(run: RunView, task: Mapping[str, Any], candidates: list[str], given: Counter[str]) -> str:
    def unlikely(step_id: str) -> tuple[bool, bool, int]:
        rows = run.rows_of(step_id)
        fits = [row for row in rows if matchers.equal(row.get("input_data"), task.get("input_data"))]
        return (not fits, given[step_id] >= len(fits), given[step_id])

    return min(candidates, key=unlikely)
