"""/runs: reading, listing, cancelling, retrying, and the log of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import contract
from system.adapters.clock import SystemClock

Definition = Callable[..., dict[str, Any]]
Execute = Callable[..., str]
Messages = Callable[[str, str, int], list[dict[str, Any]]]
RUNS = "/api/v1/runs"
REQUESTS, CANCELLATIONS = "workflow.execution.requests", "workflow.cancellation.requests"


def end(served: Any, run_id: str, status: str, error: str | None = None) -> None:
    """Do what an executor does at the end of a run."""
    served.rows(
        "UPDATE workflow_runs SET status = :status, error_message = :error, started_at = now(), completed_at = now() "
        "WHERE run_id = :run_id",
        status=status,
        error=error,
        run_id=run_id,
    )


def step(served: Any, run_id: str, step_id: str, status: str, **values: Any) -> None:
    """Do what an executor does for an execution of a step."""
    row = {"path": step_id, "generation": 0, "superseded": False, "after": 0} | values
    served.rows(
        "INSERT INTO step_executions (run_id, step_id, step_name, agent_name, status, input_data, output_data, started_at,"
        " completed_at, path, generation, superseded) VALUES (:run_id, :step_id, :step_id, 'echo-agent', :status, '{}', "
        "'{\"n\": 1}', now() + make_interval(secs => :after), now() + make_interval(secs => :after + 1), :path, "
        ":generation, :superseded)",
        run_id=run_id,
        step_id=step_id,
        status=status,
        **row,
    )


def listed(client: Any, **query: Any) -> dict[str, Any]:
    answer = client.get(RUNS, query_string=query)
    assert answer.status_code == 200, answer.data
    found: dict[str, Any] = answer.json
    return found


def test_runs_are_filtered_by_either_id_of_their_workflow(
    client: Any, workflow: dict[str, Any], execute: Execute
) -> None:
    runs = {execute() for _ in range(3)}
    for workflow_id in (workflow["id"], workflow["workflow_id"]):
        found = listed(client, workflow_id=workflow_id)
        assert {run["run_id"] for run in found["items"]} == runs
        assert (found["total"], found["page"], found["total_pages"]) == (3, 1, 1)


def test_filters_combine(served: Any, client: Any, workflow: dict[str, Any], execute: Execute) -> None:
    runs = [execute() for _ in range(3)]
    end(served, runs[0], "FAILED", "no")
    assert [r["run_id"] for r in listed(client, workflow_id=workflow["id"], status="FAILED")["items"]] == [runs[0]]
    assert listed(client, workflow_id=workflow["id"], status="COMPLETED")["items"] == []


def test_the_window_of_creation_is_half_open(client: Any, workflow: dict[str, Any], execute: Execute) -> None:
    runs = [execute() for _ in range(3)]
    middle = client.get(f"{RUNS}/{runs[1]}").json["created_at"]
    after = listed(client, workflow_id=workflow["id"], created_after=middle, sort_order="asc")
    assert [run["run_id"] for run in after["items"]] == runs[1:]
    before = listed(client, workflow_id=workflow["id"], created_before=middle)
    assert [run["run_id"] for run in before["items"]] == runs[:1]


@pytest.mark.parametrize(
    "form", ["{:%Y-%m-%dT%H:%M:%S}", "{:%Y-%m-%d %H:%M:%S}", "{:%Y-%m-%d}", "{:%Y-%m-%dT%H:%M:%S}+00:00"]
)
def test_times_are_taken_in_the_usual_forms(client: Any, workflow: dict[str, Any], execute: Execute, form: str) -> None:
    run = client.get(f"{RUNS}/{execute()}").json
    day_before = datetime.fromisoformat(run["created_at"]) - timedelta(days=1)
    assert listed(client, workflow_id=workflow["id"], created_after=form.format(day_before))["total"] == 1


@pytest.mark.parametrize("sort_by", ["created_at", "updated_at", "completed_at", "status", "workflow_name"])
@pytest.mark.parametrize("sort_order", ["asc", "desc"])
def test_every_order_puts_each_run_on_exactly_one_page(
    served: Any, client: Any, workflow: dict[str, Any], execute: Execute, sort_by: str, sort_order: str
) -> None:
    runs = [execute() for _ in range(5)]
    end(served, runs[1], "COMPLETED")
    end(served, runs[2], "FAILED")
    query = {"workflow_id": workflow["id"], "sort_by": sort_by, "sort_order": sort_order, "page_size": 2}
    pages = [listed(client, **query, page=page)["items"] for page in (1, 2, 3)]
    assert [len(page) for page in pages] == [2, 2, 1]
    found = [run for page in pages for run in page]
    assert sorted(run["run_id"] for run in found) == sorted(runs)
    keys = [run[sort_by] for run in found if run[sort_by] is not None]
    assert keys == sorted(keys, reverse=sort_order == "desc")
    assert listed(client, **query, page=4)["items"] == []


def test_pages_that_share_as_of_are_not_shifted_by_new_runs(
    client: Any, workflow: dict[str, Any], execute: Execute
) -> None:
    runs = [execute() for _ in range(4)]
    first = listed(client, workflow_id=workflow["id"], page_size=2)
    for _ in range(3):
        execute()
    second = listed(client, workflow_id=workflow["id"], page_size=2, page=2, as_of=first["as_of"])
    assert [run["run_id"] for run in first["items"] + second["items"]] == runs[::-1]
    assert second["total"] == first["total"] == 4


@pytest.mark.parametrize(
    "query",
    [
        {"page": "0"},
        {"page": "-1"},
        {"page": "x"},
        {"page": "9" * 30},
        {"page_size": "0"},
        {"page_size": "101"},
        {"page_size": "²"},
        {"status": "done"},
        {"sort_by": "input_data"},
        {"sort_order": "up"},
        {"created_after": "yesterday"},
        {"created_before": "9999-12-31T23:59:59-14:00"},
        {"created_before": "0001-01-01T00:00:00+14:00"},
        {"workflow_id": "a\0b"},
        {"workflow_id": "x" * 5000},
        {"as_of": "-3"},
        {"as_of": "9" * 19},
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(client: Any, query: dict[str, str]) -> None:
    answer = client.get(RUNS, query_string=query)
    assert answer.status_code == 422
    assert [mistake["pointer"] for mistake in answer.json["errors"]] == [f"?{name}" for name in query]


@pytest.mark.parametrize("run_id", ["run-0", "nothing", "%00", "a%2Fb", "%F0%9F%98%80", "%ff", "x" * 10_000])
@pytest.mark.parametrize("method", ["get", "steps", "logs", "cancel", "retry"])
def test_an_unknown_run_is_not_found(client: Any, run_id: str, method: str) -> None:
    place = f"{RUNS}/{run_id}" + ("" if method == "get" else f"/{method}")
    answer = client.post(place) if method in ("cancel", "retry") else client.get(place)
    assert answer.status_code == 404


@pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
def test_a_run_that_goes_on_is_cancelled_and_told_of(
    served: Any, client: Any, execute: Execute, messages_of: Messages, status: str
) -> None:
    run_id = execute()
    served.rows("UPDATE workflow_runs SET status = :status WHERE run_id = :id", status=status, id=run_id)
    answer = client.post(f"{RUNS}/{run_id}/cancel", json={"reason": "wrong input"}, headers={"X-User": "ada"})
    assert answer.status_code == 202
    assert (answer.json["status"], answer.json["cancelled_by"]) == ("CANCELLED", "ada")
    assert client.get(f"{RUNS}/{run_id}").json == answer.json
    (message,) = messages_of(CANCELLATIONS, run_id, 1)
    Draft202012Validator(contract.schema("cancellation_request")).validate(message)
    assert (message["reason"], message["cancelled_by"]) == ("wrong input", "ada")
    assert message["timestamp"] == answer.json["cancelled_at"]


def test_a_second_cancellation_changes_nothing(served: Any, client: Any, execute: Execute) -> None:
    run_id = execute()
    first = client.post(f"{RUNS}/{run_id}/cancel", json={"cancelled_by": "ada"})
    second = client.post(f"{RUNS}/{run_id}/cancel", json={"cancelled_by": "bob", "reason": "late"})
    assert second.status_code == 202
    assert second.json == first.json
    audit = served.rows("SELECT actor FROM audit_logs WHERE entity_id = :id AND action = 'cancel'", id=run_id)
    assert [row["actor"] for row in audit] == ["ada"]


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED"])
def test_what_has_ended_is_not_cancelled(served: Any, client: Any, execute: Execute, status: str) -> None:
    run_id = execute()
    end(served, run_id, status)
    before = client.get(f"{RUNS}/{run_id}").json
    answer = client.post(f"{RUNS}/{run_id}/cancel")
    assert answer.status_code == 409
    assert status in answer.json["detail"]
    assert client.get(f"{RUNS}/{run_id}").json == before


@pytest.mark.parametrize("body", [{"reason": 1}, {"reason": "x" * 2001}, {"cancelled_by": []}, []])
def test_a_cancellation_with_a_bad_body_changes_nothing(client: Any, execute: Execute, body: Any) -> None:
    run_id = execute()
    assert client.post(f"{RUNS}/{run_id}/cancel", json=body).status_code == 422
    assert client.get(f"{RUNS}/{run_id}").json["status"] == "PENDING"


def test_a_failed_run_is_pending_again_after_a_retry(
    served: Any, client: Any, execute: Execute, messages_of: Messages
) -> None:
    run_id = execute(n=2**70)
    end(served, run_id, "FAILED", "the agent said no")
    before = client.get(f"{RUNS}/{run_id}").json
    answer = client.post(f"{RUNS}/{run_id}/retry")
    assert answer.status_code == 202
    after = client.get(f"{RUNS}/{run_id}").json
    assert (after["status"], after["retries"], after["created_at"]) == ("PENDING", 1, before["created_at"])
    assert after["started_at"] == before["started_at"]
    assert [after[name] for name in ("error_message", "completed_at", "cancelled_at", "cancelled_by")] == [None] * 4
    first, second = messages_of(REQUESTS, run_id, 2)
    Draft202012Validator(contract.schema("execution_request")).validate(second)
    assert second["workflow_plan"] == first["workflow_plan"]
    assert second["input_data"] == first["input_data"] == {"n": float(2**70)}
    assert second["timestamp"] > first["timestamp"]
    assert "resume_from_step" not in second


def test_the_moments_of_a_run_are_in_the_order_of_what_was_accepted_though_clocks_differ(
    client: Any, execute: Execute, messages_of: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By them an executor knows which cancellation was meant for the run as it is now (CAN-11)."""
    run_id = execute()
    began = SystemClock().now()
    for ahead_seconds, change in ((20, "cancel"), (10, "retry"), (5, "cancel"), (0, "retry")):
        moment = began + timedelta(seconds=ahead_seconds)
        monkeypatch.setattr(SystemClock, "now", lambda _, moment=moment: moment)
        assert client.post(f"{RUNS}/{run_id}/{change}").status_code == 202
    _, first_retry, second_retry = (request["timestamp"] for request in messages_of(REQUESTS, run_id, 3))
    first_cancel, second_cancel = (message["timestamp"] for message in messages_of(CANCELLATIONS, run_id, 2))
    # A cancellation of the moment of a retry counts as older than it.
    assert first_cancel <= first_retry < second_cancel <= second_retry


