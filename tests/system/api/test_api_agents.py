"""/agents: the registry, its secrets, and whether an agent can be reached."""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

AGENTS = "/api/v1/agents"
SECRET = "s3cr3t-value"


def record(**values: Any) -> dict[str, Any]:
    return {"name": f"agent-{uuid.uuid4()}", "url": "http://127.0.0.1:9101/rpc"} | values


def test_an_agent_is_created_read_replaced_and_removed(served: Any, client: Any) -> None:
    sent = record(description="says it again", timeout_ms=5000, retry_config={"max_retries": 2})
    created = client.post(AGENTS, json=sent, headers={"X-User": "ada"})
    assert created.status_code == 201
    place = created.headers["Location"]
    assert {name: client.get(place).json[name] for name in sent} == sent
    replaced = client.put(place, json=record(name=sent["name"], status="inactive"))
    assert (replaced.status_code, replaced.json["status"], replaced.json["timeout_ms"]) == (200, "inactive", 30_000)
    assert replaced.json["retry_config"] == {}
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == 404
    assert client.delete(place).status_code == 404
    assert client.put(place, json=sent).status_code == 404
    audit = served.rows("SELECT action FROM audit_logs WHERE entity_id = :id ORDER BY id", id=created.json["id"])
    assert [row["action"] for row in audit] == ["create", "update", "delete"]


def test_agents_are_found_by_name(client: Any) -> None:
    sent = record()
    client.post(AGENTS, json=sent)
    found = client.get(AGENTS, query_string={"name": sent["name"]}).json
    assert [agent["name"] for agent in found["items"]] == [sent["name"]]
    assert client.get(AGENTS, query_string={"name": "nobody"}).json["items"] == []


def test_a_taken_name_is_refused_and_named(client: Any) -> None:
    first, second = record(), record()
    assert client.post(AGENTS, json=first).status_code == 201
    again = client.post(AGENTS, json=first)
    assert again.status_code == 409
    assert first["name"] in again.json["detail"]
    other = client.post(AGENTS, json=second).json
    assert client.put(f"{AGENTS}/{other['id']}", json=first).status_code == 409


AUTH = [
    ("bearer", {"token": SECRET}),
    ("api_key", {"key": SECRET}),
    ("api_key", {"key": SECRET, "header_name": "X-Key"}),
    ("custom_header", {"header_name": "X-Tenant", "header_value": SECRET}),
]


@pytest.mark.parametrize(("auth_type", "auth_config"), AUTH)
def test_a_secret_is_kept_and_never_given_back(
    served: Any, client: Any, caplog: pytest.LogCaptureFixture, auth_type: str, auth_config: dict[str, str]
) -> None:
    caplog.set_level(logging.DEBUG)
    sent = record(auth_type=auth_type, auth_config=auth_config)
    created = client.post(AGENTS, json=sent)
    place = created.headers["Location"]
    answers = [
        created,
        client.get(place),
        client.put(place, json=sent),
        client.get(AGENTS, query_string={"name": sent["name"]}),
        client.post(AGENTS, json=sent),
        client.get(f"{place}/health"),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 409, 200]
    assert all(SECRET not in answer.text for answer in answers)
    (row,) = served.rows("SELECT auth_config FROM agents WHERE name = :name", name=sent["name"])
    assert row["auth_config"] == auth_config
    assert SECRET not in caplog.text
    client.delete(place)
    audit = served.rows("SELECT details::text AS details FROM audit_logs WHERE entity_id = :id", id=created.json["id"])
    assert len(audit) == 3
    assert all(SECRET not in entry["details"] for entry in audit)


