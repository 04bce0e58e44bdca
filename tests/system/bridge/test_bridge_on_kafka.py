"""The bridge as a process between a real Kafka, a real PostgreSQL and agents over HTTP."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from harness.agents import AgentServer, Echo, Fail, Hang, Held, HttpStatus, Ok, Reset, RpcError, Steps, always

if TYPE_CHECKING:
    from conftest import BridgeProcess

_SECRET = "t0p-s3cret"


def test_every_kind_of_answer_becomes_the_result_that_the_contract_says(
    bridge: BridgeProcess, agents: AgentServer
) -> None:
    kinds = {
        "echo": Echo(),
        "ok": Ok({"answer": 42}),
        "fail": Fail("no such city"),
        "error": RpcError("disk full", -32603),
        "status": HttpStatus(404),
        "nul": Ok({"a": "\x00"}),
        "big": Ok({"a": "x" * 1_000_000}),
    }
    names = {kind: bridge.register(kind) for kind in kinds}
    for kind, action in kinds.items():
        agents.play(names[kind], always(action))
    bridge.start()
    bridge.send([bridge.task(names[kind], kind) for kind in kinds] + [bridge.task("nobody-at-all", "unknown")])
    results = {result["task_id"]: result for result in bridge.results_of([*kinds, "unknown"])}
    assert {kind for kind, result in results.items() if result["status"] == "SUCCESS"} == {"echo", "ok"}
    assert results["ok"]["output_data"] == {"answer": 42}
    assert results["echo"]["output_data"]["n"] == "echo"
    assert results["echo"]["output_data"]["text"] == '{"n": "echo"}'
    assert results["echo"]["correlation_id"] == "corr-echo"
    said = {kind: result["error_message"] for kind, result in results.items() if result["status"] == "FAILURE"}
    assert "no such city" in said["fail"]
    assert "disk full" in said["error"]
    assert "404" in said["status"]
    assert "PostgreSQL cannot hold" in said["nul"]
    assert "1000000 bytes" in said["big"]
    assert "nobody-at-all" in said["unknown"]
    assert set(bridge.calls().values()) == {1}
    for line in (
        "Starting HTTP Bridge Service",
        "Bridge consumer initialized successfully",
        "Starting bridge main loop",
    ):
        assert line in bridge.log()


@pytest.mark.parametrize("max_retries", [0, 2, 5])
def test_an_agent_that_always_fails_gets_the_promised_calls_and_one_that_recovers_succeeds(
    bridge: BridgeProcess, agents: AgentServer, max_retries: int
) -> None:
    config = {"max_retries": max_retries, "initial_delay_ms": 20, "max_delay_ms": 40, "backoff_multiplier": 2}
    bad, gone, back = (bridge.register(name, retry_config=config, timeout_ms=200) for name in ("bad", "gone", "back"))
    agents.play(bad, always(HttpStatus(503)))
    agents.play(gone, always(Hang()))
    agents.play(
        back,
        Steps((*[Reset(), HttpStatus(500), HttpStatus(429, retry_after="0")] * 2, Ok({"a": 1}))[-max_retries - 1 :]),
    )
    bridge.start()
    bridge.send([bridge.task(bad, "bad"), bridge.task(gone, "gone"), bridge.task(back, "back")])
    failed, timed_out, recovered = bridge.results_of(["bad", "gone", "back"])
    assert (failed["status"], timed_out["status"], recovered["status"]) == ("FAILURE", "FAILURE", "SUCCESS")
    assert "503" in failed["error_message"]
    assert "200 ms" in timed_out["error_message"]
    assert bridge.calls() == {"bad": max_retries + 1, "gone": max_retries + 1, "back": max_retries + 1}
    assert {call.idempotency_key for call in agents.ledger()} == {"bad", "gone", "back"}


def test_agents_that_hang_hold_up_nobody_else(bridge: BridgeProcess, agents: AgentServer) -> None:
    slow, fast = bridge.register("slow", timeout_ms=60_000), bridge.register("fast")
    agents.play(slow, always(Held()))
    agents.play(fast, always(Echo()))
    bridge.start(BRIDGE_AGENT_CONCURRENCY="8")
    bridge.send([bridge.task(slow, f"s{n}") for n in range(300)])
    agents.wait_for(lambda calls: len(calls) == 8, 20)
    fast_ids = [f"f{n}" for n in range(300)]
    bridge.send([bridge.task(fast, task_id) for task_id in fast_ids])
    bridge.results_of(fast_ids, 15)
    assert len(agents.ledger(slow)) == 8
    agents.release(slow)
    bridge.results_of([f"s{n}" for n in range(300)])
    assert set(bridge.calls().values()) == {1}


def test_reading_pauses_above_the_limit_and_goes_on_below_half_of_it(
    bridge: BridgeProcess, agents: AgentServer
) -> None:
    name = bridge.register("held", timeout_ms=60_000)
    agents.play(name, always(Held()))
    bridge.start(BRIDGE_MAX_IN_FLIGHT="100", BRIDGE_AGENT_CONCURRENCY="5")
    for first in range(0, 3000, 300):
        bridge.send([bridge.task(name, f"t{n}") for n in range(first, first + 300)])
        agents.wait_for(lambda calls: len(calls) == 5, 20)
    agents.release(name)
    bridge.results_of([f"t{n}" for n in range(3000)])
    assert "reading no more tasks for now" in bridge.log()
    assert "reading tasks again" in bridge.log()
    assert set(bridge.calls().values()) == {1}


def test_what_is_no_task_is_on_the_dead_letter_topic_and_valid_tasks_behind_it_are_answered(
    bridge: BridgeProcess, agents: AgentServer
) -> None:
    name = bridge.register("echo")
    agents.play(name, always(Echo()))
    bad = [b"", b"{", b"\xff\xfe", b"[]", b"[" * 50_000, b'{"run_id": "r"}', b"x" * 900_000]
    bridge.start()
    bridge.send([*bad, bridge.task(name, "good"), *[b'{"n": %d}' % n for n in range(500)], bridge.task(name, "last")])
    bridge.results_of(["good", "last"])
    deadline = time.monotonic() + 20
    while len(bridge.letters) < 507 and time.monotonic() < deadline:
        bridge.poll()
    assert len(bridge.letters) == 507
    assert {letter.value() or b"" for letter in bridge.letters} >= set(bad)
    for letter in bridge.letters:
        headers = dict(letter.headers() or [])
        assert {"reason", "source_topic", "source_partition", "source_offset", "timestamp"} <= set(headers)
        assert headers["source_topic"] == bridge.tasks_topic.encode()
        assert headers["reason"]


def test_secrets_are_sent_to_the_agent_and_shown_nowhere_else(bridge: BridgeProcess, agents: AgentServer) -> None:
    url = agents.url("x").replace("http://", f"http://user:{_SECRET}@").removesuffix("x")
    bearer = bridge.register("bearer", auth_type="bearer", auth_config={"token": _SECRET})
    own = bridge.register(
        "own", auth_type="custom_header", auth_config={"header_name": "X-Own", "header_value": _SECRET}
    )
    basic = bridge.register("basic", url=url + "basic", retry_config={"max_retries": 1, "initial_delay_ms": 1})
    agents.play(bearer, always(Ok({"you sent": f"Bearer {_SECRET}"})))
    agents.play(own, always(RpcError(f"wrong value {_SECRET}")))
    agents.play("basic", always(Reset()))
    bridge.start()
    bridge.send([bridge.task(bearer, "bearer"), bridge.task(own, "own"), bridge.task(basic, "basic")])
    results = bridge.results_of(["bearer", "own", "basic"])
    sent = {call.task_id: call.headers for call in agents.ledger()}
    assert sent["bearer"]["Authorization"] == f"Bearer {_SECRET}"
    assert sent["own"]["X-Own"] == _SECRET
    assert sent["basic"]["Authorization"].startswith("Basic ")
    assert _SECRET not in json.dumps(results)
    assert _SECRET not in bridge.log()
    assert results[0]["output_data"]["you sent"] == "Bearer ***"


def test_agents_are_found_over_rest_when_a_registry_is_set(bridge: BridgeProcess, agents: AgentServer) -> None:
    agents.play("by-rest", always(Ok({"by": "rest"})))
    records = [
        {"name": "by-rest", "url": agents.url("by-rest")},
        {"name": "sealed", "url": agents.url("x"), "auth_type": "bearer"},
    ]
    away = threading.Event()
    away.set()

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"starting" if away.is_set() else json.dumps({"items": records, "total_pages": 1}).encode()
            self.send_response(503 if away.is_set() else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing is to be printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bridge.start(
            AGENT_REGISTRY_URL=f"http://127.0.0.1:{server.server_address[1]}",
            DATABASE_URL="postgresql://nobody:none@127.0.0.1:9/nothing",
        )
        bridge.send([bridge.task("by-rest", "r1"), bridge.task("sealed", "sealed"), bridge.task("nobody", "nobody")])
        deadline = time.monotonic() + 20
        while "tasks wait for the agent registry" not in bridge.log():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        away.clear()
        found, sealed, nobody = bridge.results_of(["r1", "sealed", "nobody"])
        server.shutdown()
    assert found["output_data"] == {"by": "rest"}
    assert "gives no secrets" in sealed["error_message"]
    assert "not registered" in nobody["error_message"]
