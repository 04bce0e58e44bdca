"""Retries: what is kept, what runs again, and under which task id (RES)."""

from __future__ import annotations

import pytest

from system.engine.decide import decide
from system.engine.decisions import (
    StepSuperseded,
)
from system.engine.events import (
    CancellationRequested,
    ExecutionRequested,
    ResultReceived,
)
from tests.engine.building import (
    PAIR,
    SECOND,
    Raw,
    agent,
    answered,
    loop,
    published,
    retried,
    rows,
    started,
)
from tests.engine.simulation import START


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


@pytest.mark.parametrize("resume_from_step", [None, "l"])
def test_a_second_retry_finds_what_the_first_one_did_not_come_to(resume_from_step: str | None) -> None:
    """Iteration 1 waits through the first retry, its parallel superseded, with a step in it COMPLETED and one CANCELLED."""
    state = started(loop("p", on_error="continue"), PAIR, agent("a"), agent("b"), input_data={"items": [0, 1]})
    state, _ = answered(state, "l[0]/p/a", error="boom")
    state, _ = answered(state, "l[0]/p/b")
    state, _ = answered(state, "l[1]/p/a", output={"n": 1})
    waiting = state.steps["l[1]/p/b"].task_id
    state, _ = decide(state, CancellationRequested(START), START)
    state, decisions = retried(state)
    assert published(decisions) == ["l[0]/p/a"]
    state, _ = decide(state, CancellationRequested(START + SECOND), START + SECOND)
    state, decisions = retried(state, resume_from_step, at=START + 2 * SECOND)
    assert published(decisions) == (["l[0]/p/a"] if resume_from_step is None else ["l[0]/p/a", "l[0]/p/b"])
    for path in published(decisions):
        state, decisions = answered(state, path)
    if resume_from_step is None:
        assert published(decisions) == ["l[1]/p/b"]
        assert state.steps["l[1]/p/b"].task_id == waiting
        assert state.steps["l[1]/p/a"].output_data == {"n": 1}
    else:
        assert published(decisions) == ["l[1]/p/a", "l[1]/p/b"]
        assert state.steps["l[1]/p/b"].task_id != waiting
