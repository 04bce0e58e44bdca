"""What an answer of 2xx promises holds when connections break, and when the database or Kafka is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from system.api import execution, store_runs
from system.api.execution import Backlog
from system.api.problems import Problem
from system.ports import Message
from tests.waiting import until

Definition = Callable[..., dict[str, Any]]
Execute = Callable[..., str]
Messages = Callable[[str, str, int], list[dict[str, Any]]]
RUNS, WORKFLOWS, AGENTS = "/api/v1/runs", "/api/v1/workflows", "/api/v1/agents"


@pytest.fixture
def terminate(settings: Any) -> Iterator[Callable[..., None]]:
    """Ends the requests' connections at the server, all of them or the one with a process id."""
    own = psycopg2.connect(settings.database_url.replace("+psycopg2", ""))
    own.autocommit = True

    def end(pid: int | None = None) -> None:
        with own.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'test-api' AND (%(pid)s IS NULL OR pid = %(pid)s)",
                {"pid": pid},
            )

    yield end
    own.close()


@pytest.fixture
def commits_lost(
    served: Any, terminate: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], list[int]]:
    """Makes the next so many commits take effect while the connection breaks before the answer; lists the broken ones."""

    def lose(count: int) -> list[int]:
        broken: list[int] = []
        real = served.engine.dialect.do_commit

        def do_commit(connection: Any) -> None:
            real(connection)
            if len(broken) < count:
                pid = getattr(connection, "dbapi_connection", connection).info.backend_pid
                broken.append(pid)
                terminate(pid)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")

        monkeypatch.setattr(served.engine.dialect, "do_commit", do_commit)
        return broken

    return lose


def test_requests_survive_connections_that_were_cut(
    client: Any, terminate: Callable[..., None], workflow: dict[str, Any], definition: Definition, execute: Execute
) -> None:
    run_id = execute()
    agent = {"name": f"agent of {run_id}", "url": "http://127.0.0.1:1/"}
    for method, path, body, status in (
        ("GET", f"{RUNS}/{run_id}", None, 200),
        ("GET", RUNS, None, 200),
        ("POST", f"{WORKFLOWS}/{workflow['id']}/execute", {}, 202),
        ("POST", WORKFLOWS, definition(), 201),
        ("PUT", f"{WORKFLOWS}/{workflow['id']}", definition(), 200),
        ("POST", AGENTS, agent, 201),
        ("POST", f"{RUNS}/{run_id}/cancel", {}, 202),
        ("POST", f"{RUNS}/{run_id}/retry", {}, 202),
        ("DELETE", f"{WORKFLOWS}/{workflow['id']}", None, 204),
    ):
        terminate()
        assert client.open(path, method=method, json=body).status_code == status, (method, path)


def test_a_run_whose_commit_was_not_confirmed_is_started_once(
    served: Any,
    client: Any,
    workflow: dict[str, Any],
    terminate: Any,
    monkeypatch: pytest.MonkeyPatch,
    messages_of: Messages,
) -> None:
    real, calls = store_runs.start, []

    def start(connection: Any, *arguments: Any, **named: Any) -> Any:
        found = real(connection, *arguments, **named)
        calls.append(found)
        if len(calls) == 1:
            # The statement has committed by itself; the answer to it is what gets lost.
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            terminate(pid)
            connection.exec_driver_sql("SELECT 1")
        return found

    monkeypatch.setattr(store_runs, "start", start)
    answer = client.post(f"{WORKFLOWS}/{workflow['id']}/execute", json={})
    assert answer.status_code == 202
    rows = served.rows(
        "SELECT run_id, outbox_id FROM workflow_runs WHERE workflow_id = :id", id=workflow["workflow_id"]
    )
    assert rows == [{"run_id": answer.json["run_id"], "outbox_id": calls[0]}]
    messages_of("workflow.execution.requests", answer.json["run_id"], 1)


