"""Single decisions: what each event does to a run, and what of disorder is let pass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from system.engine.decide import decide, decide_many
from system.engine.decisions import (
    Ignored,
    PublishTask,
    RunChanged,
    StepChanged,
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
from system.engine.state import RunState, branch_path, child_path, task_id
from tests.engine.building import (
    PAIR,
    SECOND,
    agent,
    answered,
    pending,
    result,
    retried,
    rows,
    started,
)
from tests.engine.invariants import snapshot
from tests.engine.simulation import START, Simulation
from tests.engine.strategies import ODD_IDS, Case, Options, cases

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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (child_path(child_path(None, "f:l"), "x"), child_path("f", "x", branch="l")),
        (child_path(None, "f:l"), branch_path("f", "l")),
        (child_path(None, "a/b"), child_path("a", "b")),
        (child_path(child_path(None, "l[0]"), "x"), child_path("l", "x", 0)),
        (child_path(None, "a%2Fb"), child_path(None, "a/b")),
        (child_path("f", "x", branch="a/b"), child_path(child_path("f", "b", branch="a"), "x")),
        (child_path("f", "x", branch="l:m"), child_path("f:l", "x", branch="m")),
    ],
)
def test_no_two_places_share_a_path_whatever_the_ids_hold(one: str, other: str) -> None:
    assert one != other


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
