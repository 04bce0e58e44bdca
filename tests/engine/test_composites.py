"""Composite steps: limits, policies, loops that stop and branches that run out of time (PAR, LOP, FJN)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from system.engine.decide import decide, restore
from system.engine.decisions import (
    ClearTimer,
    Ignored,
    SetTimer,
    StepChanged,
)
from system.engine.events import (
    BranchTimedOut,
    CancellationRequested,
    ExecutionRequested,
    ResultReceived,
)
from system.engine.state import task_id
from tests.engine.agents import Behaviour
from tests.engine.building import (
    FORK,
    PAIR,
    SECOND,
    Raw,
    agent,
    answered,
    loop,
    pending,
    published,
    result,
    retried,
    started,
    workflow,
)
from tests.engine.simulation import START, Simulation
from tests.engine.strategies import Case

# loops that stop


def test_a_loop_that_stops_starts_nothing_more_also_when_it_comes_back_from_its_rows() -> None:
    """LOP-10, RES-14: at restore the failure counts before further iterations are looked at."""
    config = {"execution_mode": "parallel", "max_parallelism": 3, "on_error": "stop"}
    state = started(loop("a", **config), agent("a"), input_data={"items": [0] * 9})
    state, decisions = answered(state, "l[1]/a", error="boom")
    assert published(decisions) == []
    again, decisions = restore(replace(state, steps={}, frames={}, in_flight={}), state.steps.values(), START)
    assert (again, decisions) == (state, [])
    for path in ("l[0]/a", "l[2]/a"):
        again, decisions = answered(again, path)
        assert published(decisions) == []
    assert again.error_message == "step 'l' failed: iteration 1: step 'a' failed: boom"


def test_collect_tells_the_message_of_each_failed_entry_and_continue_does_not() -> None:
    for on_error, entry in (("collect", {"error_message": "boom"}), ("continue", {})):
        state = started(loop("a", on_error=on_error), agent("a"), input_data={"items": [0]})
        state, _ = answered(state, "l[0]/a", error="boom")
        assert state.steps["l"].output_data == {
            "iterations": [{"step_id": "a", "status": "FAILED", "output_data": None, **entry}],
            "total_count": 1,
            "failed_count": 1,
        }


def test_loop_variables_are_those_of_the_nearest_loop_and_of_what_will_run() -> None:
    """REF-13, REF-14 with max_iterations, and a collection that reads the loop around it."""
    outer: Raw = {"id": "o", "type": "loop", "loop_config": {"collection": [[1, 2, 3], [4]], "loop_body": ["l"]}}
    mapping = {name: f"${{loop.{name}}}" for name in ("item", "index", "total", "is_first", "is_last")}
    inner = loop("a", collection="${loop.item}", max_iterations=2, execution_mode="parallel")
    state = started(outer, inner | {"input_mapping": {"i": "${loop.index}"}}, agent("a", input_mapping=mapping))
    assert state.steps["o[0]/l"].input_data == {"i": 0}
    assert [state.steps[f"o[0]/l[{n}]/a"].input_data for n in (0, 1)] == [
        {"item": 1, "index": 0, "total": 2, "is_first": True, "is_last": False},
        {"item": 2, "index": 1, "total": 2, "is_first": False, "is_last": True},
    ]


# time-outs


def test_a_branch_that_times_out_ends_with_all_that_is_open_in_it() -> None:
    """FJN-10, FJN-11."""
    state, decisions = decide(
        pending(FORK | {"next_step": "z"}, agent("a"), agent("c"), agent("b"), agent("z")),
        ExecutionRequested(START),
        START,
    )
    assert [decision for decision in decisions if isinstance(decision, SetTimer)] == [
        SetTimer("f:l", START + 5 * SECOND)
    ]
    late = result(state, "f:l/a")
    state, decisions = decide(state, BranchTimedOut("f:l"), START + 5 * SECOND)
    assert state.steps["f:l/a"].status == "FAILED"
    assert ClearTimer("f:l") in decisions
    assert decide(state, late, START + 6 * SECOND)[0] is state
    state, decisions = answered(state, "f:r/b", output={"n": 1})
    assert state.steps["f"].output_data == {"l": None, "r": {"n": 1}}
    assert published(decisions) == ["z"]


def test_a_timer_of_before_a_retry_does_not_end_the_branch_early() -> None:
    """FJN-10: the branch of the retried run has its whole time; whoever fired the old timer is told the new one again."""
    state = started(FORK, agent("a"), agent("c"), agent("b"))
    state, _ = decide(state, CancellationRequested(START + SECOND), START + SECOND)
    state, _ = retried(state, at=START + 3 * SECOND)
    after, decisions = decide(state, BranchTimedOut("f:l"), START + 5 * SECOND)
    assert after is state
    assert decisions == [SetTimer("f:l", START + 8 * SECOND)]
    assert decide(state, BranchTimedOut("f:l"), START + 8 * SECOND)[0].steps["f:l/a"].status == "FAILED"


def test_a_time_out_leaves_a_branch_alone_whose_name_begins_alike() -> None:
    branches = {"l": {"steps": ["a"], "timeout_seconds": 5}, "l2": {"steps": ["b"]}, " l": {"steps": ["c"]}}
    fork = {"id": "f", "type": "fork_join", "fork_join_config": {"branches": branches, "join_policy": "any"}}
    state = started(fork, agent("a"), agent("b"), agent("c"))
    state, _ = decide(state, BranchTimedOut("f:l"), START + 5 * SECOND)
    assert set(state.in_flight.values()) == {"f:l2/b", "f: l/c"}


@pytest.mark.parametrize("path", ["", "f", "f:", "f:r", "f:l/a", "f:L", "g:l", "f:l:l"])
def test_a_timer_of_no_open_branch_with_a_time_out_is_ignored(path: str) -> None:
    state = started(FORK, agent("a"), agent("c"), agent("b"))
    after, (decision,) = decide(state, BranchTimedOut(path), START + 3600 * SECOND)
    assert after is state
    assert isinstance(decision, Ignored)


def test_what_the_rows_lack_is_made_up_for_with_its_timers() -> None:
    """A RUNNING run of which the rows end before a fork_join begins it anew, time-outs included."""
    state = started(agent("s", next_step="f"), FORK, agent("a"), agent("c"), agent("b"))
    done = replace(state.steps["s"], status="COMPLETED", completed_at=START, output_data={})
    _, decisions = restore(replace(state, steps={}, frames={}, in_flight={}), [done], START)
    assert published(decisions) == ["f:l/a", "f:r/b"]
    assert SetTimer("f:l", START + 5 * SECOND) in decisions


# composites side by side


def test_messages_of_a_parallel_stand_in_the_order_of_the_definition() -> None:
    for order in (("p/a", "p/b"), ("p/b", "p/a")):
        state = started(PAIR, agent("a"), agent("b"))
        for path in order:
            state, _ = answered(state, path, error=f"boom of {path[-1]}")
        assert state.error_message == "step 'p' failed: step 'a' failed: boom of a; step 'b' failed: boom of b"


def test_a_free_place_is_used_at_once_in_the_order_of_the_list() -> None:
    """PAR-03, PAR-04: a composite among the children takes one place, whatever is in it."""
    children = [agent(name) for name in ("c", "d", "e")]
    inner = {"id": "q", "type": "parallel", "parallel_steps": ["a", "b"]}
    outer = {"id": "p", "type": "parallel", "parallel_steps": ["q", "c", "d", "e"], "max_parallelism": 2}
    state = started(outer, inner, agent("a"), agent("b"), *children)
    assert set(state.in_flight.values()) == {"p/q/a", "p/q/b", "p/c"}
    for path, following in (("p/c", ["p/d"]), ("p/q/a", []), ("p/q/b", ["p/e"])):
        state, decisions = answered(state, path)
        assert published(decisions) == following


@pytest.mark.parametrize(
    ("policy", "failing", "status"),
    [
        ("all", 0, "COMPLETED"), ("all", 1, "FAILED"), ("any", 3, "COMPLETED"), ("any", 4, "FAILED"),
        ("majority", 1, "COMPLETED"), ("majority", 2, "FAILED"), ("n_of_m", 1, "COMPLETED"), ("n_of_m", 2, "FAILED"),
    ],
)  # fmt: skip
def test_a_policy_is_judged_when_every_branch_has_ended(policy: str, failing: int, status: str) -> None:
    """FJN-04 to FJN-09, with four branches and n_required 3."""
    names = ["a", "b", "c", "d"]
    config = {"branches": {name: {"steps": [name]} for name in names}, "join_policy": policy, "n_required": 3}
    fork = {"id": "f", "type": "fork_join", "fork_join_config": config}
    state = started(fork, *map(agent, names))
    for number, name in enumerate(names):
        assert state.status == "RUNNING"
        state, _ = answered(state, f"f:{name}/{name}", error="boom" if number < failing else None, output={"n": number})
    assert state.status == status
    assert bool(state.error_message) == (status == "FAILED")
    if status == "COMPLETED":
        outputs = [None if number < failing else {"n": number} for number in range(4)]
        assert list(state.steps["f"].output_data.values()) == outputs


def test_the_first_result_for_a_task_counts() -> None:
    """DEL-03, ISO-04."""
    state = started(PAIR, agent("a"), agent("b"))
    first = result(state, "p/a", output={"n": 1})
    state, _ = decide(state, first, START)
    for other in (first, replace(first, output={"n": 2}), replace(first, succeeded=False, error_message="x")):
        assert decide(state, other, START)[0] is state
    assert decide(state, ResultReceived(task_id("run-2", "p/b", 1), True), START)[0] is state


def test_the_order_of_decisions_is_the_order_of_happening() -> None:
    """Each row's transition comes before what follows from it (OBS-03): parents begin before children and end after."""
    simulation = Simulation(Case(workflow(PAIR, agent("a"), agent("b")), {}, Behaviour()))
    decisions = simulation.feed(ExecutionRequested(START))
    while simulation.state.status == "RUNNING":
        decisions += simulation.feed(
            result(simulation.state, sorted(simulation.state.in_flight.values())[0], output={})
        )
    told = [(d.record.path, d.record.status) for d in decisions if isinstance(d, StepChanged)]
    assert told == [
        ("p", "RUNNING"), ("p/a", "RUNNING"), ("p/b", "RUNNING"), ("p/a", "COMPLETED"), ("p/b", "COMPLETED"), ("p", "COMPLETED"),
    ]  # fmt: skip
    times = [d.record.completed_at or d.record.started_at for d in decisions if isinstance(d, StepChanged)]
    assert all(one <= other for one, other in pairwise(times))


