"""Runs that go through, and runs that fail: over REST, Kafka and rows at once."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.agents import Echo, Fail, Held, HttpStatus, Ok, Steps, always

if TYPE_CHECKING:
    from tests.integration.conftest import Executor

REQUESTS, TASKS, RESULTS = "workflow.execution.requests", "orchestrator.tasks.http", "results.topic"
UPDATES = "workflow.monitoring.updates"


def step_updates(executor: Executor, run_id: str, count: int) -> list[tuple[str, str]]:
    """(step, status) of the run's monitoring updates that tell of steps, once there are so many."""

    def of_steps(found: list[dict[str, object]]) -> list[tuple[str, str]]:
        return [
            (str(update["step_id"]), str(update["status"]))
            for update in found
            if not isinstance(scope := update.get("metadata"), dict) or scope.get("scope") != "run"
        ]

    found = executor.messages.wait_for(run_id, UPDATES, lambda seen: len(of_steps(seen)) >= count, f"{count} updates")
    return of_steps(found)


def test_a_run_of_three_steps_completes_and_rest_rows_and_messages_agree(executor: Executor) -> None:
    """Each step gets exactly its resolved mapping, and every source tells the same story in the same order."""
    agent = executor.agent(always(Echo()))
    last = executor.agent(always(Ok({"answer": 42, "text": "done"})))
    run_id = executor.start(executor.chain(agent, agent, last), message="hello")
    run = executor.ended(run_id)
    assert run["status"] == "COMPLETED"
    assert run["error_message"] is None
    row = executor.run_row(run_id)
    assert row["status"] == "COMPLETED"
    assert row["created_at"] <= row["started_at"] <= row["completed_at"]
    steps = executor.step_rows(run_id)
    assert [(step["step_id"], step["status"]) for step in steps] == [
        ("s1", "COMPLETED"),
        ("s2", "COMPLETED"),
        ("s3", "COMPLETED"),
    ]
    assert steps[0]["input_data"] == {"message": "hello"}
    assert steps[1]["input_data"] == {"message": "hello", "before": steps[0]["output_data"]}
    assert steps[2]["input_data"] == {"message": "hello", "before": steps[1]["output_data"]}
    assert steps[2]["output_data"] == {"answer": 42, "text": "done"}
    told = executor.api.steps(run_id)
    assert [(step["step_id"], step["output_data"]) for step in told] == [
        (step["step_id"], step["output_data"]) for step in steps
    ]
    assert step_updates(executor, run_id, 6) == [
        (step, status) for step in ("s1", "s2", "s3") for status in ("RUNNING", "COMPLETED")
    ]
    tasks = executor.messages.of(run_id, TASKS)
    assert [(task["agent_name"], task["input_data"]) for task in tasks] == [
        (step["agent_name"], step["input_data"]) for step in steps
    ]
    results = executor.messages.wait_for(run_id, RESULTS, lambda seen: len(seen) >= 3, "three results")
    assert [(result["task_id"], result["status"], result["correlation_id"]) for result in results] == [
        (task["task_id"], "SUCCESS", task["correlation_id"]) for task in tasks
    ]
    calls = [call for call in executor.agents.ledger() if call.task_id in {task["task_id"] for task in tasks}]
    assert [call.idempotency_key for call in calls] == [task["task_id"] for task in tasks]


def test_a_step_that_fails_ends_the_run_and_nothing_after_it_is_dispatched(executor: Executor) -> None:
    """The run's and the step's error carry the agent's message."""
    good, bad = executor.agent(always(Echo())), executor.agent(always(Fail("the moon is in the way")))
    run_id = executor.start(executor.chain(good, bad, good), message="x")
    run = executor.ended(run_id)
    assert run["status"] == "FAILED"
    assert "the moon is in the way" in (run["error_message"] or "")
    assert run["completed_at"] is not None
    steps = executor.step_rows(run_id)
    assert [(step["step_id"], step["status"]) for step in steps] == [("s1", "COMPLETED"), ("s2", "FAILED")]
    assert "the moon is in the way" in steps[1]["error_message"]
    assert step_updates(executor, run_id, 4)[-1] == ("s2", "FAILED")
    assert len(executor.messages.of(run_id, TASKS)) == 2


def test_a_server_error_is_retried_by_the_bridge_and_the_run_completes(executor: Executor) -> None:
    """503 and then an answer: two calls with one idempotency key, one task, one result."""
    agent = executor.agent(Steps((HttpStatus(503), Echo())))
    run_id = executor.start(executor.chain(agent), message="x")
    assert executor.ended(run_id)["status"] == "COMPLETED"
    first, second = executor.agents.ledger(agent)
    assert first.idempotency_key == second.idempotency_key
    assert len(executor.messages.of(run_id, TASKS)) == 1


