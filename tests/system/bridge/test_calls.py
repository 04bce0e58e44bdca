"""One HTTP call against a real HTTP server: every way in which it can end (clauses AGT-01 to AGT-15, AGT-18, AGT-20)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from harness.agents import Action, AgentServer, Body, Echo, Hang, HttpStatus, Ok, Reset, RpcError, Slow, always
from system.bridge.agent import agent_from
from system.bridge.calls import Caller, Trouble
from system.bridge.messages import Outcome, Task

_LIMIT_BYTES = 20_000


@pytest.fixture(scope="module")
def agents() -> Iterator[AgentServer]:
    with AgentServer() as server:
        yield server


def _call(
    agents: AgentServer, action: Action, *, url: str | None = None, task: Task | None = None, **record: Any
) -> Outcome | Trouble:
    agents.clear()
    agents.play("a", always(action))
    agent = agent_from({"name": "a", "url": url or agents.url("a"), **record})

    async def run() -> Outcome | Trouble:
        async with Caller(max_answer_bytes=_LIMIT_BYTES) as caller:
            return await caller.call(agent, task or Task("run-1", "task-1", "a", {"n": 1}, "corr-1"))

    return asyncio.run(run())


def _failure(ended: Outcome | Trouble) -> str:
    assert isinstance(ended, Outcome)
    assert ended.output_data is None
    assert ended.error_message is not None
    return ended.error_message


def test_the_call_carries_ids_input_and_authentication(agents: AgentServer) -> None:
    ended = _call(agents, Echo(), auth_type="bearer", auth_config={"token": "t0ken"})
    assert isinstance(ended, Outcome)
    assert ended.output_data is not None
    assert ended.output_data["n"] == 1
    assert ended.output_data["text"] == '{"n": 1}'
    [call] = agents.ledger()
    assert (call.task_id, call.idempotency_key, call.correlation_id) == ("task-1", "task-1", "corr-1")
    assert call.headers["Authorization"] == "Bearer t0ken"
    assert call.headers["Content-Type"] == "application/json"
    assert call.input_data == {"n": 1}


@pytest.mark.parametrize("hostile", ["corr\r\nX-Evil: 1", "ü\u2028", "\x7f", "x" * 5000])
def test_a_hostile_correlation_id_adds_no_header_and_stops_no_call(agents: AgentServer, hostile: str) -> None:
    ended = _call(agents, Ok({"a": 1}), task=Task("run-1", "task-1", "a", {}, hostile))
    assert isinstance(ended, Outcome)
    assert ended.output_data == {"a": 1}
    [call] = agents.ledger()
    assert "X-Evil" not in call.headers
    assert call.correlation_id


@pytest.mark.parametrize(("status", "broken"), [(500, True), (502, True), (503, True), (599, True), (429, False)])
def test_5xx_and_429_may_be_tried_again(agents: AgentServer, status: int, broken: bool) -> None:
    ended = _call(agents, HttpStatus(status, retry_after="7"))
    assert isinstance(ended, Trouble)
    assert f"HTTP {status}" in ended.message
    assert (ended.broken, ended.retry_after_seconds) == (broken, 7.0)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 499])
def test_other_4xx_are_final_and_say_their_status(agents: AgentServer, status: int) -> None:
    assert f"HTTP {status}" in _failure(_call(agents, HttpStatus(status)))


def test_an_error_status_tells_the_json_rpc_error_in_its_body(agents: AgentServer) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "bad date"}}).encode()
    assert "bad date" in _failure(_call(agents, HttpStatus(400, body=body)))


def test_redirects_are_not_followed(agents: AgentServer) -> None:
    assert "redirects are not followed" in _failure(
        _call(agents, HttpStatus(307, headers={"Location": agents.url("a")}))
    )
    assert len(agents.ledger()) == 1


def test_a_hanging_agent_times_out_after_its_own_time(agents: AgentServer) -> None:
    ended = _call(agents, Hang(), timeout_ms=150)
    assert isinstance(ended, Trouble)
    assert ended.broken
    assert "within 150 ms" in ended.message
    [call] = agents.wait_for(lambda calls: calls[0].ending is not None, 5)
    assert call.ending == "caller left"


def test_a_slow_agent_within_its_time_is_waited_for(agents: AgentServer) -> None:
    ended = _call(agents, Slow(0.2, Ok({"a": 1})), timeout_ms=5000)
    assert isinstance(ended, Outcome)
    assert ended.output_data == {"a": 1}


def test_a_connection_that_is_reset_may_be_tried_again_and_is_one_call(agents: AgentServer) -> None:
    ended = _call(agents, Reset())
    assert isinstance(ended, Trouble)
    assert ended.broken
    assert len(agents.ledger()) == 1


def test_a_refused_connection_may_be_tried_again(agents: AgentServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ended = _call(agents, Echo(), url=f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert isinstance(ended, Trouble)
    assert ended.broken


def test_a_host_without_address_may_be_tried_again(agents: AgentServer) -> None:
    assert isinstance(_call(agents, Echo(), url="http://nowhere.invalid/", timeout_ms=5000), Trouble)


@pytest.mark.parametrize("body", [b"", b"{not json", b"<html>"])
def test_a_body_that_is_no_json_rpc_is_final(agents: AgentServer, body: bytes) -> None:
    assert "did not answer with JSON-RPC" in _failure(_call(agents, Body(body)))


def test_a_compressed_answer_is_refused_rather_than_unpacked(agents: AgentServer) -> None:
    assert "encoded" in _failure(_call(agents, Body(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})))


def test_a_body_above_the_limit_is_final_and_says_so(agents: AgentServer) -> None:
    assert f"{_LIMIT_BYTES} bytes" in _failure(_call(agents, Ok({"a": "x" * _LIMIT_BYTES})))


def test_what_is_no_http_is_final(agents: AgentServer) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SMTP ready\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run() -> Outcome | Trouble:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, Caller(max_answer_bytes=100) as caller:
            return await caller.call(
                agent_from({"name": "a", "url": f"http://127.0.0.1:{port}/"}), Task("run-1", "task-1", "a", {}, "c")
            )

    assert agents.port
    assert "HTTP that can be understood" in _failure(asyncio.run(run()))


@pytest.mark.parametrize(
    "action",
    [
        RpcError("you sent s3cret-value"),
        Ok({"headers": {"X-API-Key": "s3cret-value"}, "s3cret-value": ["s3cret-value"]}),
        Body(b"s3cret-value"),
        HttpStatus(503, body=b'{"error": {"message": "s3cret-value"}}'),
        HttpStatus(403, body=b'{"error": {"message": "s3cret-value"}}'),
    ],
)
def test_a_secret_that_the_agent_repeats_goes_no_further(agents: AgentServer, action: Action) -> None:
    ended = _call(agents, action, auth_type="api_key", auth_config={"key": "s3cret-value"})
    assert "s3cret-value" not in repr(ended)
    assert "***" in repr(ended)


def test_input_that_is_nested_too_deeply_is_a_failure(agents: AgentServer) -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    ended = _call(agents, Echo(), task=Task("run-1", "task-1", "a", {"a": deep}, "c"))
    assert "nested too deeply" in _failure(ended)
    assert agents.ledger() == []
