"""The table of transitions, held against the contract's words and against what the engine does."""

from __future__ import annotations

import ast
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

import system.engine
from system.definitions import load_definition
from system.engine.decide import decide
from system.engine.events import ExecutionRequested, ResultReceived
from system.engine.state import RunState
from system.engine.transitions import (
    RUN_TRANSITIONS,
    STEP_ENDED,
    STEP_TRANSITIONS,
    TERMINAL,
    IllegalTransition,
    RunStatus,
    StepStatus,
    check_run,
    check_step,
)
from tests.engine.invariants import snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)

RUN_STATUSES: tuple[RunStatus, ...] = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
STEP_STATUSES: tuple[StepStatus, ...] = ("RUNNING", "COMPLETED", "FAILED", "CANCELLED")

# TBL-03, word for word.
LEGAL_RUN = {
    ("PENDING", "RUNNING"), ("PENDING", "CANCELLED"), ("PENDING", "FAILED"),
    ("RUNNING", "COMPLETED"), ("RUNNING", "FAILED"), ("RUNNING", "CANCELLED"),
    ("FAILED", "PENDING"), ("CANCELLED", "PENDING"),
}  # fmt: skip
LEGAL_STEP = {
    (None, "RUNNING"), (None, "FAILED"),
    ("RUNNING", "COMPLETED"), ("RUNNING", "FAILED"), ("RUNNING", "CANCELLED"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), list(product(RUN_STATUSES, RUN_STATUSES)))
def test_a_run_goes_where_the_contract_says_and_nowhere_else(old: RunStatus, new: RunStatus) -> None:
    assert (new in RUN_TRANSITIONS[old]) == ((old, new) in LEGAL_RUN)
    if (old, new) in LEGAL_RUN:
        check_run(old, new)
    else:
        with pytest.raises(IllegalTransition, match=f"from {old} to {new}"):
            check_run(old, new)


@pytest.mark.parametrize(("old", "new"), list(product((None, *STEP_STATUSES), STEP_STATUSES)))
def test_a_step_begins_once_and_ends_once(old: StepStatus | None, new: StepStatus) -> None:
    assert (new in STEP_TRANSITIONS[old]) == ((old, new) in LEGAL_STEP)
    if (old, new) in LEGAL_STEP:
        check_step(old, new)
    else:
        with pytest.raises(IllegalTransition, match=f"to {new}"):
            check_step(old, new)


def test_the_ends_are_those_that_lead_nowhere_but_to_a_retry() -> None:
    assert {status for status in RUN_STATUSES if RUN_TRANSITIONS[status] <= {"PENDING"}} == TERMINAL
    assert {status for status in STEP_STATUSES if not STEP_TRANSITIONS[status]} == STEP_ENDED


def test_an_illegal_transition_raises_and_leaves_the_state_as_it_was() -> None:
    """A state that no engine could have made: a task in flight of a step that is COMPLETED."""
    definition = load_definition({"name": "w", "start_step": "a", "steps": {"a": {"id": "a", "agent_name": "x"}}})
    state, _ = decide(RunState("run-1", "PENDING", definition, {}, NOW), ExecutionRequested(NOW), NOW)
    record = replace(state.steps["a"], status="COMPLETED", completed_at=NOW, output_data={"first": True})
    broken = replace(state, steps={"a": record})
    before = snapshot(broken)
    with pytest.raises(IllegalTransition, match="from COMPLETED to COMPLETED"):
        decide(broken, ResultReceived(record.task_id or "", True, {"second": True}), NOW)
    assert snapshot(broken) == before


def test_every_change_of_a_status_passes_the_table() -> None:
    """In the engine's source a status is given to a run or a record only in the two functions that check it."""
    folder = Path(system.engine.__path__[0])
    givers = set()
    for path in folder.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any(map(_gives_status, ast.walk(function))):
                givers.add(function.name)
    # __init__ takes a run's status over, state hands it back; _begin_anew and _fail_unbegun make the record that _note
    # checks, as _end does.
    assert givers == {"__init__", "state", "change_run", "_begin_anew", "_fail_unbegun", "_end"}


def _gives_status(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in ("replace", "StepRecord", "RunState")
        return named and any(keyword.arg == "status" for keyword in node.keywords)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [name for target in targets for name in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return any(isinstance(name, ast.Attribute) and name.attr == "status" for name in names)