def test_a_cancelled_run_is_retried_from_a_step_that_it_had_reached(
    served: Any, client: Any, execute: Execute, messages_of: Messages
) -> None:
    run_id = execute()
    step(served, run_id, "part", "CANCELLED")
    client.post(f"{RUNS}/{run_id}/cancel", json={"cancelled_by": "ada"})
    answer = client.post(f"{RUNS}/{run_id}/retry", json={"resume_from_step": "part"})
    assert answer.status_code == 202
    assert messages_of(REQUESTS, run_id, 2)[1]["resume_from_step"] == "part"
    (row,) = served.rows(
        "SELECT resume_from_step, generation, cancelled_at, cancelled_by FROM workflow_runs WHERE run_id = :id",
        id=run_id,
    )
    assert row == {"resume_from_step": "part", "generation": 1, "cancelled_at": None, "cancelled_by": None}


def test_the_first_step_can_always_be_resumed_from(served: Any, client: Any, execute: Execute) -> None:
    run_id = execute()
    end(served, run_id, "FAILED")
    assert client.post(f"{RUNS}/{run_id}/retry", json={"resume_from_step": "greet"}).status_code == 202


@pytest.mark.parametrize("step_id", ["part", "unknown", "\u2603"])
def test_a_step_that_was_not_reached_or_is_none_is_no_point_of_resume(
    served: Any, client: Any, execute: Execute, step_id: str
) -> None:
    run_id = execute()
    end(served, run_id, "FAILED", "no")
    before = client.get(f"{RUNS}/{run_id}").json
    answer = client.post(f"{RUNS}/{run_id}/retry", json={"resume_from_step": step_id})
    assert answer.status_code == 409
    assert client.get(f"{RUNS}/{run_id}").json == before