BAD = [
    ({"auth_type": "bearer", "auth_config": {"token": SECRET + "\n"}}, "/auth_config/token"),
    ({"auth_type": "bearer", "auth_config": {"key": SECRET}}, "/auth_config/token"),
    ({"auth_type": "bearer", "auth_config": SECRET}, "/auth_config"),
    ({"auth_type": "bearer"}, "/auth_config"),
    ({"auth_type": "api_key", "auth_config": {"key": [SECRET]}}, "/auth_config/key"),
    (
        {"auth_type": "custom_header", "auth_config": {"header_name": "a b", "header_value": SECRET}},
        "/auth_config/header_name",
    ),
    ({"auth_type": "basic", "auth_config": {"x": SECRET}}, "/auth_type"),
    ({"url": "ftp://example/"}, "/url"),
    ({"url": "http://"}, "/url"),
    ({"url": "http://user:s3cr3t-value@example/"}, "/url"),
    ({"url": "http://example:99999/"}, "/url"),
    ({"url": 3}, "/url"),
    ({"name": ""}, "/name"),
    ({"name": "x" * 201}, "/name"),
    ({"timeout_ms": 0}, "/timeout_ms"),
    ({"timeout_ms": 2**31}, "/timeout_ms"),
    ({"timeout_ms": "soon"}, "/timeout_ms"),
    ({"retry_config": {"max_retries": -1}}, "/retry_config/max_retries"),
    ({"retry_config": {"backoff_multiplier": 0.5}}, "/retry_config/backoff_multiplier"),
    ({"retry_config": []}, "/retry_config"),
    ({"status": "deleted"}, "/status"),
]


@pytest.mark.parametrize(("change", "pointer"), BAD)
def test_a_bad_record_is_refused_with_a_pointer_and_without_its_values(
    client: Any, caplog: pytest.LogCaptureFixture, change: dict[str, Any], pointer: str
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = client.post(AGENTS, json=record(**change))
    assert answer.status_code == 422
    assert pointer in [mistake["pointer"] for mistake in answer.json["errors"]]
    assert SECRET not in answer.text + caplog.text


def test_a_secret_stays_out_of_the_log_when_the_database_fails(
    served: Any, plain: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sent = record(name="unlucky", auth_type="bearer", auth_config={"token": SECRET})
    served.rows("ALTER TABLE agents ADD CONSTRAINT ck_for_a_test CHECK (name <> 'unlucky')")
    try:
        assert plain.post(AGENTS, json=sent).status_code == 500
    finally:
        served.rows("ALTER TABLE agents DROP CONSTRAINT ck_for_a_test")
    assert "ck_for_a_test" in caplog.text
    assert "store_agents.py" in caplog.text
    assert SECRET not in caplog.text


class _Agent(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(params=[200, 404, 503])
def agent(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    handler = type("Agent", (_Agent,), {"status": request.param})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield request.param, server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_agent_that_answers_below_500_is_healthy(client: Any, agent: tuple[int, int]) -> None:
    status, port = agent
    place = client.post(AGENTS, json=record(url=f"http://127.0.0.1:{port}/rpc")).headers["Location"]
    found = client.get(f"{place}/health")
    assert found.status_code == 200
    assert found.json["status"] == ("healthy" if status < 500 else "unhealthy")
    assert found.json["latency_ms"] > 0


def test_an_agent_that_cannot_be_reached_is_unhealthy(client: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = client.post(AGENTS, json=record(url=f"http://127.0.0.1:{free.getsockname()[1]}/")).headers["Location"]
    found = client.get(f"{place}/health").json
    assert (found["status"], found["latency_ms"]) == ("unhealthy", None)
    assert found["detail"]


def test_an_agent_that_hangs_holds_a_request_no_longer_than_two_seconds(client: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = client.post(AGENTS, json=record(url=f"http://127.0.0.1:{silent.getsockname()[1]}/")).headers["Location"]
        begun = time.monotonic()
        found = client.get(f"{place}/health").json
    assert time.monotonic() - begun < 2.5
    assert found["status"] == "unhealthy"


@pytest.mark.parametrize("agent_id", ["7d9f2c1e-0000-4000-8000-00000000c0de", "nonsense", "%00", "x" * 5000])
def test_an_unknown_agent_is_not_found(client: Any, agent_id: str) -> None:
    place = f"{AGENTS}/{agent_id}"
    answers = [client.get(place), client.put(place, json=record()), client.delete(place), client.get(f"{place}/health")]
    assert [answer.status_code for answer in answers] == [404] * 4
