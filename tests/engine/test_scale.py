"""Size: many iterations, deep nesting and deep values need no deep stack and no long time."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from system.definitions import load_definition
from system.engine.decide import decide, decide_many, restore
from system.engine.events import ExecutionRequested, ResultReceived
from system.engine.state import RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANY = 10_000

Raw = dict[str, Any]


def started(definition: Raw, input_data: Any) -> RunState:
    state = RunState("run-1", "PENDING", load_definition(definition), input_data, NOW)
    return decide(state, ExecutionRequested(NOW), NOW)[0]


def loop(mode: str, mapping: Any, on_error: str = "continue", **config: Any) -> Raw:
    config = {"collection": "${workflow.input.items}", "loop_body": ["b"], "execution_mode": mode, **config}
    body = {"id": "b", "agent_name": "x", "input_mapping": mapping}
    steps = {"l": {"id": "l", "type": "loop", "loop_config": {**config, "on_error": on_error}}, "b": body}
    return {"name": "w", "start_step": "l", "steps": steps}


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_iterations_that_all_fail_before_they_begin_need_no_stack(mode: str) -> None:
    state = started(loop(mode, {"k": "${loop.item.missing}"}), {"items": [0] * MANY})
    assert state.status == "COMPLETED"
    assert state.steps["l"].output_data["failed_count"] == MANY


def test_a_sequential_loop_of_ten_thousand_runs_to_its_end() -> None:
    state = started(loop("sequential", {"i": "${loop.index}"}), {"items": [0] * MANY})
    for index in range(MANY):
        ((task_id, path),) = state.in_flight.items()
        assert path == f"l[{index}]/b"
        if index == MANY - 10:
            bare = replace(state, steps={}, frames={}, in_flight={})
            assert restore(bare, state.steps.values(), NOW) == (state, [])
        state, _ = decide(state, ResultReceived(task_id, True, {"n": index}), NOW)
    assert state.status == "COMPLETED"
    assert [entry["output_data"]["n"] for entry in state.steps["l"].output_data["iterations"]] == list(range(MANY))


@pytest.mark.parametrize("config", [{}, {"max_parallelism": 100}])
def test_a_parallel_loop_of_ten_thousand_runs_to_its_end_in_batches(config: Raw) -> None:
    begun = time.process_time()
    state = started(loop("parallel", {"i": "${loop.index}"}, **config), {"items": [0] * MANY})
    assert len(state.in_flight) == config.get("max_parallelism", MANY)
    while state.status == "RUNNING":
        tasks = list(state.in_flight)[:500]
        state, _ = decide_many(state, [ResultReceived(task, True, {"n": 1}) for task in tasks], NOW)
    assert state.status == "COMPLETED"
    assert [entry["output_data"] for entry in state.steps["l"].output_data["iterations"]] == [{"n": 1}] * MANY
    assert time.process_time() - begun < 30


def test_a_run_of_ten_thousand_in_flight_comes_back_from_its_rows() -> None:
    state = started(loop("parallel", {"i": "${loop.index}"}), {"items": [0] * MANY})
    restored, decisions = restore(replace(state, steps={}, frames={}, in_flight={}), state.steps.values(), NOW)
    assert decisions == []
    assert restored == state


def test_a_chain_of_five_thousand_steps_is_checked_and_taken_up_again() -> None:
    steps: dict[str, Raw] = {
        f"s{n}": {"id": f"s{n}", "agent_name": "x", "next_step": f"s{n + 1}" if n < 4999 else None, "input_mapping": {}}
        for n in range(5000)
    }
    state = started({"name": "w", "start_step": "s0", "steps": steps}, {})
    record = replace(state.steps["s0"], status="COMPLETED", output_data={}, completed_at=NOW)
    done = [replace(record, path=f"s{n}", step_id=f"s{n}", task_id=f"t{n}") for n in range(5000)]
    bare = replace(state, steps={}, frames={}, in_flight={})
    assert restore(bare, done, NOW)[0].status == "COMPLETED"


def nested(kinds: list[str]) -> Raw:
    """An agent within as many composites as there are kinds."""
    steps: dict[str, Raw] = {}
    for n, kind in enumerate(kinds):
        inner = f"s{n + 1}"
        by_kind: dict[str, Raw] = {
            "parallel": {"parallel_steps": [inner, f"o{n}"]},
            "conditional": {"condition": {"expression": "true"}, "if_true_step": inner, "if_false_step": f"o{n}"},
            "loop": {"loop_config": {"collection": [n], "loop_body": [inner, f"o{n}"]}},
            "fork_join": {
                "fork_join_config": {
                    "branches": {"l": {"steps": [inner]}, "r": {"steps": [f"o{n}"]}},
                    "join_policy": "all",
                }
            },
        }
        fields = by_kind[kind]
        steps |= {f"s{n}": {"id": f"s{n}", "type": kind, **fields}, f"o{n}": {"id": f"o{n}", "agent_name": "x"}}
    last = f"s{len(kinds)}"
    steps[last] = {"id": last, "agent_name": "x", "input_mapping": {"k": "${loop.item}"} if "loop" in kinds else {}}
    return {"name": "w", "start_step": "s0", "steps": steps}


@pytest.mark.parametrize(
    "kinds",
    [
        ["parallel"] * 50,
        ["conditional"] * 50,
        ["loop"] * 50,
        ["fork_join"] * 50,
        ["loop", "fork_join", "parallel", "conditional"] * 13,
        ["parallel"] * 100,
    ],
    ids=["parallel", "conditional", "loop", "fork_join", "mixed", "limit"],
)
def test_composites_nest_deeply(kinds: list[str]) -> None:
    state = started(nested(kinds), {})
    while state.status == "RUNNING":
        bare = replace(state, steps={}, frames={}, in_flight={})
        if len(state.steps) % 10 == 0:
            assert restore(bare, state.steps.values(), NOW) == (state, [])
        state, _ = decide(state, ResultReceived(next(iter(state.in_flight)), True, {"n": 1}), NOW)
    assert (state.status, state.error_message) == ("COMPLETED", None)


def deep(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


CHAIN: Raw = {
    "name": "w",
    "start_step": "a",
    "steps": {
        "a": {"id": "a", "agent_name": "x", "next_step": "c"},
        "c": {
            "id": "c", "type": "conditional", "next_step": "b", "if_true_step": "t",
            "condition": {"expression": "${a.output} == ${a.output} and [${workflow.input.deep}] contains ${workflow.input.deep}"},
        },
        "t": {"id": "t", "agent_name": "x"},
        "b": {"id": "b", "agent_name": "x", "input_mapping": {"text": "<${a.output}>", "whole": "${a.output}"}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("levels", "status"), [(249, "COMPLETED"), (250, "FAILED"), (251, "FAILED"), (500, "FAILED"), (100_000, "FAILED")]
)
def test_an_output_that_is_too_deep_fails_a_step_and_raises_nothing(levels: int, status: str) -> None:
    state = started(CHAIN, {"deep": deep(200)})
    while state.status == "RUNNING":
        output = deep(levels) if "a" in state.in_flight.values() else {}
        state, _ = decide(state, ResultReceived(next(iter(state.in_flight)), True, output), NOW)
    assert state.status == status
    if levels > 250:
        assert state.error_message == "step 'a' failed: its output is nested deeper than 250 levels"
    elif levels == 250:
        assert state.error_message == "step 'b' failed: its input is nested deeper than 250 levels"


@pytest.mark.parametrize("levels", [600, 100_000])
def test_an_input_that_is_too_deep_fails_the_step_that_reads_it(levels: int) -> None:
    for mapping in ({"whole": "${workflow.input.deep}"}, {"text": "<${workflow.input.deep}>"}):
        definition = {
            "name": "w",
            "start_step": "a",
            "steps": {"a": {"id": "a", "agent_name": "x", "input_mapping": mapping}},
        }
        state = started(definition, {"deep": deep(levels)})
        assert state.status == "FAILED"
        assert "nested deeper than 250 levels" in (state.error_message or "")
    for collection in ("<${workflow.input.deep}>", "${workflow.input.deep}"):
        state = started(loop("sequential", {"k": "${loop.item}"}, collection=collection), {"deep": [deep(levels)]})
        assert state.status in ("FAILED", "COMPLETED")
        assert not state.in_flight


@pytest.mark.parametrize("levels", [600, 100_000])
def test_deep_values_are_compared_by_conditions(levels: int) -> None:
    state = started({**CHAIN, "start_step": "c", "steps": _conditional_only()}, {"deep": deep(levels)})
    assert state.steps["c"].output_data is None
    assert "c/t" in state.steps


def _conditional_only() -> dict[str, Raw]:
    condition = {"expression": "${workflow.input.deep} == ${workflow.input.deep}"}
    return {
        "c": {"id": "c", "type": "conditional", "condition": condition, "if_true_step": "t"},
        "t": {"id": "t", "agent_name": "x"},
    }