def test_a_result_of_another_run_of_the_same_definition_is_ignored() -> None:
    """ISO-03, ISO-04."""
    mine = started(agent("a"))
    theirs = decide(replace(pending(agent("a")), run_id="run-2"), ExecutionRequested(START), START)[0]
    assert decide(mine, result(theirs, "a"), START)[0] is mine


# what references see


@pytest.mark.parametrize("text", ["${a.output}", "$.a.output_data", "<${a.output}>"])
def test_the_output_of_a_step_whose_failure_was_absorbed_cannot_be_referred_to(text: str) -> None:
    """REF-21: it has none, not even null."""
    after = agent("z", input_mapping={"k": text})
    state = started(FORK | {"next_step": "z"}, agent("a"), agent("c"), agent("b"), after)
    state, _ = answered(state, "f:l/a", error="boom")
    state, decisions = answered(state, "f:r/b", output={})
    reference = text.strip("<>")
    assert (
        state.error_message == f"step 'z' failed: reference {reference} cannot be resolved: step 'a' did not complete"
    )
    assert published(decisions) == []


def test_the_output_of_a_branch_that_was_not_taken_cannot_be_referred_to() -> None:
    """REF-20, on both sides."""
    choice = {"id": "c", "type": "conditional", "if_true_step": "t", "if_false_step": "e", "next_step": "z"}
    for flag, error in (
        (True, None),
        (False, "step 'z' failed: reference ${t.output} cannot be resolved: step 't' did not run"),
    ):
        condition = {"condition": {"expression": "${workflow.input.flag}"}}
        steps = [choice | condition, agent("t"), agent("e"), agent("z", input_mapping={"k": "${t.output}"})]
        state = started(*steps, input_data={"flag": flag})
        state, _ = answered(state, "c/t" if flag else "c/e", output={"n": 1})
        assert state.error_message == error


