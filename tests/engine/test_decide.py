"""Single decisions: what each event does to a run, and what of disorder is let pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from system.definitions import load_definition
from system.engine.decide import decide, decide_many, restore
from system.engine.decisions import (
    ClearTimer,
    Decision,
    Ignored,
    PublishTask,
    RunChanged,
    SetTimer,
    StepChanged,
    StepSuperseded,
)
from system.engine.events import (
    BranchTimedOut,
    CancellationRequested,
    Event,
    ExecutionRequested,
    PlanRejected,
    ResultReceived,
    RunTimedOut,
)
from system.engine.state import RunState, child_path, task_id
from tests.engine.invariants import snapshot
from tests.engine.simulation import START, Simulation
from tests.engine.strategies import ODD_IDS, Behaviour, Case, Options, cases

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


# start and end


def test_a_run_goes_through_its_chain_and_tells_every_transition() -> None:
    state, decisions = decide(pending(agent("a", next_step="b"), agent("b")), ExecutionRequested(START), START)
    assert [type(decision) for decision in decisions] == [RunChanged, StepChanged, PublishTask]
    state, decisions = answered(state, "a", output={"n": 1})
    assert [type(decision) for decision in decisions] == [StepChanged, StepChanged, PublishTask]
    state, decisions = answered(state, "b")
    assert [type(decision) for decision in decisions] == [StepChanged, RunChanged]
    assert (state.status, state.error_message) == ("COMPLETED", None)
    assert (state.steps["a"].output_data, state.steps["b"].output_data) == ({"n": 1}, None)


@pytest.mark.parametrize("step_id", ["a", "it's", "\n", '"', "a/b", "日本語", "both ' and \""])
def test_the_message_of_a_failed_run_names_the_step_as_it_is_written(step_id: str) -> None:
    """FAI-02, FAI-03: ids with quotes or line feeds are not escaped away."""
    state = started(agent(step_id))
    state, _ = answered(state, child_path(None, step_id), error='the agent\'s "word"\n')
    assert state.error_message == f"step '{step_id}' failed: the agent's \"word\"\n"


@pytest.mark.parametrize("message", [None, ""])
def test_a_failure_without_a_message_gets_one(message: str | None) -> None:
    state = started(agent("a"))
    (task,) = state.in_flight
    state, _ = decide(state, ResultReceived(task, False, {"ignored": 1}, message), START)
    assert state.steps["a"].error_message == "the agent gave no reason"
    assert state.steps["a"].output_data is None


def test_a_plan_that_was_rejected_ends_the_run_once() -> None:
    state = RunState("run-1", "PENDING", None, {}, START)
    state, decisions = decide(state, PlanRejected("no steps"), START)
    assert decisions == [RunChanged("FAILED", "no steps", START)]
    assert isinstance(decide(state, PlanRejected("no steps"), START)[1][0], Ignored)


def test_a_deadline_ends_the_run_with_all_that_is_open() -> None:
    state = started(PAIR, agent("a"), agent("b"))
    state, decisions = decide(state, RunTimedOut(60), START)
    assert {record.status for record in state.steps.values()} == {"FAILED"}
    assert state.error_message == "the run did not end within its deadline of 60 s"
    assert isinstance(decisions[-1], RunChanged)
    assert not state.in_flight
    assert not state.frames


EVENTS: list[Event] = [
    ExecutionRequested(START), PlanRejected("x"), CancellationRequested(START), ResultReceived("t", True), BranchTimedOut("f:l"),
    RunTimedOut(1),
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("error", [None, "boom"])
def test_nothing_changes_a_run_that_has_ended(event: Event, error: str | None) -> None:
    state, _ = answered(started(agent("a")), "a", error=error)
    after, (decision,) = decide(state, event, START + SECOND)
    assert after is state
    assert isinstance(decision, Ignored)


# time


def test_time_never_runs_backwards_in_a_run() -> None:
    state = pending(agent("a", next_step="b"), agent("b"))
    state, _ = decide(state, ExecutionRequested(START), START - 3600 * SECOND)
    assert state.steps["a"].started_at == START
    state, _ = decide(state, result(state, "a"), START + 9 * SECOND)
    state, decisions = decide(state, result(state, "b"), START)
    assert state.steps["b"].started_at == state.steps["b"].completed_at == START + 9 * SECOND
    assert decisions[-1] == RunChanged("COMPLETED", None, START + 9 * SECOND)


# cancellation


def test_a_cancellation_of_a_pending_run_and_its_request_after() -> None:
    """CAN-05, CAN-07."""
    state, decisions = decide(pending(agent("a")), CancellationRequested(START - SECOND), START)
    assert [type(decision) for decision in decisions] == [RunChanged]
    assert isinstance(decide(state, ExecutionRequested(START), START)[1][0], Ignored)


def test_a_row_that_was_cancelled_has_its_steps_ended_even_by_an_old_message() -> None:
    """The API sets the row first; what tells of it may carry a time from before a retry by another clock."""
    state, _ = retried(answered(started(agent("a")), "a", error="boom")[0], at=START + SECOND)
    state, decisions = decide(rows(state, status="CANCELLED"), CancellationRequested(START - SECOND), START + SECOND)
    assert [type(decision) for decision in decisions] == [StepChanged]
    assert state.steps["a"].status == "CANCELLED"


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("request_age", [0, 100])
def test_an_old_cancellation_does_not_touch_the_retried_run(counted: bool, request_age: int) -> None:
    """CAN-11: before and after the request is taken up, by whoever the retry was played, whatever request arrives."""
    cancellation = CancellationRequested(START + SECOND)
    state, _ = decide(started(agent("a")), cancellation, START + SECOND)
    again = rows(state, status="PENDING", generation=1 if counted else 0)
    assert decide(again, cancellation, START + 2 * SECOND)[0] is again
    old_request = ExecutionRequested(START + 2 * SECOND - request_age * SECOND)
    again, _ = decide(again, old_request, START + 2 * SECOND)
    assert again.status == "RUNNING"
    assert decide(again, cancellation, START + 3 * SECOND)[0] is again
    assert decide(again, CancellationRequested(START + 4 * SECOND), START + 4 * SECOND)[0].status == "CANCELLED"


# retries


def test_a_retry_that_was_not_counted_makes_new_attempts_all_the_same() -> None:
    """RES-08: whoever plays the API knows the contract's columns only."""
    state = started(agent("a"))
    first = state.steps["a"]
    state, _ = answered(state, "a", error="boom")
    state, decisions = decide(rows(state, status="PENDING"), ExecutionRequested(START), START)
    assert (state.generation, state.steps["a"].generation, state.steps["a"].attempt) == (1, 1, 2)
    assert state.steps["a"].task_id != first.task_id
    assert StepSuperseded("a", 0) in decisions


