"""What the contenders are asked to do, what they must give back, and how much of it is measured."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

import contract
from benchmarks.measures import Sizes
from benchmarks.workload import FURTHER, Workload

ALL = [Workload(), *FURTHER]


@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.slug)
def test_every_workload_is_a_workflow_of_the_contract(workload: Workload) -> None:
    definition = workload.definition("bench", "echo")
    assert [error.message for error in Draft202012Validator(contract.schema("workflow")).iter_errors(definition)] == []
    assert definition["start_step"] in definition["steps"]
    assert workload.last_step in definition["steps"]


def test_steps_one_after_the_other_are_each_fed_by_the_one_before() -> None:
    workload = Workload(steps=3)
    steps = workload.definition("bench", "echo")["steps"]
    assert [step["input_mapping"]["message"] for step in steps.values()] == [
        "${workflow.input.message}",
        "${step1.output.message}",
        "${step2.output.message}",
    ]
    assert [step["next_step"] for step in steps.values()] == ["step2", "step3", None]
    given = workload.input_data(7)
    assert workload.expected_output(given) == given == workload.output_of(given)
    with pytest.raises(ValueError, match="fed by the one before"):
        workload.inputs_of_calls(given)


def test_branches_give_back_all_that_their_calls_gave_in_their_order() -> None:
    """Whatever the order in which the executor lists them; a branch that is missing is not made up."""
    workload = Workload(steps=3, shape="parallel")
    given = workload.input_data(0)
    calls = [{"message": given["message"], "number": number} for number in range(3)]
    assert workload.expected_output(given) == calls == workload.inputs_of_calls(given)
    output = {"step3": calls[2], "step1": calls[0], "step2": calls[1]}
    assert workload.output_of(output) == calls
    del output["step1"]
    assert workload.output_of(output) == [None, *calls[1:]]
    with pytest.raises(ValueError, match="two branches at least"):
        Workload(steps=1, shape="parallel")


def test_a_loop_gives_back_what_each_iteration_gave() -> None:
    workload = Workload(steps=4, shape="loop")
    given = workload.input_data(0)
    assert given["items"] == [0, 1, 2, 3]
    calls = workload.inputs_of_calls(given)
    iterations = [{"step_id": "step1", "status": "COMPLETED", "output_data": call} for call in calls]
    assert workload.output_of({"iterations": iterations, "total_count": 4, "failed_count": 0}) == calls
    assert workload.expected_output(given) == calls
    assert [call["number"] for call in calls] == [0, 1, 2, 3]


def test_the_payload_has_the_length_that_was_asked_for_and_differs_from_run_to_run() -> None:
    for size in (8, 32, 1_000, 100_000):
        messages = {Workload(payload_bytes=size).input_data(number)["message"] for number in range(5)}
        assert {len(message) for message in messages} == {size}
        assert len(messages) == 5


def test_the_titles_of_the_workloads_tell_them_apart() -> None:
    assert [workload.title for workload in ALL] == [
        "3 sequential steps, 32 B payload",
        "1 sequential step, 32 B payload",
        "10 sequential steps, 32 B payload",
        "50 sequential steps, 32 B payload",
        "10 parallel branches, 32 B payload",
        "a loop of 100 iterations, 32 B payload",
        "3 sequential steps, 1 kB payload",
        "3 sequential steps, 100 kB payload",
    ]
    assert len({workload.slug for workload in ALL}) == len(ALL)


def test_more_work_for_a_run_means_fewer_runs_and_never_more_than_were_asked_for() -> None:
    sizes = Sizes(runs=2000, latency_runs=200, warm_up_runs=200, submitters=3)
    scaled = [sizes.scaled_to(Workload(steps=steps)) for steps in (1, 3, 10, 50, 1000)]
    assert [each.runs for each in scaled] == sorted((each.runs for each in scaled), reverse=True)
    assert scaled[0].runs <= 2000
    assert scaled[-1] == Sizes(100, 20, 10, 3)
    assert sizes.scaled_to(Workload(payload_bytes=100_000)).runs < sizes.scaled_to(Workload(payload_bytes=1_000)).runs
    assert Sizes(5, 4, 3, 2).scaled_to(Workload(steps=50)) == Sizes(5, 4, 3, 2)
