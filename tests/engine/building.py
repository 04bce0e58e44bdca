"""Small runs for tests: definitions from steps, and a run brought to where a test wants it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from system.definitions import load_definition
from system.engine.decide import decide, restore
from system.engine.decisions import (
    Decision,
    PublishTask,
)
from system.engine.events import (
    ExecutionRequested,
    ResultReceived,
)
from system.engine.state import RunState
from tests.engine.simulation import START

Raw = dict[str, Any]
SECOND = timedelta(seconds=1)


def agent(step_id: str, **fields: Any) -> Raw:
    return {"id": step_id, "agent_name": "x", **fields}


def workflow(*steps: Raw) -> Raw:
    return {"name": "w", "start_step": steps[0]["id"], "steps": {step["id"]: step for step in steps}}


def pending(*steps: Raw, input_data: Any = None, **fields: Any) -> RunState:
    return RunState("run-1", "PENDING", load_definition(workflow(*steps)), input_data or {}, START, **fields)


def started(*steps: Raw, input_data: Any = None) -> RunState:
    return decide(pending(*steps, input_data=input_data), ExecutionRequested(START), START)[0]


def result(state: RunState, path: str, error: str | None = None, output: Any = None) -> ResultReceived:
    task = state.steps[path].task_id
    assert task is not None
    return ResultReceived(task, error is None, output if error is None else None, error)


def answered(
    state: RunState, path: str, error: str | None = None, output: Any = None
) -> tuple[RunState, list[Decision]]:
    return decide(state, result(state, path, error, output), START)


def published(decisions: list[Decision]) -> list[str]:
    return [decision.path for decision in decisions if isinstance(decision, PublishTask)]


def rows(state: RunState, **changes: Any) -> RunState:
    """The state after the run's row was changed from outside."""
    return restore(replace(state, steps={}, frames={}, in_flight={}, **changes), state.steps.values(), START)[0]


def retried(
    state: RunState, resume_from_step: str | None = None, *, at: datetime = START
) -> tuple[RunState, list[Decision]]:
    again = rows(state, status="PENDING", error_message=None, generation=state.generation + 1)
    return decide(again, ExecutionRequested(at, resume_from_step), at)


PAIR = {"id": "p", "type": "parallel", "parallel_steps": ["a", "b"]}
FORK: Raw = {
    "id": "f", "type": "fork_join",
    "fork_join_config": {"branches": {"l": {"steps": ["a", "c"], "timeout_seconds": 5}, "r": {"steps": ["b"]}}, "join_policy": "any"},
}  # fmt: skip


def loop(*body: str, **config: Any) -> Raw:
    collection = config.pop("collection", "${workflow.input.items}")
    return {"id": "l", "type": "loop", "loop_config": {"collection": collection, "loop_body": list(body), **config}}