def test_what_was_in_flight_keeps_its_task_through_a_cancellation() -> None:
    """RES-09, RES-10."""
    state = started(agent("a"))
    (task,) = state.in_flight
    state, _ = decide(state, CancellationRequested(START), START)
    state, decisions = retried(state)
    assert published(decisions) == ["a"]
    assert list(state.in_flight) == [task]
    state, _ = decide(state, ResultReceived(task, True, {}), START)
    assert state.status == "COMPLETED"


def test_a_retry_that_comes_before_its_cancellation_is_heard_of_keeps_the_task() -> None:
    state = started(PAIR, agent("a"), agent("b"))
    tasks = set(state.in_flight)
    state, decisions = decide(rows(state, status="PENDING", generation=1), ExecutionRequested(START), START)
    assert sorted(published(decisions)) == ["p/a", "p/b"]
    assert set(state.in_flight) == tasks


@pytest.mark.parametrize(
    "config", [{}, {"execution_mode": "parallel", "max_parallelism": 2}], ids=["sequential", "parallel"]
)
def test_iterations_that_run_again_keep_within_the_limit(config: Raw) -> None:
    """LOP-04, LOP-05, RES-04: iterations that failed behind a completed step are begun again one after another."""
    body = [agent("a"), agent("b")]
    state = started(loop("a", "b", on_error="continue", **config), *body, input_data={"items": [0] * 6})
    for number in range(5):
        state, _ = answered(state, f"l[{number}]/a")
        state, _ = answered(state, f"l[{number}]/b", error="boom")
    state, _ = decide(state, CancellationRequested(START), START)
    state, decisions = retried(state)
    limit = config.get("max_parallelism", 1)
    assert published(decisions) == [f"l[{number}]/b" for number in range(limit)]
    for number in range(5):
        state, _ = answered(state, f"l[{number}]/b")
        assert len(state.in_flight) <= limit
    state, _ = answered(state, "l[5]/a")
    state, _ = answered(state, "l[5]/b")
    assert state.steps["l"].output_data["failed_count"] == 0


