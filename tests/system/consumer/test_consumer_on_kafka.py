"""One loop on the real Kafka; requests, cancellations and results come from kafka-python."""

from __future__ import annotations

import json
import time
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.consumer.conftest import Lab


def test_a_request_for_an_unknown_run_writes_its_row_and_the_run_completes(running: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    running.publish(running.requests, say.request(run_id, say.plan("a", "b"), {"x": "hello"}))
    running.finish(run_id, 2)
    row = running.rows.run(run_id)
    assert (row["workflow_id"], row["workflow_name"], row["input_data"]) == ("wf-test-1", "test", {"x": "hello"})
    assert row["completed_at"] >= row["started_at"] >= row["created_at"]
    steps = running.rows.execute("SELECT * FROM step_executions WHERE run_id = :r ORDER BY id", r=run_id)
    assert [(step["step_id"], step["status"], step["input_data"]) for step in steps] == [
        ("a", "COMPLETED", {"x": "hello"}), ("b", "COMPLETED", {"x": "hello"}),
    ]  # fmt: skip
    told = [
        (run_id, "RUNNING"), ("a", "RUNNING"), ("a", "COMPLETED"), ("b", "RUNNING"), ("b", "COMPLETED"),
        (run_id, "COMPLETED"),
    ]  # fmt: skip
    updates = say.until(
        lambda: len(seen := running.values(running.updates_topic, run_id)) >= len(told) and seen, "all updates"
    )
    assert [(update["step_id"], update["status"]) for update in updates] == told


def test_copies_of_a_request_start_the_run_once(running: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    request = say.request(run_id)
    for partition in (0, 1, 2, 0):
        running.publish(running.requests, request, partition=partition)
    running.finish(run_id, 1)
    running.publish(running.requests, request)
    running.await_all_read()
    assert len(running.tasks(run_id, 1)) == 1
    assert running.rows.status(run_id) == "COMPLETED"


def test_a_pending_row_of_somebody_elses_api_runs_with_its_own_input(running: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    running.rows.execute(
        "INSERT INTO workflow_runs (run_id, workflow_id, workflow_name, workflow_definition_id, status, input_data,"
        " triggered_by, created_at, updated_at)"
        " VALUES (:r, 'wf-foreign-7', 'foreign', gen_random_uuid(), 'PENDING', '{\"x\": \"row\"}', 'eve', now(), now())",
        r=run_id,
    )
    running.publish(running.requests, say.request(run_id, input_data={"x": "message"}))
    assert running.tasks(run_id, 1)[0]["input_data"] == {"x": "row"}
    running.finish(run_id, 1)
    row = running.rows.run(run_id)
    assert (row["input_data"], row["triggered_by"], row["workflow_id"]) == ({"x": "row"}, "eve", "wf-foreign-7")


def test_a_cancellation_ends_the_run_and_late_results_change_nothing(running: Lab, say: SimpleNamespace) -> None:
    run_id, other = say.new_run_id(), say.new_run_id()
    for each in (run_id, other):
        running.publish(running.requests, say.request(each, say.plan("a", "b")))
    task = running.tasks(run_id, 1)[0]
    running.publish(running.cancellations, say.cancellation(run_id, reason="enough"))
    ended = running.await_status(run_id, "CANCELLED")
    running.publish(running.results, say.result(task))
    running.publish(running.cancellations, say.cancellation(run_id, cancelled_by="bob"))
    running.await_all_read()
    assert running.rows.run(run_id) == ended
    assert running.rows.steps(run_id) == [("a", "CANCELLED")]
    assert len(running.tasks(run_id, 1)) == 1
    running.finish(other, 2)


def test_a_cancellation_after_the_end_changes_nothing(running: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    running.publish(running.requests, say.request(run_id))
    running.finish(run_id, 1)
    ended = running.rows.run(run_id)
    running.publish(running.cancellations, say.cancellation(run_id))
    running.await_all_read()
    assert running.rows.run(run_id) == ended


def test_a_cancellation_of_a_run_that_never_comes_changes_nothing(running: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    running.publish(running.cancellations, say.cancellation(run_id))
    running.await_all_read()
    assert running.rows.status(run_id) is None


def test_late_duplicate_and_foreign_results_change_nothing(running: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    running.publish(running.requests, say.request(run_id, say.plan("a", "b")))
    task = running.tasks(run_id, 1)[0]
    foreign = [
        say.result({**task, "task_id": str(uuid.uuid4())}, {"x": "foreign"}),
        say.result({**task, "run_id": say.new_run_id()}, {"x": "foreign"}),
        say.result({**task, "run_id": "not even an id"}, {"x": "foreign"}),
    ]
    for answer in foreign:
        running.publish(running.results, answer, partition=0)
    first = say.result(task, {"x": "first"})
    for answer in (first, first, say.result(task, {"x": "second"}), say.result(task, error="third")):
        running.publish(running.results, answer, partition=0)
    assert running.tasks(run_id, 2)[1]["input_data"] == {"x": "first"}
    running.finish(run_id, 2, first=2)
    running.publish(running.results, say.result(task, error="late"))
    running.await_all_read()
    assert running.rows.status(run_id) == "COMPLETED"
    assert len(running.tasks(run_id, 2)) == 2


@pytest.mark.parametrize("key", [None, b"", b"some other key", b"\xff\x00"], ids=["none", "empty", "other", "bytes"])
def test_a_result_is_taken_with_any_key_and_with_unknown_fields(running: Lab, say: SimpleNamespace, key: Any) -> None:
    run_id = say.new_run_id()
    running.publish(running.requests, say.request(run_id, extra={"a": [1]}))
    answer = say.result(running.tasks(run_id, 1)[0], agent_version=7, nested={"x": [None]})
    running._producer.send(running.results, key=key, value=json.dumps(answer).encode()).get(10)
    running.await_status(run_id, "COMPLETED")


def test_a_plan_that_is_not_valid_fails_its_run_with_the_reason(running: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    plan = say.plan("a")
    plan["steps"]["a"]["next_step"] = "nowhere"
    running.publish(running.requests, say.request(run_id, plan))
    row = running.await_status(run_id, "FAILED")
    assert "nowhere" in row["error_message"]
    assert running.rows.steps(run_id) == []


def test_a_failure_fails_the_run_with_the_agents_message_and_nothing_after_it(
    running: Lab, say: SimpleNamespace
) -> None:
    run_id = say.new_run_id()
    running.publish(running.requests, say.request(run_id, say.plan("a", "b")))
    running.publish(running.results, say.result(running.tasks(run_id, 1)[0], error="the agent is out of paper"))
    row = running.await_status(run_id, "FAILED")
    assert "out of paper" in row["error_message"]
    assert "a" in row["error_message"]
    running.await_all_read()
    assert len(running.tasks(run_id, 1)) == 1


def test_a_foreign_retry_reuses_the_outputs_of_completed_steps(running: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    request = say.request(run_id, say.plan("a", "b"))
    running.publish(running.requests, request)
    running.publish(running.results, say.result(running.tasks(run_id, 1)[0], {"x": "kept"}))
    running.publish(running.results, say.result(running.tasks(run_id, 2)[1], error="no"))
    running.await_status(run_id, "FAILED")
    running.rows.execute("UPDATE workflow_runs SET status = 'PENDING' WHERE run_id = :r", r=run_id)
    running.publish(running.requests, request)
    again = running.tasks(run_id, 3)[2]
    assert again["input_data"] == {"x": "kept"}
    running.publish(running.results, say.result(again))
    assert running.await_status(run_id, "COMPLETED")["error_message"] is None


def test_what_is_no_valid_message_is_set_aside_and_what_is_behind_it_goes_on(lab: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    bad = {
        lab.requests: [
            None,
            b"",
            b"\xff\xfe",
            b"[]",
            b"{",
            b"NaN",
            b"[" * 5000,
            json.dumps(say.request("run-1")).encode(),
        ],
        lab.cancellations: [b"null", json.dumps(say.cancellation(run_id, message_type="x")).encode()],
        lab.results: [b'"text"', json.dumps({"run_id": run_id}).encode()],
    }
    for topic, values in bad.items():
        for value in values:
            lab.publish(topic, value, key=b"the key", partition=1)
    lab.publish(lab.requests, say.request(run_id), partition=1)
    with lab.looping():
        lab.finish(run_id, 1)
        for topic, values in bad.items():
            letters = lab.letters(topic, len(values))
            assert [letter.value for letter in letters] == [value or b"" for value in values]
            for number, letter in enumerate(letters):
                headers = dict(letter.headers)
                assert letter.key == b"the key"
                assert headers["source_topic"] == topic.encode()
                assert (headers["source_partition"], headers["source_offset"]) == (b"1", str(number).encode())
                assert headers["reason"]
        lab.await_all_read()


def test_two_loops_share_runs_whose_messages_land_anywhere(lab: Lab, say: SimpleNamespace) -> None:
    run_ids = [say.new_run_id() for _ in range(12)]
    with lab.looping(), lab.looping():
        for number, run_id in enumerate(run_ids):
            lab.publish(lab.requests, say.request(run_id, say.plan("a", "b", "c", "d")), partition=number % 3)
        for step in range(1, 5):
            for number, run_id in enumerate(run_ids):
                lab.publish(lab.results, say.result(lab.tasks(run_id, step)[-1]), partition=(number + step) % 3)
        for run_id in run_ids:
            lab.await_status(run_id, "COMPLETED")
            assert len(lab.tasks(run_id, 4)) == 4


def test_a_loop_that_joins_and_one_that_leaves_lose_no_run(lab: Lab, say: SimpleNamespace) -> None:
    run_ids = [say.new_run_id() for _ in range(6)]
    with lab.looping():
        for run_id in run_ids:
            lab.publish(lab.requests, say.request(run_id, say.plan("a", "b", "c")))
        for run_id in run_ids:
            lab.publish(lab.results, say.result(lab.tasks(run_id, 1)[-1]))
        with lab.looping():
            for run_id in run_ids:
                lab.publish(lab.results, say.result(lab.tasks(run_id, 2)[-1]))
        for run_id in run_ids:
            lab.publish(lab.results, say.result(lab.tasks(run_id, 3)[-1]))
        for run_id in run_ids:
            lab.await_status(run_id, "COMPLETED")


def test_throughput_does_not_wait_for_idle_polls(running: Lab, say: SimpleNamespace) -> None:
    run_id = say.new_run_id()
    names = [f"s{number}" for number in range(20)]
    running.publish(running.requests, say.request(run_id, say.plan(*names)))
    began = time.monotonic()
    running.finish(run_id, 20)
    # Twenty round trips at the pace of a poll that waits its whole time out would take two seconds and more.
    assert time.monotonic() - began < 10
