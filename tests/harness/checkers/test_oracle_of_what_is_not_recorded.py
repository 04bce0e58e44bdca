"""What no record tells of is no reason to accuse: steps that may not have run, and texts that are an executor's own."""

from __future__ import annotations

from typing import Any

from harness.checkers.oracle.expected import Oracle, Recorded
from harness.oracle.plan import Plan
from harness.oracle.values import MISSING, canonical


def _agent(step: str, **more: Any) -> dict[str, Any]:
    return {"id": step, "agent_name": "w", **more}


def _oracle(start: str, recorded: list[Recorded], *steps: dict[str, Any]) -> Oracle:
    plan = Plan.of({"start_step": start, "steps": {step["id"]: step for step in steps}})
    return Oracle(plan, {}, recorded, {}, was_retried=False, is_complete=True)


def test_a_nested_composite_that_asks_nobody_may_not_have_run() -> None:
    """By its parts it has an end; whether the branch was taken that it stands in, no record tells."""
    around = {
        "id": "around",
        "type": "conditional",
        "condition": {"expression": "false"},
        "if_true_step": "inner",
        "next_step": "z",
    }
    inner = {"id": "inner", "type": "conditional", "condition": {"expression": "false"}, "if_true_step": "b"}
    last = _agent("z", input_mapping={"x": "${inner.output.branch_output}"})
    oracle = _oracle("around", [], around, inner, _agent("b"), last)
    assert MISSING in (oracle.outputs("inner", ()) or [])
    taken = {**inner, "condition": {"expression": "true"}}
    oracle = _oracle("around", [Recorded("b", canonical({}), "COMPLETED", {})], around, taken, _agent("b"), last)
    assert MISSING not in (oracle.outputs("inner", ()) or [])


def test_a_step_of_an_iteration_may_have_failed_without_an_input() -> None:
    """Its reference led to nothing, so that its record has no input by which it could be told from another iteration's."""
    steps = (
        {"id": "c", "type": "conditional", "condition": {"expression": "false"}, "if_true_step": "n", "next_step": "l"},
        _agent("n"),
        {"id": "l", "type": "loop", "loop_config": {"collection": [1], "loop_body": ["x"]}},
        _agent("x", input_mapping={"v": "${n.output.v}"}),
    )
    ends = _oracle("c", [], *steps).endings("x", (("l", 0),))
    assert ends is not None
    assert [end.status for end in ends] == ["FAILED"]


def test_what_a_loop_inside_has_collected_is_not_recomputed() -> None:
    """At any depth: the text of an error_message is the executor's own."""
    steps = (
        {"id": "b", "type": "loop", "loop_config": {"collection": [1], "loop_body": ["d"]}, "next_step": "z"},
        {"id": "d", "type": "loop", "loop_config": {"collection": [1], "on_error": "collect", "loop_body": ["f"]}},
        _agent("f"),
        _agent("z", input_mapping={"all": "${b.output.iterations}"}),
    )
    assert _oracle("b", [Recorded("f", canonical({}), "FAILED", None)], *steps).inputs("z", ()) is None
    completed = _oracle("b", [Recorded("f", canonical({}), "COMPLETED", {})], *steps).inputs("z", ())
    assert completed is not None
    assert len(completed.values) == 1
