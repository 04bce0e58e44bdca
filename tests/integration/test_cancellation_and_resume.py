"""Cancelling, retrying, and the death of the process that holds the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.agents import Echo, Fail, Held, Ok, Steps, always
from harness.client import ApiRefused

if TYPE_CHECKING:
    from tests.integration.conftest import Executor

TASKS, RESULTS = "orchestrator.tasks.http", "results.topic"


def ok(**members: int) -> Ok:
    """An answer whose output is these members and a text of its own, to which the bridge adds nothing."""
    return Ok({**members, "text": "done"})


def called(executor: Executor, agent: str, times: int = 1) -> None:
    """Wait until an agent has been called so often."""
    executor.agents.wait_for(lambda calls: sum(call.agent == agent for call in calls) >= times, 30)


def test_a_cancelled_run_dispatches_nothing_more_and_its_late_result_changes_nothing(executor: Executor) -> None:
    """The step in flight is answered after the cancellation; the run beside it goes through."""
    held, agent = executor.agent(always(Held())), executor.agent(always(Echo()))
    definition = executor.chain(held, agent)
    workflow = executor.api.create_workflow(definition)
    run_id = executor.api.execute(workflow["id"], {"message": "cancel me"})["run_id"]
    other = executor.api.execute(workflow["id"], {"message": "leave me"})["run_id"]
    called(executor, held, 2)
    assert executor.api.cancel(run_id, "no longer needed")["status"] == "CANCELLED"
    executor.agents.release(held)
    executor.messages.wait_for(run_id, RESULTS, lambda seen: len(seen) >= 1, "the late result")
    assert executor.ended(other)["status"] == "COMPLETED"
    # The other run's steps went through after the late result, or in its company: one more behind it is proof enough.
    assert executor.ended(executor.start(executor.chain(agent), message="behind"))["status"] == "COMPLETED"
    row = executor.run_row(run_id)
    assert (row["status"], row["completed_at"]) == ("CANCELLED", None)
    assert row["cancelled_at"] is not None
    assert len(executor.messages.of(run_id, TASKS)) == 1
    assert [(step["step_id"], step["output_data"]) for step in executor.step_rows(run_id)] == [("s1", None)]


def test_a_completed_run_cannot_be_cancelled_nor_retried(executor: Executor) -> None:
    """Both are refused, and the run stays COMPLETED."""
    run_id = executor.start(executor.chain(executor.agent(always(Echo()))), message="x")
    assert executor.ended(run_id)["status"] == "COMPLETED"
    for refused in (lambda: executor.api.cancel(run_id), lambda: executor.api.retry(run_id)):
        with pytest.raises(ApiRefused) as caught:
            refused()
        assert caught.value.status in (400, 409)
    assert executor.api.run(run_id)["status"] == "COMPLETED"


def test_a_run_outlives_the_death_of_every_consumer(executor: Executor) -> None:
    """Both consumers are killed while the second step is in flight; the first step is not dispatched again."""
    first, held = executor.agent(always(ok(n=1))), executor.agent(always(Held(ok(n=2))))
    last = executor.agent(always(ok(n=3)))
    run_id = executor.start(executor.chain(first, held, last), message="x")
    called(executor, held)
    before = executor.messages.of(run_id, TASKS)
    consumers = list(executor.running.role("consumer"))
    for consumer in consumers:
        consumer.kill()
    # The result comes while nobody is there to take it.
    executor.agents.release(held)
    executor.messages.wait_for(run_id, RESULTS, lambda seen: len(seen) >= 2, "the second result")
    for consumer in consumers:
        consumer.start(wait=False)
    assert executor.ended(run_id)["status"] == "COMPLETED"
    steps = executor.step_rows(run_id)
    assert [(step["step_id"], step["output_data"]) for step in steps] == [
        ("s1", {"n": 1, "text": "done"}),
        ("s2", {"n": 2, "text": "done"}),
        ("s3", {"n": 3, "text": "done"}),
    ]
    tasks = executor.messages.of(run_id, TASKS)
    assert len({task["task_id"] for task in tasks}) == 3
    assert [task["task_id"] for task in tasks if task["agent_name"] == first] == [before[0]["task_id"]]
    assert len(executor.agents.ledger(first)) == 1


def test_a_run_outlives_the_death_of_the_bridge_that_calls_its_agent(executor: Executor) -> None:
    """The call is made again by the next bridge, with the same idempotency key."""
    held = executor.agent(always(Held()))
    run_id = executor.start(executor.chain(held), message="x")
    called(executor, held)
    (bridge,) = executor.running.role("bridge")
    bridge.kill()
    executor.agents.wait_for(lambda calls: any(call.agent == held and call.ending for call in calls), 20)
    executor.agents.release(held)
    bridge.start(wait=False)
    assert executor.ended(run_id)["status"] == "COMPLETED"
    first, second = executor.agents.ledger(held)
    assert (first.ending, second.ending) == ("caller left", "answered")
    assert first.idempotency_key == second.idempotency_key == executor.messages.of(run_id, TASKS)[0]["task_id"]


def test_a_retry_goes_on_after_the_last_completed_step(executor: Executor) -> None:
    """The completed step's output is used again; only the failed step and those after it are dispatched."""
    first = executor.agent(Steps((ok(call=1), ok(call=2))))
    flaky, last = executor.agent(Steps((Fail("not today"), Echo()))), executor.agent(always(Echo()))
    run_id = executor.start(executor.chain(first, flaky, last), message="x")
    assert executor.ended(run_id)["status"] == "FAILED"
    assert executor.api.retry(run_id)["status"] == "PENDING"
    assert executor.ended(run_id)["status"] == "COMPLETED"
    assert len(executor.agents.ledger(first)) == 1
    steps = {step["step_id"]: step for step in executor.step_rows(run_id)}
    assert steps["s2"]["input_data"] == {"message": "x", "before": {"call": 1, "text": "done"}}
    tasks = executor.messages.of(run_id, TASKS)
    assert [task["agent_name"] for task in tasks] == [first, flaky, flaky, last]
    assert len({task["task_id"] for task in tasks}) == 4
    row = executor.run_row(run_id)
    assert row["error_message"] is None


