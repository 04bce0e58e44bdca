"""Validation: each mistake is told once, with its place, what is wrong, and what to write instead where that is known."""

from __future__ import annotations

import copy
import time

import pytest
from hypothesis import given

import contract
from system.definitions import InvalidDefinition, Problem, load_definition, load_plan
from tests.engine.mistakes import MISTAKES, Change, Raw, agent, config, deep, reference, sound, step
from tests.engine.strategies import Options, definitions


def problems_of(definition: object) -> list[Problem]:
    with pytest.raises(InvalidDefinition) as raised:
        load_definition(definition)
    return raised.value.problems


@pytest.mark.parametrize(
    ("change", "pointer", "message", "suggestion"),
    [pytest.param(*mistake[1:], id=f"{mistake[0]}-{index}") for index, mistake in enumerate(MISTAKES)],
)
def test_one_mistake_is_told_once(change: Change, pointer: str, message: str, suggestion: str | None) -> None:
    definition = sound()
    change(definition)
    assert problems_of(definition) == [Problem(pointer, message, suggestion)]


@pytest.mark.parametrize("change", [mistake[1] for mistake in MISTAKES])
def test_a_plan_is_judged_as_a_definition_is(change: Change) -> None:
    """FAI-06: one set of rules for both."""
    definition = sound()
    change(definition)
    with pytest.raises(InvalidDefinition) as raised:
        load_plan({**definition, "workflow_id": "wf-w-1", "version": "1"})
    assert raised.value.problems == problems_of(definition)


def test_the_sound_definition_and_the_examples_of_the_schemas_are_accepted() -> None:
    load_definition(sound())
    for example in contract.schema("workflow")["examples"]:
        load_definition(example)
    for example in contract.schema("workflow_plan")["examples"]:
        assert load_plan(example).version is not None


@pytest.mark.parametrize(
    "change",
    [
        reference("l1", "${yes.output} ${no.output}"),
        reference("l1", "${one.output} ${each.output.iterations[0]} ${first.output}"),
        reference("handle", "${prepare.output} ${two.output} ${loop.index}"),
        reference("choice", "${one.output}"),
        step("one", type="agent", parallel_steps=5, loop_config=[], condition=None, fork_join_config={"branches": 1}),
        step("first", input_mapping=None, name=None, description=7),
        lambda d: d.update(description=None, unknown={"x": 1}),
        config("each", execution_mode=None, on_error=None, max_iterations=None, max_parallelism=None),
        config("each", collection=[1, "${first.output.x}"]),
        config("fork", join_policy="all", n_required=7),
        config("fork", n_required=2.0),
        step("one", input_mapping={"k": deep(99)}),
        lambda d: d["steps"].update({"both": {**d["steps"]["both"], "max_parallelism": 2147483647}}),
    ],
)
def test_what_the_contract_allows_is_accepted(change: Change) -> None:
    """DEF-05, DEF-15, REF-20, REF-21, REF-23 among others."""
    definition = sound()
    change(definition)
    load_definition(definition)


@given(definitions(Options(time_outs=True, order_matters=True)))
def test_every_legal_definition_is_accepted_and_left_as_it_is(definition: Raw) -> None:
    before = copy.deepcopy(definition)
    loaded = load_definition(definition)
    assert definition == before
    assert set(loaded.steps) == set(definition["steps"])


@pytest.mark.parametrize(
    "data", [None, 5, "x", [], True, {}, {"steps": []}, {"name": "w", "start_step": "a", "steps": {"a": 5}}]
)
def test_what_is_no_definition_at_all_is_refused(data: object) -> None:
    assert problems_of(data)


@pytest.mark.parametrize("levels", [100, 101, 3000])
def test_nesting_has_a_limit(levels: int) -> None:
    steps = {
        f"s{n}": {"id": f"s{n}", "type": "conditional", "condition": {"expression": "1"}, "if_true_step": f"s{n + 1}"}
        for n in range(levels)
    }
    steps[f"s{levels}"] = agent(f"s{levels}")
    definition = {"name": "w", "start_step": "s0", "steps": steps}
    if levels > 100:
        assert problems_of(definition) == [Problem("/steps/s101", "step 's101' is nested deeper than 100 levels")]
    else:
        load_definition(definition)


def test_steps_that_contain_each_other_are_refused() -> None:
    definition = sound()
    for one, other in (("p", "q"), ("q", "p")):
        definition["steps"][one] = {
            "id": one, "type": "conditional", "condition": {"expression": "1"}, "if_true_step": other,
        }  # fmt: skip
    assert problems_of(definition) == [Problem("/steps/p", "step 'p' can never run: only a cycle of steps leads to it")]
    definition = sound()
    definition["steps"]["r1"].update(type="conditional", condition={"expression": "1"}, if_true_step="fork")
    assert problems_of(definition)[0] == Problem(
        "/steps/each/next_step",
        "step 'fork' is named here, and runs already as part of 'r1'",
        "a step has one place: give a copy of it an id of its own",
    )


def test_a_definition_full_of_mistakes_is_refused_in_time_with_fifty_of_them() -> None:
    steps = {f"step number {n}": agent(f"step number {n}", next_step=f"step nomber {n}") for n in range(3000)}
    begun = time.process_time()
    assert len(problems_of({"name": "w", "start_step": "step number 0", "steps": steps})) == 50
    for raw in steps.values():
        raw["type"] = "nothing"
    assert len(problems_of({"name": "w", "start_step": "step number 0", "steps": steps})) == 50
    assert time.process_time() - begun < 20
