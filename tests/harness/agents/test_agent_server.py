"""The harness's agents: every action is what it says, and the ledger tells what happened."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from harness.agents import (
    SAMPLES,
    Action,
    AgentServer,
    Body,
    Call,
    Echo,
    Fail,
    Hang,
    Held,
    HttpStatus,
    Ok,
    Reset,
    RpcError,
    Slow,
    Steps,
    always,
)


@pytest.fixture
def agents() -> Iterator[AgentServer]:
    with AgentServer(SAMPLES) as server:
        yield server


def _call(url: str, task_id: str = "task-1", input_data: Any = None, timeout: float = 5.0) -> requests.Response:
    text = json.dumps({"a": 1} if input_data is None else input_data)
    message = {"role": "user", "messageId": "m", "parts": [{"kind": "text", "text": text}]}
    request = {"jsonrpc": "2.0", "id": task_id, "method": "message/send", "params": {"message": message}}
    headers = {"Idempotency-Key": task_id, "X-Correlation-ID": "corr", "Authorization": "Bearer t"}
    return requests.post(url, json=request, headers=headers, timeout=timeout, allow_redirects=False)


def test_the_echo_agent_answers_with_its_input(agents: AgentServer) -> None:
    answer = _call(agents.url("echo-agent"), input_data={"message": "hi ✓"}).json()
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", "task-1")
    assert answer["result"]["message"] == "hi ✓"
    [artifact] = answer["result"]["artifacts"]
    assert json.loads(artifact["parts"][0]["text"]) == {"message": "hi ✓"}


def test_the_test_agent_answers_with_the_one_member_result(agents: AgentServer) -> None:
    result = _call(agents.url("test-agent"), input_data={"test_input": "x"}).json()["result"]
    assert list(result) == ["result"]
    assert "test_input" in result["result"]


@pytest.mark.parametrize(
    ("action", "status", "answer"),
    [
        (Ok({"x": [1]}), 200, {"result": {"x": [1]}}),
        (RpcError("full", -7), 200, {"error": {"code": -7, "message": "full"}}),
        (
            Fail("no", "rejected"),
            200,
            {
                "result": {
                    "status": {
                        "state": "rejected",
                        "message": {"role": "agent", "parts": [{"kind": "text", "text": "no"}]},
                    }
                }
            },
        ),
    ],
)
def test_an_answering_action_answers_for_the_calls_own_id(
    agents: AgentServer, action: Action, status: int, answer: dict[str, Any]
) -> None:
    agents.play("a", always(action))
    response = _call(agents.url("a"), "task-9")
    assert response.status_code == status
    assert response.json() == {"jsonrpc": "2.0", "id": "task-9", **answer}


def test_statuses_headers_and_bodies_are_sent_as_they_were_written(agents: AgentServer) -> None:
    agents.play(
        "a", Steps((HttpStatus(429, retry_after="3"), HttpStatus(302, headers={"Location": "/x"}), Body(b"\xff{")))
    )
    limited, moved, broken = (_call(agents.url("a")) for _ in range(3))
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "3")
    assert (moved.status_code, moved.headers["Location"]) == (302, "/x")
    assert (broken.status_code, broken.content) == (200, b"\xff{")


def test_a_reset_is_a_reset_and_a_hang_ends_with_its_caller(agents: AgentServer) -> None:
    agents.play("a", Steps((Reset(), Hang())))
    with pytest.raises(requests.ConnectionError):
        _call(agents.url("a"))
    with pytest.raises(requests.ReadTimeout):
        _call(agents.url("a"), timeout=0.2)
    calls = agents.wait_for(lambda calls: all(call.ending is not None for call in calls), 5)
    assert [call.ending for call in calls] == ["reset", "caller left"]
    assert [call.status for call in calls] == [None, None]


def test_a_slow_answer_takes_its_time(agents: AgentServer) -> None:
    agents.play("a", always(Slow(0.2, Ok())))
    begun = time.monotonic()
    assert _call(agents.url("a")).status_code == 200
    assert time.monotonic() - begun >= 0.2


def test_held_calls_wait_for_their_release_and_other_agents_do_not(agents: AgentServer) -> None:
    agents.play("a", always(Held(Ok({"free": True}))))
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(_call, agents.url("a"), f"t{n}") for n in range(3)]
        agents.wait_for(lambda calls: len(calls) == 3, 5)
        assert _call(agents.url("echo-agent")).status_code == 200
        assert not any(call.done() for call in held)
        agents.release("a")
        assert [call.result(5).json()["result"] for call in held] == [{"free": True}] * 3
    assert _call(agents.url("a")).status_code == 200
    agents.hold("a")
    with pytest.raises(requests.ReadTimeout):
        _call(agents.url("a"), timeout=0.2)


def test_steps_count_per_agent_or_per_task_and_the_last_goes_on(agents: AgentServer) -> None:
    agents.play("by-agent", Steps((HttpStatus(500), Ok())))
    agents.play("by-task", Steps((HttpStatus(500), Ok()), per="task"))
    for name, expected in (("by-agent", [500, 200, 200, 200]), ("by-task", [500, 500, 200, 200])):
        assert [_call(agents.url(name), task).status_code for task in ("t1", "t2", "t1", "t2")] == expected


def test_a_script_without_actions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one action"):
        Steps(())


def test_the_ledger_tells_everything_about_a_call(agents: AgentServer) -> None:
    before = time.monotonic(), time.time()
    _call(agents.url("echo-agent"), "task-7", {"n": 1})
    _call(agents.url("test-agent"), "task-8")
    [call] = agents.ledger("echo-agent")
    assert (call.agent, call.task_id, call.idempotency_key, call.correlation_id) == (
        "echo-agent",
        "task-7",
        "task-7",
        "corr",
    )
    assert (call.input_data, call.action, call.nth_of_agent, call.nth_of_task) == ({"n": 1}, Echo(), 1, 1)
    assert call.headers["Authorization"] == "Bearer t"
    assert json.loads(call.body)["id"] == "task-7"
    assert (call.ending, call.status) == ("answered", 200)
    assert call.ended_monotonic is not None
    assert call.ended_wall is not None
    assert before[0] <= call.begun_monotonic <= call.ended_monotonic <= time.monotonic()
    assert before[1] <= call.begun_wall <= call.ended_wall <= time.time()
    assert [call.agent for call in agents.ledger()] == ["echo-agent", "test-agent"]
    agents.clear()
    assert agents.ledger() == []


def test_a_call_that_is_no_json_rpc_is_noted_as_it_came(agents: AgentServer) -> None:
    requests.post(agents.url("echo-agent"), data=b"\xff", timeout=5)
    [call] = agents.ledger()
    assert (call.task_id, call.input_data, call.body) == (None, None, b"\xff")


def _all_have_ended(calls: Sequence[Call]) -> bool:
    return all(call.ending is not None for call in calls)


def test_old_calls_are_let_go_and_counting_goes_on(agents: AgentServer) -> None:
    for _ in range(2):
        _call(agents.url("echo-agent"), "task-7")
    agents.wait_for(_all_have_ended, 5)
    agents.let_go(60.0)
    assert len(agents.ledger()) == 2
    agents.let_go(0.0)
    assert agents.ledger() == []
    _call(agents.url("echo-agent"), "task-7")
    [call] = agents.wait_for(_all_have_ended, 5)
    assert (call.nth_of_agent, call.nth_of_task, call.ending) == (3, 3, "answered")


def test_unknown_agents_are_404_and_not_noted_and_a_get_is_a_sign_of_life(agents: AgentServer) -> None:
    assert _call(agents.url("nobody")).status_code == 404
    assert requests.get(agents.url("echo-agent"), timeout=5).json()["status"] == "ok"
    assert agents.ledger() == []


def test_waiting_for_what_does_not_come_says_what_was_there(agents: AgentServer) -> None:
    _call(agents.url("echo-agent"))
    with pytest.raises(TimeoutError, match="echo-agent: 1"):
        agents.wait_for(lambda calls: len(calls) == 2, 0.1)


def test_many_callers_at_once_are_all_noted_once(agents: AgentServer) -> None:
    session = threading.local()

    def call(n: int) -> int:
        if not hasattr(session, "it"):
            session.it = requests.Session()
        request = {"jsonrpc": "2.0", "id": f"t{n}", "params": {"message": {"parts": [{"text": "{}"}]}}}
        response: requests.Response = session.it.post(agents.url("echo-agent"), json=request, timeout=10)
        return response.status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, range(400))) == {200}
    calls = agents.ledger()
    assert {call.task_id for call in calls} == {f"t{n}" for n in range(400)}
    assert [call.nth_of_agent for call in calls] == list(range(1, 401))
    assert [call.number for call in calls] == list(range(400))


def test_a_large_input_is_taken_whole(agents: AgentServer) -> None:
    assert len(_call(agents.url("echo-agent"), input_data={"a": "x" * 3_000_000}).json()["result"]["a"]) == 3_000_000


def test_a_stopped_server_refuses_and_comes_back_on_its_port_with_its_ledger() -> None:
    agents = AgentServer(SAMPLES)
    agents.start()
    url = agents.url("echo-agent")
    _call(url)
    agents.stop()
    with pytest.raises(requests.ConnectionError):
        _call(url)
    agents.start()
    assert _call(url).status_code == 200
    assert len(agents.ledger()) == 2
    agents.stop()
    agents.stop()


def test_a_port_that_is_taken_is_an_error_at_the_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            AgentServer(port=taken.getsockname()[1]).start()


def test_the_sample_agents_run_as_a_program_until_they_are_told_to_stop() -> None:
    process = subprocess.Popen([sys.executable, "-m", "harness.agents"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        urls = dict(process.stdout.readline().split() for _ in SAMPLES)
        assert set(urls) == set(SAMPLES)
        assert _call(urls["echo-agent"], input_data={"a": 7}).json()["result"]["a"] == 7
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()


def test_the_program_says_what_to_do_when_its_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "harness.agents", "--port", port],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 1
    assert "choose another --port" in ended.stderr


@pytest.mark.parametrize("action", [Hang(), Held(Ok()), Slow(60.0, Ok())])
def test_a_forgotten_agent_resets_its_open_calls_and_never_answers_them(agents: AgentServer, action: Action) -> None:
    agents.play("worker", always(action))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(_call, agents.url("worker"), timeout=20.0)
        agents.wait_for(lambda calls: len(calls) == 1, 10)
        agents.forget("worker")
        with pytest.raises(requests.ConnectionError):
            answer.result(10)
    assert [(call.ending, call.status) for call in agents.ledger("worker")] == [("reset", None)]
    assert _call(agents.url("worker")).status_code == 404


def _envelope(**changed: Any) -> dict[str, Any]:
    part = changed.pop("part", {"kind": "text", "text": "{}"})
    message = {"role": "user", "messageId": "m", "parts": [part], **changed.pop("message", {})}
    request = {"jsonrpc": "2.0", "id": "t", "method": "message/send", "params": {"message": message}, **changed}
    return {name: value for name, value in request.items() if value is not ...}


@pytest.mark.parametrize(
    ("request_body", "code", "told"),
    [
        (b"{", -32700, "expected JSON"),
        (b"\xff", -32700, "expected JSON"),
        (b"[" * 100_000, -32700, "expected JSON"),
        ([_envelope()], -32600, "which is an object"),
        (_envelope(jsonrpc="1.0"), -32600, "jsonrpc"),
        (_envelope(jsonrpc=...), -32600, "jsonrpc"),
        (_envelope(id=...), -32600, "as id, found none"),
        (_envelope(id=None), -32600, "as id, found null"),
        (_envelope(id=7), -32600, "as id, found 7"),
        (_envelope(id=""), -32600, "as id"),
        (_envelope(method=...), -32601, "message/send, found none"),
        (_envelope(method="tasks/send"), -32601, "tasks/send"),
        (_envelope(params=...), -32602, "params.message"),
        (_envelope(params=[]), -32602, "params.message"),
        (_envelope(message={"role": "agent"}), -32602, "role user"),
        (_envelope(message={"messageId": None}), -32602, "messageId"),
        (_envelope(message={"parts": []}), -32602, "one part"),
        (_envelope(message={"parts": [{"kind": "text", "text": "{}"}] * 2}), -32602, "one part"),
        (_envelope(part={"kind": "data", "data": {}}), -32602, "kind text"),
        (_envelope(part={"kind": "text", "text": "{'a': 1}"}), -32602, "as JSON"),
        (_envelope(part={"kind": "text", "text": {}}), -32602, "as JSON"),
    ],
)
def test_a_call_that_the_contract_does_not_allow_is_refused_and_noted(
    agents: AgentServer, request_body: Any, code: int, told: str
) -> None:
    sent = {"data": request_body} if isinstance(request_body, bytes) else {"json": request_body}
    answer = requests.post(agents.url("echo-agent"), timeout=5, **sent)
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == code
    [call] = agents.ledger("echo-agent")
    assert call.breach is not None
    assert call.breach.code == code
    assert told in call.breach.sentence
    assert answer.json()["error"]["message"] == call.breach.sentence


def test_members_beyond_the_contract_are_let_be(agents: AgentServer) -> None:
    request = _envelope(
        extra=1, message={"extra": 2, "kind": "message"}, part={"kind": "text", "text": "[]", "extra": 3}
    )
    assert "result" in requests.post(agents.url("echo-agent"), json=request, timeout=5).json()
    assert [call.breach for call in agents.ledger()] == [None]


def test_an_agent_takes_calls_with_the_credentials_that_it_demands_only(agents: AgentServer) -> None:
    agents.play("bearer", always(Ok()), demands={"Authorization": "Bearer t"})
    agents.play("other", always(Ok()), demands={"authorization": "Bearer other"})
    agents.play("key", always(Ok()), demands={"X-Key": "k"})
    assert [_call(agents.url(name)).status_code for name in ("bearer", "other", "key")] == [200, 401, 401]
    refused = _call(agents.url("other"))
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "Bearer other" not in refused.text
    told = [call.lacking for call in agents.ledger()]
    assert told[0] is None
    assert told[1] == "expected the header authorization: Bearer other, found 'Bearer t'"
    assert told[2] == "expected the header X-Key: k, found none"
    agents.play("key", always(Ok()))
    assert _call(agents.url("key")).status_code == 200


def test_a_listener_hears_of_a_call_before_its_answer_leaves(agents: AgentServer) -> None:
    heard: list[tuple[str, object]] = []

    class Listener:
        def begun(self, call: Call) -> None:
            heard.append(("begun", call.task_id))

        def ends(self, call: Call, ending: str, status: int | None, body: bytes | None) -> None:
            assert call.task_id == "t"
            heard.append((ending, status if body is None else (status, json.loads(body)["result"])))

    agents.listen(Listener())
    agents.play("worker", always(Ok({"n": 1})))
    _call(agents.url("worker"), "t")
    assert heard == [("begun", "t"), ("answered", (200, {"n": 1}))]
