"""What is generated is legal, JSON, of the contract's shapes, and varied; equal seeds give equal cases."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import contract
from harness.exploration.features import CLAUSES, features
from harness.exploration.profiles import Drawn, keys_of
from harness.generation import (
    Case,
    Disorder,
    Size,
    agents,
    cases,
    inputs,
    inputs_by_schema,
    timelines,
    values,
    workflows,
)
from harness.oracle import Plan, Undecided, allowed

_VALIDATOR = Draft202012Validator(contract.schema("workflow"))
quick = settings(max_examples=80, derandomize=True, deadline=None)


@quick
@given(workflows(Size(most_steps=20, deepest=5)))
def test_workflows_fit_the_contract(workflow: dict[str, object]) -> None:
    """They are valid against the schema, and what is written as JSON comes back the same."""
    assert list(_VALIDATOR.iter_errors(workflow)) == []
    assert json.loads(json.dumps(workflow)) == workflow


@quick
@given(st.data())
def test_agents_and_inputs_are_made_for_a_workflow(data: st.DataObject) -> None:
    """Every agent that a step names has a script, and the oracle can follow what comes of it."""
    workflow = data.draw(workflows())
    scripts = data.draw(agents(workflow))
    given_input = data.draw(inputs(workflow))
    assert {step["agent_name"] for step in workflow["steps"].values() if "agent_name" in step} == set(scripts)
    assert allowed(workflow, given_input, scripts).statuses <= {"COMPLETED", "FAILED"}


@quick
@given(st.data())
def test_a_timeline_goes_with_its_workflow_and_agents(data: st.DataObject) -> None:
    """Acts stand in the forms of scenario files, and their outcome can be told."""
    workflow = data.draw(workflows(Size(most_steps=5)))
    scripts = data.draw(agents(workflow))
    given_input = data.draw(inputs(workflow))
    changed, scripts, acts = data.draw(timelines(workflow, given_input, scripts))
    case = Case(changed, scripts, given_input, acts)
    assert case.allowed().statuses


@quick
@given(cases())
def test_a_case_is_known_by_its_key(case: Case) -> None:
    """The key holds all of it."""
    assert Case.of_key(case.key) == Case.of_key(Case.of_key(case.key).key)
    assert Case.of_key(case.key).key == case.key


@quick
@given(values())
def test_values_can_be_held_by_every_part(value: object) -> None:
    """No U+0000, no lone surrogate, no number beyond those that JSON implementations agree on."""
    text = json.dumps(value, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text
    assert "NaN" not in json.dumps(value).replace('"NaN"', "")


def test_inputs_follow_a_schema() -> None:
    """What the schema demands is there."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    assert find(inputs_by_schema(schema), lambda _: True)["n"] == 3
    with pytest.raises(ValueError, match="multipleOf"):
        inputs_by_schema({"type": "integer", "multipleOf": 3})


def test_agents_are_held_for_what_runs_side_by_side() -> None:
    """Steps of a parallel, branches of a fork_join, and iterations of a parallel loop: what waits for one another is never
    asked together."""
    seen: Counter[str] = Counter()

    @settings(max_examples=1200, derandomize=True, deadline=None, database=None)
    @given(cases(Size(most_steps=8), Disorder(words=("together",), one_in=1)))
    def each(case: Case) -> None:
        for act in case.timeline:
            awaited = act["when"].get("all", [act["when"]])
            held = next(step for step in case.workflow["steps"].values() if step.get("agent_name") == act["release"])
            if len(awaited) == 2:
                plan = Plan.of(case.workflow)
                seen[plan.kind(plan.slots[held["id"]].parent)] += 1
            elif awaited[0]["calls"]["at_least"] > 1:
                seen["loop"] += 1

    each()
    assert set(seen) == {"parallel", "fork_join", "loop"}


def test_equal_seeds_give_equal_cases() -> None:
    """And others give others."""
    one = keys_of(Drawn("smoke", 5, 30))
    assert one == keys_of(Drawn("smoke", 5, 30))
    assert one != keys_of(Drawn("smoke", 6, 30))


def test_all_features_are_drawn() -> None:
    """Within half a minute's cases, batch by batch, every feature of the format has come up, and every one names clauses that exist."""
    known = {clause.id for clause in contract.clauses()}
    assert {clause for clauses in CLAUSES.values() for clause in clauses} <= known
    seen: Counter[str] = Counter()
    undecided = 0
    keys = [key for seed in range(20) for key in keys_of(Drawn("ci", seed, 60))]
    for key in keys:
        case = Case.of_key(key)
        seen.update(features(case))
        try:
            case.allowed()
        except Undecided:
            undecided += case.flaw is None
    assert set(CLAUSES) - set(seen) == set()
    assert set(seen) <= set(CLAUSES)
    assert undecided * 50 <= len(keys)