def test_a_step_inside_another_is_no_point_of_resume(served: Any, client: Any, definition: Definition) -> None:
    body = definition("inner", "other")
    body["steps"]["inner"]["next_step"] = None
    body["steps"]["around"] = {"id": "around", "type": "parallel", "parallel_steps": ["inner", "other"]}
    workflow = client.post("/api/v1/workflows", json=body | {"start_step": "around"})
    assert workflow.status_code == 201, workflow.data
    run_id = client.post(f"/api/v1/workflows/{workflow.json['id']}/execute", json={}).json["run_id"]
    step(served, run_id, "inner", "FAILED", path="around/inner")
    end(served, run_id, "FAILED")
    assert client.post(f"{RUNS}/{run_id}/retry", json={"resume_from_step": "inner"}).status_code == 409


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "COMPLETED"])
def test_what_has_not_failed_is_not_retried(served: Any, client: Any, execute: Execute, status: str) -> None:
    run_id = execute()
    served.rows("UPDATE workflow_runs SET status = :status WHERE run_id = :id", status=status, id=run_id)
    answer = client.post(f"{RUNS}/{run_id}/retry")
    assert answer.status_code == 409
    assert status in answer.json["detail"]
    assert client.get(f"{RUNS}/{run_id}").json["retries"] == 0