def test_a_run_of_which_nobody_can_tell_is_named_in_the_answer(
    client: Any, workflow: dict[str, Any], terminate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store_runs.start

    def start(connection: Any, *arguments: Any, **named: Any) -> Any:
        terminate(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        return real(connection, *arguments, **named)

    monkeypatch.setattr(store_runs, "start", start)
    answer = client.post(f"{WORKFLOWS}/{workflow['id']}/execute", json={})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json["run_id"].startswith("run-")
    assert client.get(f"{RUNS}/{answer.json['run_id']}").status_code == 404


def test_a_keyed_run_whose_commit_was_not_confirmed_is_started_once(
    served: Any, client: Any, workflow: dict[str, Any], commits_lost: Any, messages_of: Messages
) -> None:
    broken = commits_lost(1)
    answer = client.post(f"{WORKFLOWS}/{workflow['id']}/execute", json={}, headers={"Idempotency-Key": "lost"})
    assert (answer.status_code, len(broken)) == (202, 1)
    rows = served.rows("SELECT run_id FROM workflow_runs WHERE workflow_id = :id", id=workflow["workflow_id"])
    assert rows == [{"run_id": answer.json["run_id"]}]
    messages_of("workflow.execution.requests", answer.json["run_id"], 1)


def test_definitions_whose_commit_was_not_confirmed_are_changed_once(
    client: Any, definition: Definition, commits_lost: Any
) -> None:
    body = definition()
    broken = commits_lost(1)
    created = client.post(WORKFLOWS, json=body)
    assert (created.status_code, len(broken)) == (201, 1)
    place = f"{WORKFLOWS}/{created.json['id']}"
    broken = commits_lost(1)
    changed = client.put(place, json=definition("b", name=body["name"]))
    assert (changed.status_code, changed.json["version"], len(broken)) == (200, 2, 1)
    assert client.get(f"{place}/versions").json["total"] == 2


def test_a_deletion_whose_commit_was_not_confirmed_is_a_deletion(
    client: Any, workflow: dict[str, Any], commits_lost: Any
) -> None:
    broken = commits_lost(1)
    assert client.delete(f"{WORKFLOWS}/{workflow['id']}").status_code == 204
    assert len(broken) == 1


def test_an_agent_whose_commit_was_not_confirmed_is_created_once(client: Any, commits_lost: Any) -> None:
    broken = commits_lost(1)
    answer = client.post(AGENTS, json={"name": "lost and found", "url": "http://127.0.0.1:1/"})
    assert (answer.status_code, len(broken)) == (201, 1)
    assert client.get(AGENTS, query_string={"name": "lost and found"}).json["total"] == 1
    assert client.delete(answer.headers["Location"]).status_code == 204


def test_transitions_whose_commit_was_not_confirmed_happen_once(
    served: Any, client: Any, execute: Execute, commits_lost: Any, messages_of: Messages
) -> None:
    run_id = execute()
    broken = commits_lost(1)
    assert client.post(f"{RUNS}/{run_id}/cancel", json={"cancelled_by": "ada"}).json["cancelled_by"] == "ada"
    assert len(broken) == 1
    broken = commits_lost(1)
    assert client.post(f"{RUNS}/{run_id}/retry").status_code == 202
    assert len(broken) == 1
    assert client.get(f"{RUNS}/{run_id}").json["retries"] == 1
    audit = served.rows("SELECT action FROM audit_logs WHERE entity_id = :id ORDER BY id", id=run_id)
    assert [row["action"] for row in audit] == ["cancel", "retry"]
    messages_of("workflow.cancellation.requests", run_id, 1)
    messages_of("workflow.execution.requests", run_id, 2)


def test_without_the_database_requests_may_be_sent_again_and_then_succeed(
    stack: Any, client: Any, workflow: dict[str, Any], execute: Execute
) -> None:
    run_id = execute()
    stack.database.kill()
    try:
        for method, path in (
            ("GET", f"{RUNS}/{run_id}"),
            ("GET", RUNS),
            ("POST", f"{WORKFLOWS}/{workflow['id']}/execute"),
            ("POST", f"{RUNS}/{run_id}/cancel"),
            ("DELETE", f"{WORKFLOWS}/{workflow['id']}"),
        ):
            answer = client.open(path, method=method, json={} if method == "POST" else None)
            assert answer.status_code == 503, (method, path)
            assert int(answer.headers["Retry-After"]) > 0
        assert client.get("/health").status_code == 200
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert "database" in ready.json["detail"]
        assert ready.json["checks"]["kafka"] == "ok"
    finally:
        stack.database.start()
    until(lambda: client.get("/ready").status_code == 200, "ready again")
    assert execute()
    assert client.get(f"{RUNS}/{run_id}").json["status"] == "PENDING"


def test_without_kafka_runs_are_accepted_and_published_later(
    stack: Any, client: Any, execute: Execute, messages_of: Messages
) -> None:
    stack.broker.kill()
    try:
        run_id = execute(message="while Kafka was away")
        assert client.post(f"{RUNS}/{run_id}/cancel").status_code == 202
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert "Kafka" in ready.json["detail"]
        assert ready.json["checks"]["database"] == "ok"
    finally:
        stack.broker.start()
    until(lambda: client.get("/ready").status_code == 200, "ready again")
    (message,) = messages_of("workflow.execution.requests", run_id, 1)
    assert message["input_data"] == {"message": "while Kafka was away"}
    messages_of("workflow.cancellation.requests", run_id, 1)


def test_what_another_process_wrote_and_never_sent_is_sent(
    served: Any, execute: Execute, messages_of: Messages
) -> None:
    run_id = execute()
    messages_of("workflow.execution.requests", run_id, 1)
    (entry,) = served.rows(
        "INSERT INTO outbox (owner, messages) "
        "SELECT 1234567, json_build_array(json_build_array('workflow.execution.requests', run_id, '{}', '[]'::json))::text "
        "FROM workflow_runs WHERE run_id = :id RETURNING id",
        id=run_id,
    )
    assert messages_of("workflow.execution.requests", run_id, 2)[1] == {}
    until(lambda: not served.rows("SELECT 1 FROM outbox WHERE id = :id", id=entry["id"]), "the entry is removed")


class _NeverSent:
    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def send(self, _: int, __: list[Message], on_sent: Callable[[], None]) -> None:
        self.waiting.append(on_sent)


def test_what_waits_for_kafka_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = _NeverSent()
    backlog = Backlog(outbox)  # type: ignore[arg-type]
    monkeypatch.setattr(execution, "_BACKLOG_LIMIT_BYTES", 25)
    for number in range(3):
        backlog.admit()
        backlog.send(number, Message("topic", b"key", b"ten bytes!"))
    with pytest.raises(Problem) as refused:
        backlog.admit()
    assert refused.value.status == 503
    outbox.waiting.pop()()
    backlog.admit()