def test_a_loop_in_parallel_with_a_failing_item_collects(executor: Executor) -> None:
    """`collect` lets the other items go through; the loop's output has them in order."""
    agent = executor.agent(Steps((Echo(), Fail("item"), Echo()), per="agent"))
    definition = executor.chain(
        agent,
        more={
            "each": {
                "id": "each",
                "type": "loop",
                "next_step": None,
                "loop_config": {
                    "collection": "${workflow.input.items}",
                    "loop_body": ["body"],
                    "execution_mode": "sequential",
                    "on_error": "collect",
                },
            },
            "body": {"id": "body", "type": "agent", "agent_name": agent, "input_mapping": {"item": "${loop.item}"}},
        },
    )
    definition["steps"]["s1"]["next_step"] = "each"
    run_id = executor.start(definition, message="x", items=["a", "b", "c"])
    assert executor.ended(run_id)["status"] == "COMPLETED"
    (loop,) = [step for step in executor.step_rows(run_id) if step["step_id"] == "each"]
    assert [entry["status"] for entry in loop["output_data"]["iterations"]] == ["FAILED", "COMPLETED", "COMPLETED"]
    assert (loop["output_data"]["total_count"], loop["output_data"]["failed_count"]) == (3, 1)


def test_a_request_from_kafka_alone_starts_its_run_once_however_often_it_comes(executor: Executor) -> None:
    """The executor writes the row itself; the copies of the request change nothing."""
    agent = executor.agent(always(Echo()))
    run_id = f"run-{uuid.uuid4()}"
    request = execution_request(run_id, executor.chain(agent), message="from kafka")
    for _ in range(3):
        executor.publish(REQUESTS, run_id, request)
    executor.wait_until(lambda: executor.rows("SELECT 1 FROM workflow_runs WHERE run_id = %s", run_id), "a row")
    assert executor.ended(run_id)["status"] == "COMPLETED"
    marker = executor.start(executor.chain(agent), message="behind the copies")
    assert executor.ended(marker)["status"] == "COMPLETED"
    assert len(executor.messages.of(run_id, TASKS)) == 1
    assert executor.step_rows(run_id)[0]["input_data"] == {"message": "from kafka"}


def test_a_plan_that_is_not_valid_ends_its_run_failed_with_the_reason(executor: Executor) -> None:
    """A plan whose start step does not exist is not silently dropped."""
    run_id = f"run-{uuid.uuid4()}"
    plan = {"name": executor.name("wf"), "start_step": "nowhere", "steps": executor.chain("nobody")["steps"]}
    executor.publish(REQUESTS, run_id, execution_request(run_id, plan))
    executor.wait_until(lambda: executor.rows("SELECT 1 FROM workflow_runs WHERE run_id = %s", run_id), "a row")
    run = executor.ended(run_id)
    assert run["status"] == "FAILED"
    assert "nowhere" in (run["error_message"] or "")


def test_messages_that_are_no_messages_do_not_stop_what_stands_behind_them(executor: Executor) -> None:
    """Garbage on each topic that the executor and the bridge read; a run in flight and a new one both complete."""
    held, agent = executor.agent(always(Held())), executor.agent(always(Echo()))
    in_flight = executor.start(executor.chain(held, agent), message="x")
    executor.agents.wait_for(lambda calls: any(call.agent == held for call in calls), 20)
    for topic in (REQUESTS, "workflow.cancellation.requests", RESULTS, TASKS):
        for garbage in (b"", b"{", b"[]", b'{"run_id": 7}', b"\xff\xfe", b'{"run_id": "run-1", "task_id": null}'):
            executor.publish(topic, in_flight, garbage)
    executor.agents.release(held)
    assert executor.ended(in_flight)["status"] == "COMPLETED"
    assert executor.ended(executor.start(executor.chain(agent), message="x"))["status"] == "COMPLETED"


def execution_request(run_id: str, plan: dict[str, object], **input_data: object) -> dict[str, object]:
    """An ExecutionRequest as a client of another make publishes it."""
    return {
        "run_id": run_id,
        "workflow_plan": {**plan, "workflow_id": f"wf-{plan['name']}-1", "version": "1"},
        "input_data": input_data,
        "timestamp": datetime.now(UTC).isoformat(),
        "message_type": "execution_request",
    }
