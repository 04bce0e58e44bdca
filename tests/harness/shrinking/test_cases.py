"""What is left out of a case leaves a legal one, and a failure comes down to what it needs."""

from __future__ import annotations

from hypothesis import given, settings
from jsonschema import Draft202012Validator

import contract
from harness.generation import Case, Size, cases
from harness.oracle import Plan, Undecided
from harness.oracle.references import references_in
from harness.shrinking.cases import smaller_cases

_VALIDATOR = Draft202012Validator(contract.schema("workflow"))


@settings(max_examples=15, derandomize=True, deadline=None)
@given(cases(Size(most_steps=8)))
def test_every_smaller_case_is_legal(case: Case) -> None:
    """It fits the schema, every step has its one place, and what it refers to is there."""
    for smaller in smaller_cases(case):
        assert list(_VALIDATOR.iter_errors(smaller.workflow)) == []
        plan = Plan.of(smaller.workflow)
        for step in plan.steps.values():
            names = [
                one.name for one in references_in(step.get("input_mapping") or {}, plan.steps) if one.source == "step"
            ]
            assert set(names) <= set(plan.steps)
        assert {str(plan.steps[step]["agent_name"]) for step in plan.agents} == set(smaller.agents)


_FAILING = Case(
    {
        "name": "main",
        "start_step": "a",
        "steps": {"a": {"id": "a", "agent_name": "w1", "next_step": "b"}, "b": {"id": "b", "agent_name": "w2"}},
    },
    {"w1": [{"held": {"echo": True}}], "w2": [{"rpc_error": {"message": "no"}}]},
    {},
    (
        {"when": {"agent": "w1", "calls": {"at_least": 1}}, "release": "w1"},
        {"when": {"run": "r", "is": "FAILED"}, "retry": "r"},
    ),
)


def test_no_smaller_case_waits_for_what_an_executor_need_not_do() -> None:
    """An agent that is held stays one that is released, and what is awaited to fail stays what fails."""
    smaller = list(smaller_cases(_FAILING))
    assert any("retry" not in str(one.timeline) for one in smaller)
    assert any(list(one.workflow["steps"]) == ["b"] for one in smaller) is False, "its act names the other agent"
    for one in smaller:
        assert ("held" in str(one.agents)) <= ("release" in str(one.timeline)), one
        assert ("'FAILED'" in str(one.timeline)) <= ("rpc_error" in str(one.agents) or "fail" in str(one.agents)), one


def test_what_is_not_sure_to_end_is_made_smaller_all_the_same() -> None:
    """A failure that was found in such a case is not given up."""
    unsure = Case(_FAILING.workflow, _FAILING.agents, {}, _FAILING.timeline[1:])
    assert unsure.doubt is not None
    assert list(smaller_cases(unsure))


def _least(case: Case) -> Case:
    """What is left when all is left out that does not keep a loop from collecting an error."""
    while True:
        found = [one for one in smaller_cases(case) if len(one.key) < len(case.key) and _collects(one)]
        if not found:
            return case
        case = min(found, key=lambda one: len(one.key))


def _collects(case: Case) -> bool:
    try:
        executions = case.allowed().final.executions.values()
    except Undecided:
        return False
    return any("error_message" in str(one.output) for one in executions)


def test_a_failure_comes_down_to_what_it_needs() -> None:
    """Of a large workflow a loop with one agent is left."""
    workflow = {
        "name": "main",
        "start_step": "first",
        "steps": {
            "first": {"id": "first", "agent_name": "w1", "next_step": "both"},
            "both": {"id": "both", "type": "parallel", "parallel_steps": ["each", "beside"], "next_step": "last"},
            "each": {
                "id": "each",
                "type": "loop",
                "loop_config": {"collection": "${first.output.l}", "loop_body": ["x", "y"], "on_error": "collect"},
            },
            "x": {"id": "x", "agent_name": "w2", "input_mapping": {"a": "${loop.item}", "b": "${first.output}"}},
            "y": {"id": "y", "agent_name": "w3"},
            "beside": {"id": "beside", "agent_name": "w4"},
            "last": {"id": "last", "agent_name": "w5", "input_mapping": {"all": "${both.output}"}},
        },
    }
    agents = {
        "w1": [{"ok": {"l": [1, 2]}}],
        "w2": [{"rpc_error": {"message": "no"}}],
        **{name: [{"ok": {}}] for name in ("w3", "w4", "w5")},
    }
    least = _least(Case(workflow, agents, {"unused": 1}))
    assert sorted(step.get("type", "agent") for step in least.workflow["steps"].values()) == ["agent", "loop"]
    assert least.workflow["steps"][least.workflow["start_step"]]["loop_config"]["collection"] == [1]
    assert least.input == {}