def test_of_retries_at_once_exactly_one_is_accepted(served: Any, another: Any, execute: Execute) -> None:
    run_id, statuses, gate = execute(), [], threading.Barrier(6)
    end(served, run_id, "FAILED")

    def retry(client: Any) -> None:
        gate.wait()
        statuses.append(client.post(f"{RUNS}/{run_id}/retry").status_code)

    threads = [threading.Thread(target=retry, args=(each.client(),)) for each in (served, another) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202, 409, 409, 409, 409, 409]


def test_a_run_without_a_stored_plan_is_retried_with_the_version_that_it_started_with(
    served: Any, client: Any, workflow: dict[str, Any], definition: Definition, execute: Execute, messages_of: Messages
) -> None:
    run_id = execute()
    end(served, run_id, "FAILED")
    served.rows("UPDATE workflow_runs SET plan_digest = NULL WHERE run_id = :id", id=run_id)
    client.put(f"/api/v1/workflows/{workflow['id']}", json=definition("other", name=workflow["name"]))
    assert client.post(f"{RUNS}/{run_id}/retry").status_code == 202
    first, second = messages_of(REQUESTS, run_id, 2)
    assert second["workflow_plan"] == first["workflow_plan"]


def test_a_run_whose_plan_nobody_has_cannot_be_retried(served: Any, client: Any) -> None:
    served.rows(
        "INSERT INTO workflow_runs (run_id, status) VALUES ('run-without-plan', 'FAILED') ON CONFLICT DO NOTHING"
    )
    assert client.get(f"{RUNS}/run-without-plan").json["input_data"] is None
    assert client.post(f"{RUNS}/run-without-plan/retry").status_code == 409


def test_steps_stand_in_the_order_in_which_they_started(served: Any, client: Any, execute: Execute) -> None:
    run_id = execute()
    assert client.get(f"{RUNS}/{run_id}/steps").json == {"items": [], "total": 0}
    step(served, run_id, "part", "RUNNING", after=5)
    step(served, run_id, "greet", "FAILED", after=1, superseded=True)
    step(served, run_id, "greet", "COMPLETED", after=3, generation=1)
    found = client.get(f"{RUNS}/{run_id}/steps").json
    assert [(item["step_id"], item["status"], item["superseded"]) for item in found["items"]] == [
        ("greet", "FAILED", True),
        ("greet", "COMPLETED", False),
        ("part", "RUNNING", False),
    ]
    assert found["total"] == 3
    assert found["items"][0]["output_data"] == {"n": 1}


def test_the_log_tells_the_whole_life_of_a_run_in_order(served: Any, client: Any, execute: Execute) -> None:
    run_id = execute()
    end(served, run_id, "FAILED", "the agent said no")
    client.post(f"{RUNS}/{run_id}/retry", json={"resume_from_step": "greet"}, headers={"X-User": "ada"})
    client.post(f"{RUNS}/{run_id}/cancel", json={"reason": "enough", "cancelled_by": "bob"})
    client.post(f"{RUNS}/{run_id}/retry")
    step(served, run_id, "greet", "COMPLETED", generation=1)
    items = client.get(f"{RUNS}/{run_id}/logs").json["items"]
    assert [item["event"] for item in items] == [
        "run.accepted",
        "run.started",
        "run.failed",
        "run.retry_accepted",
        "run.cancelled",
        "run.cancel_requested",
        "run.retry_accepted",
        "step.started",
        "step.completed",
    ]
    told = "\n".join(item["message"] for item in items)
    for word in ("the agent said no", "by ada", "from step greet", "by bob", "enough", "step greet completed"):
        assert word in told
    assert [item["timestamp"] for item in items] == sorted(item["timestamp"] for item in items)