def test_a_retry_from_a_step_runs_it_and_what_follows_again(executor: Executor) -> None:
    """`resume_from_step` names a completed step; the one before it keeps its output."""
    counting = [executor.agent(Steps((ok(call=1), ok(call=2)))) for _ in range(2)]
    flaky = executor.agent(Steps((Fail("not today"), Echo())))
    run_id = executor.start(executor.chain(*counting, flaky), message="x")
    assert executor.ended(run_id)["status"] == "FAILED"
    executor.api.retry(run_id, "s2")
    assert executor.ended(run_id)["status"] == "COMPLETED"
    steps = {step["step_id"]: step for step in executor.step_rows(run_id)}
    assert (steps["s1"]["output_data"], steps["s2"]["output_data"]) == (
        {"call": 1, "text": "done"},
        {"call": 2, "text": "done"},
    )
    assert steps["s3"]["input_data"]["before"] == {"call": 2, "text": "done"}
    assert [len(executor.agents.ledger(agent)) for agent in (*counting, flaky)] == [1, 2, 2]


def test_a_cancelled_run_that_is_retried_goes_on_with_the_step_that_was_in_flight(executor: Executor) -> None:
    """It is the same work, so it is dispatched under the same task_id, and its result counts once."""
    held, last = executor.agent(always(Held(ok(n=1)))), executor.agent(always(Echo()))
    run_id = executor.start(executor.chain(held, last), message="x")
    called(executor, held)
    assert executor.api.cancel(run_id)["status"] == "CANCELLED"
    assert executor.api.retry(run_id)["status"] == "PENDING"
    executor.messages.wait_for(run_id, TASKS, lambda seen: len(seen) >= 2, "the task again")
    executor.agents.release(held)
    run = executor.ended(run_id)
    assert (run["status"], run["cancelled_at"]) == ("COMPLETED", None)
    first, again, following = executor.messages.of(run_id, TASKS)
    assert first["task_id"] == again["task_id"] != following["task_id"]
    assert following["input_data"]["before"] == {"n": 1, "text": "done"}


def test_a_consumer_that_hangs_loses_no_run(executor: Executor) -> None:
    """One of two consumers is stopped in its tracks while runs are started; all go through, also when it wakes up."""
    agent = executor.agent(always(Echo()))
    workflow = executor.api.create_workflow(executor.chain(agent, agent))
    hanging = executor.running.role("consumer")[0]
    hanging.pause()
    runs = [executor.api.execute(workflow["id"], {"message": str(n)})["run_id"] for n in range(12)]
    assert [executor.ended(run_id)["status"] for run_id in runs] == ["COMPLETED"] * 12
    hanging.resume()
    more = [executor.api.execute(workflow["id"], {"message": str(n)})["run_id"] for n in range(12)]
    assert [executor.ended(run_id)["status"] for run_id in more] == ["COMPLETED"] * 12
    assert all(len({task["task_id"] for task in executor.messages.of(run_id, TASKS)}) == 2 for run_id in (*runs, *more))