def test_failures_anywhere_within_what_is_completed_stay() -> None:
    """RES-05, at depth two: the loop is COMPLETED, the parallel in it and a step of that FAILED."""
    state = started(
        loop("p", on_error="continue") | {"next_step": "z"},
        PAIR,
        agent("a"),
        agent("b"),
        agent("z"),
        input_data={"items": [0]},
    )
    state, _ = answered(state, "l[0]/p/a", error="boom")
    state, _ = answered(state, "l[0]/p/b")
    state, _ = answered(state, "z", error="boom")
    before = dict(state.steps)
    state, decisions = retried(state)
    assert [decision for decision in decisions if isinstance(decision, StepSuperseded)] == [StepSuperseded("z", 0)]
    assert all(state.steps[path] == record for path, record in before.items() if path != "z")
    assert published(decisions) == ["z"]


def test_resume_from_step_makes_new_attempts_of_all_that_follows() -> None:
    """RES-06, with a composite among what follows."""
    state = started(agent("s", next_step="p"), PAIR | {"next_step": "z"}, agent("a"), agent("b"), agent("z"))
    for path in ("s", "p/a", "p/b"):
        state, _ = answered(state, path)
    old = set(state.in_flight) | {record.task_id for record in state.steps.values()}
    state, _ = decide(state, CancellationRequested(START), START)
    state, decisions = retried(state, "p")
    assert published(decisions) == ["p/a", "p/b"]
    assert not set(state.in_flight) & old
    assert state.steps["s"].generation == 0


@pytest.mark.parametrize("name", ["nowhere", "a", ""])
def test_a_step_that_cannot_be_resumed_from_ends_the_run_with_the_reason(name: str) -> None:
    """Nothing that is COMPLETED is thrown away for a name that is none, or that of a step within another."""
    state = started(PAIR, agent("a"), agent("b"))
    state, _ = answered(answered(state, "p/a")[0], "p/b", error="boom")
    state, decisions = retried(state, name)
    assert state.status == "FAILED"
    assert f"cannot be resumed from step '{name}'" in (state.error_message or "")
    assert published(decisions) == []
    assert retried(state)[0].steps["p/a"].status == "COMPLETED"


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


# task ids and paths


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["run-1", "run-2"]),
            st.lists(
                st.tuples(
                    st.sampled_from(ODD_IDS) | st.text("ab/%:[]0\n", min_size=1, max_size=4),
                    st.none() | st.integers(0, 12) | st.sampled_from(["l", "a/b", ":", "0]", "%3A"]),
                ),
                min_size=1,
                max_size=3,
            ).map(tuple),
            st.integers(1, 12),
        ),
        unique=True,
        min_size=2,
        max_size=6,
    )
)
def test_a_task_id_is_that_of_one_attempt_at_one_place_of_one_run(
    places: list[tuple[str, tuple[Any, ...], int]],
) -> None:
    ids = {(run, _normal(place), attempt): task_id(run, _path(place), attempt) for run, place, attempt in places}
    again = {(run, _normal(place), attempt): task_id(run, _path(place), attempt) for run, place, attempt in places}
    assert ids == again
    assert len(set(ids.values())) == len(ids)


def _normal(place: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((step_id, where if index else None) for index, (step_id, where) in enumerate(place))


def _path(place: tuple[Any, ...]) -> str:
    path: str | None = None
    for step_id, where in place:
        iteration = where if isinstance(where, int) else None
        path = child_path(path, step_id, iteration, where if isinstance(where, str) else None)
    assert path is not None
    return path


# several events at once


@given(cases(Options(order_matters=True, time_outs=True)), st.integers(0, 2**32), st.integers(1, 12))
def test_several_events_at_once_are_the_same_as_one_after_another(case: Case, seed: int, size: int) -> None:
    simulation = Simulation(case, seed, checked=False)
    state = simulation.state
    simulation.start()
    simulation.live(30, most_retries=0)
    for begin in range(0, len(simulation.past), size):
        batch = simulation.past[begin : begin + size]
        before, frozen = state, snapshot(state)
        folded = state
        expected = []
        for event in batch:
            folded, decisions = decide(folded, event, START)
            expected.append(decisions)
        state, told = decide_many(state, batch, START)
        assert told == expected
        assert state == folded
        assert snapshot(before) == frozen


def test_no_events_change_nothing() -> None:
    state = started(agent("a"))
    assert decide_many(state, [], START) == (state, [])


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