def test_steps_within_composites_within_a_loop_see_its_variables_and_their_own_iteration() -> None:
    """REF-14, REF-22: through a fork_join, a conditional and a parallel between the loop and the step."""
    mapping = {"index": "${loop.index}", "first": "${a.output.n}"}
    state = started(
        loop("a", "f", execution_mode="parallel"),
        agent("a"),
        {
            "id": "f",
            "type": "fork_join",
            "fork_join_config": {"branches": {"l": {"steps": ["c"]}, "r": {"steps": ["r"]}}, "join_policy": "all"},
        },
        {"id": "c", "type": "conditional", "condition": {"expression": "${loop.item} == 'x'"}, "if_true_step": "p"},
        {"id": "p", "type": "parallel", "parallel_steps": ["deep", "r2"]},
        agent("deep", input_mapping=mapping),
        agent("r", input_mapping=mapping),
        agent("r2"),
        input_data={"items": ["x", "x"]},
    )
    for number in (1, 0):
        state, _ = answered(state, f"l[{number}]/a", output={"n": number * 10})
    for number in (0, 1):
        expected = {"index": number, "first": number * 10}
        assert state.steps[f"l[{number}]/f:l/c/p/deep"].input_data == expected
        assert state.steps[f"l[{number}]/f:r/r"].input_data == expected
