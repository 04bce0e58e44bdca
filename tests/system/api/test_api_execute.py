"""Executing a workflow: what 202 promises, what goes to Kafka, and what an Idempotency-Key does."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import contract
from tests.waiting import until

Definition = Callable[..., dict[str, Any]]
Messages = Callable[[str, str, int], list[dict[str, Any]]]
TOPIC = "workflow.execution.requests"


def place(workflow: dict[str, Any]) -> str:
    return f"/api/v1/workflows/{workflow['id']}/execute"


def test_an_accepted_run_is_a_pending_row_that_can_be_read(client: Any, workflow: dict[str, Any]) -> None:
    answer = client.post(place(workflow), json={"input_data": {"message": "hi"}}, headers={"X-User": "ada"})
    assert answer.status_code == 202
    assert answer.json["status"] == "PENDING"
    assert uuid.UUID(answer.json["run_id"].removeprefix("run-"))
    run = client.get(answer.headers["Location"]).json
    assert run["run_id"] == answer.json["run_id"]
    assert (run["status"], run["input_data"], run["triggered_by"]) == ("PENDING", {"message": "hi"}, "ada")
    assert (run["workflow_id"], run["workflow_definition_id"]) == (workflow["workflow_id"], workflow["id"])
    assert run["created_at"] == answer.json["created_at"]


def test_the_request_on_kafka_is_the_run_with_its_plan(
    client: Any, workflow: dict[str, Any], execute: Callable[..., str], messages_of: Messages
) -> None:
    run_id = execute(message="hi", n=2**70, text="Ünïcode \U0001f600 '; DROP TABLE x; -- ${a}")
    (message,) = messages_of(TOPIC, run_id, 1)
    Draft202012Validator(contract.schema("execution_request")).validate(message)
    plan = message["workflow_plan"]
    Draft202012Validator(contract.schema("workflow_plan")).validate(plan)
    assert plan["workflow_id"] == f"wf-{workflow['name']}-1"
    assert (plan["version"], plan["start_step"], plan["steps"]) == ("1", workflow["start_step"], workflow["steps"])
    run = client.get(f"/api/v1/runs/{run_id}").json
    assert message["timestamp"] == run["created_at"]
    assert message["input_data"]["text"] == run["input_data"]["text"]
    assert "resume_from_step" not in message


def test_whole_numbers_reach_the_row_and_kafka_unchanged(served: Any, execute: Callable[..., str]) -> None:
    run_id = execute(n=2**70)
    (row,) = served.rows("SELECT input_data ->> 'n' AS n FROM workflow_runs WHERE run_id = :run_id", run_id=run_id)
    assert row["n"] == str(2**70)


def test_the_entry_leaves_the_outbox_once_kafka_has_it(served: Any, execute: Callable[..., str]) -> None:
    run_id = execute()
    (row,) = served.rows("SELECT outbox_id FROM workflow_runs WHERE run_id = :run_id", run_id=run_id)
    until(lambda: not served.rows("SELECT 1 FROM outbox WHERE id = :id", id=row["outbox_id"]), "the entry is removed")


def test_runs_of_one_version_share_one_stored_plan(served: Any, execute: Callable[..., str]) -> None:
    found = served.rows(
        "SELECT r.plan_digest, p.plan FROM workflow_runs r JOIN workflow_plans p ON p.digest = r.plan_digest "
        "WHERE r.run_id = ANY(:ids)",
        ids=[execute(), execute()],
    )
    assert len(found) == 2
    assert found[0] == found[1]


@pytest.mark.parametrize("body", ['{"input_data": []}', '{"input_data": null}', '{"input_data": 1}', "[]", "1", "null"])
def test_an_input_that_is_no_object_starts_nothing(
    served: Any, client: Any, workflow: dict[str, Any], body: str
) -> None:
    assert client.post(place(workflow), data=body, content_type="application/json").status_code == 422
    assert not served.rows("SELECT 1 FROM workflow_runs WHERE workflow_id = :id", id=workflow["workflow_id"])


def test_a_body_without_input_starts_the_run_with_an_empty_one(client: Any, workflow: dict[str, Any]) -> None:
    for answer in (client.post(place(workflow), json={}), client.post(place(workflow))):
        assert answer.status_code == 202
        assert client.get(f"/api/v1/runs/{answer.json['run_id']}").json["input_data"] == {}


def test_every_process_executes_the_newest_version(
    served: Any, another: Any, workflow: dict[str, Any], definition: Definition
) -> None:
    clients = [served.client(), another.client()]
    for client in clients:
        assert client.post(place(workflow), json={}).json["workflow_id"].endswith("-1")
    changed = clients[0].put(f"/api/v1/workflows/{workflow['id']}", json=definition(name=workflow["name"]))
    assert changed.json["version"] == 2
    for client in clients:
        assert client.post(place(workflow), json={}).json["workflow_id"].endswith("-2")
    assert clients[1].delete(f"/api/v1/workflows/{workflow['id']}").status_code == 204
    for client in clients:
        assert client.post(place(workflow), json={}).status_code == 404


def test_an_unknown_workflow_is_not_executed(client: Any) -> None:
    for unknown in (str(uuid.uuid4()), "nonsense", "%00", "x" * 500):
        assert client.post(f"/api/v1/workflows/{unknown}/execute", json={}).status_code == 404


def test_a_request_too_large_for_kafka_is_refused_before_it_is_written(
    served: Any, client: Any, definition: Definition
) -> None:
    body = definition()
    body["steps"]["greet"]["input_mapping"] = {"text": "x" * 600_000}
    workflow = client.post("/api/v1/workflows", json=body).json
    assert client.post(place(workflow), json={"input_data": {"text": "x" * 600_000}}).status_code == 413
    assert not served.rows("SELECT 1 FROM workflow_runs WHERE workflow_id = :id", id=workflow["workflow_id"])


def test_one_key_and_body_start_one_run(served: Any, client: Any, workflow: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "order 1"}
    first = client.post(place(workflow), json={"input_data": {"a": 1, "b": 2}}, headers=headers)
    again = client.post(place(workflow), json={"input_data": {"b": 2, "a": 1}}, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json == again.json
    assert len(served.rows("SELECT 1 FROM workflow_runs WHERE workflow_id = :id", id=workflow["workflow_id"])) == 1


def test_a_key_with_another_body_is_refused(client: Any, workflow: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "order 2"}
    first = client.post(place(workflow), json={"input_data": {"a": 1}}, headers=headers)
    other = client.post(place(workflow), json={"input_data": {"a": 2}}, headers=headers)
    assert other.status_code == 409
    assert other.json["run_id"] == first.json["run_id"]


def test_a_key_belongs_to_one_workflow(client: Any, workflow: dict[str, Any], definition: Definition) -> None:
    headers, other = {"Idempotency-Key": "order 3"}, client.post("/api/v1/workflows", json=definition()).json
    runs = {client.post(place(each), json={}, headers=headers).json["run_id"] for each in (workflow, other)}
    assert len(runs) == 2


def test_a_key_still_answers_after_the_workflow_has_changed_or_gone(
    client: Any, workflow: dict[str, Any], definition: Definition
) -> None:
    headers, where = {"Idempotency-Key": "order 4"}, f"/api/v1/workflows/{workflow['id']}"
    first = client.post(place(workflow), json={}, headers=headers).json
    client.put(where, json=definition(name=workflow["name"]))
    assert client.post(place(workflow), json={}, headers=headers).json == first
    client.delete(where)
    assert client.post(place(workflow), json={}, headers=headers).json == first


def test_requests_with_one_key_at_once_start_one_run(served: Any, another: Any, workflow: dict[str, Any]) -> None:
    gate, runs = threading.Barrier(8), []

    def start(client: Any) -> None:
        gate.wait()
        answer = client.post(place(workflow), json={}, headers={"Idempotency-Key": "race"})
        runs.append((answer.status_code, answer.json["run_id"]))

    threads = [threading.Thread(target=start, args=(each.client(),)) for each in (served, another) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 8
    assert len(set(runs)) == 1
    assert runs[0][0] == 202
    assert len(served.rows("SELECT 1 FROM workflow_runs WHERE workflow_id = :id", id=workflow["workflow_id"])) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "ü", "a\tb"])
def test_a_key_that_cannot_be_kept_is_refused(client: Any, workflow: dict[str, Any], key: str) -> None:
    answer = client.post(place(workflow), json={}, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
