"""The API as a process of its own: its start, its end, and what its server does with what is not HTTP as it should be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = Path(__file__).parents[3]
DEADLINE_SECONDS = 30


class Process:
    """A running `python -m system api`."""

    def __init__(self, log: Path, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = log
        self.base = f"http://127.0.0.1:{self.port}"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "system", "api"],
                cwd=ROOT,
                env={**os.environ, **environment, "API_PORT": str(self.port)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def await_health(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                assert requests.get(f"{self.base}/health", timeout=5).json() == {"status": "ok"}
                return
            except requests.ConnectionError:
                time.sleep(0.05)

    def raw(self, request: bytes) -> tuple[bytes, bytes]:
        """Head and body of the answer to bytes that are sent as they are."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        return head, body


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts API processes, and ends those that are left."""
    started: list[Process] = []

    def begin(**environment: str) -> Process:
        process = Process(tmp_path / f"api-{len(started)}.log", **environment)
        started.append(process)
        process.await_health()
        return process

    yield begin
    for process in started:
        process.process.kill()
        process.process.wait()


@pytest.fixture
def environment(stack: Any, settings: Any) -> dict[str, str]:
    assert settings.database_url
    return {"DATABASE_URL": stack.database_url, "KAFKA_BROKERS": stack.kafka_brokers}


@pytest.fixture
def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_it_starts_without_database_and_kafka_and_says_what_is_away(start: Start, nowhere: str) -> None:
    api = start(DATABASE_URL=f"postgresql://nobody:s3cr3t@{nowhere}/nothing", KAFKA_BROKERS=nowhere)
    ready = requests.get(f"{api.base}/ready", timeout=10)
    assert (ready.status_code, ready.headers["Content-Type"]) == (503, "application/problem+json")
    assert "database" in ready.json()["detail"]
    assert "Kafka" in ready.json()["detail"]
    assert requests.get(f"{api.base}/api/v1/runs", timeout=10).status_code == 503
    api.process.send_signal(signal.SIGTERM)
    assert api.process.wait(DEADLINE_SECONDS) == 0
    log = api.log.read_text()
    assert "Starting API Service" in log
    assert f"API listening on http://127.0.0.1:{api.port}" in log
    assert "s3cr3t" not in log
    assert "Traceback" not in log


def test_a_port_that_is_taken_ends_the_start_with_a_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = subprocess.run(
            [sys.executable, "-m", "system", "api"],
            cwd=ROOT,
            env={**os.environ, "API_PORT": str(taken.getsockname()[1])},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert ended.returncode == 2
    assert "API_PORT" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_what_is_being_worked_on_is_answered_before_the_end(start: Start, environment: dict[str, str]) -> None:
    api = start(**environment)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        place = requests.post(
            f"{api.base}/api/v1/agents", json={"name": f"slow {url}", "url": url}, timeout=10
        ).headers["Location"]
        found: list[requests.Response] = []
        asking = threading.Thread(target=lambda: found.append(requests.get(f"{api.base}{place}/health", timeout=10)))
        asking.start()
        silent.settimeout(DEADLINE_SECONDS)
        # Once the agent is asked, the request is being worked on.
        connection, _ = silent.accept()
        api.process.send_signal(signal.SIGTERM)
        asking.join(DEADLINE_SECONDS)
        connection.close()
    assert api.process.wait(DEADLINE_SECONDS) == 0
    assert [answer.status_code for answer in found] == [200]
    assert "API stopped" in api.log.read_text()


def test_a_run_is_kept_when_the_process_is_killed_right_after_its_answer(
    start: Start, environment: dict[str, str], stack: Any, workflow: dict[str, Any], served: Any, messages_of: Any
) -> None:
    api = start(**environment)
    stack.broker.kill()
    try:
        answer = requests.post(f"{api.base}/api/v1/workflows/{workflow['id']}/execute", json={}, timeout=10)
        assert answer.status_code == 202
        api.process.kill()
        api.process.wait()
    finally:
        stack.broker.start()
    # The outbox of the application in this process finds what the dead one left behind.
    assert len(messages_of("workflow.execution.requests", answer.json()["run_id"], 1)) == 1
    assert served.client().get(f"/api/v1/runs/{answer.json()['run_id']}").json["status"] == "PENDING"


def test_two_processes_share_the_work(start: Start, environment: dict[str, str], workflow: dict[str, Any]) -> None:
    for api in (start(**environment), start(**environment)):
        answer = requests.post(f"{api.base}/api/v1/workflows/{workflow['id']}/execute", json={}, timeout=10)
        assert answer.status_code == 202


@pytest.fixture
def api(start: Start, environment: dict[str, str]) -> Process:
    return start(**environment, API_THREADS="2")


HOST = b"Host: x\r\nConnection: close\r\n"


def test_what_is_not_http_is_refused_as_a_problem(api: Process) -> None:
    for request, status in (
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Bad Header\r\n\r\n", b"400"),
        (b"POST /api/v1/agents HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n", b"400"),
        (b"POST /api/v1/agents HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: x\r\n\r\n", b"501"),
        (b"GET /api/v1/runs/" + b"x" * 60_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", b"404"),
    ):
        head, body = api.raw(request)
        assert head.split()[1] == status, head
        assert b"application/problem+json" in head
        assert json.loads(body)["status"] == int(status)
    api.await_health()


@pytest.mark.parametrize("size", [900_001, 2_000_000, 20_000_000])
def test_a_large_body_is_refused_and_the_api_goes_on(api: Process, size: int) -> None:
    head = b"POST /api/v1/agents HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    sent = b"x" * size if size < 9_000_000 else b""
    answer, body = api.raw(head % size + sent)
    assert answer.split()[1] == b"413"
    assert json.loads(body)["status"] == 413
    api.await_health()


def test_a_body_in_chunks_is_taken_and_one_without_end_is_cut_off(api: Process) -> None:
    head = (
        b"POST /api/v1/agents HTTP/1.1\r\n"
        + HOST
        + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answer, body = api.raw(head + b"2\r\n{}\r\n0\r\n\r\n")
    assert answer.split()[1] == b"422"
    assert json.loads(body)["errors"]
    assert _sends_until_cut_off(api, head, b"10000\r\n" + b"x" * 65536 + b"\r\n") < 64_000_000
    api.await_health()


def test_headers_without_end_are_cut_off(api: Process) -> None:
    assert _sends_until_cut_off(api, b"GET /health HTTP/1.1\r\nHost: x\r\n", b"X: " + b"x" * 1000 + b"\r\n") < 8_000_000
    api.await_health()


def _sends_until_cut_off(api: Process, head: bytes, part: bytes) -> int:
    sent = len(head)
    with socket.create_connection(("127.0.0.1", api.port), timeout=DEADLINE_SECONDS) as connection:
        connection.sendall(head)
        while sent < 128_000_000:
            try:
                connection.sendall(part)
            except ConnectionError:
                break
            sent += len(part)
    return sent


def test_clients_that_are_slow_to_send_hold_no_thread(api: Process) -> None:
    slow = [socket.create_connection(("127.0.0.1", api.port)) for _ in range(10)]
    try:
        for connection in slow:
            connection.sendall(b"POST /api/v1/agents HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        begun = time.monotonic()
        assert requests.get(f"{api.base}/api/v1/runs", timeout=10).status_code == 200
        assert time.monotonic() - begun < 5
    finally:
        for connection in slow:
            connection.close()


def test_the_page_to_browse_the_description_needs_nothing_from_elsewhere(api: Process) -> None:
    page = requests.get(f"{api.base}/docs", timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    description = requests.get(f"{api.base}/openapi.json", timeout=10).json()
    assert "/api/v1/runs/{run_id}/retry" in description["paths"]
