"""Requests to an API arrive as they were written, and stand in the history with their answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from harness.history import HistoryWriter
from harness.observer import RestRecorder, Scopes
from harness.subject import Binding


class Api(BaseHTTPRequestHandler):
    """Takes down what arrives."""

    seen: ClassVar[list[tuple[str, str, str | None, bytes]]] = []
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, self.headers.get("Content-Type"), body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture
def recorder() -> Iterator[RestRecorder]:
    Api.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    recorder = RestRecorder(f"http://127.0.0.1:{server.server_port}", Binding())
    yield recorder
    recorder.close()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        ("/runs?created_after=2026-01-01T00:00:00+00:00", "/api/v1/runs?created_after=2026-01-01T00:00:00%2B00:00"),
        ("/runs?a=x%20y%2Bz&b=1", "/api/v1/runs?a=x%20y%2Bz&b=1"),
        ("/runs?name=a b", "/api/v1/runs?name=a%20b"),
        ("/runs?name=c#d", "/api/v1/runs?name=c%23d"),
        ("/agents/a+b", "/api/v1/agents/a+b"),
        ("//health?x=1+1", "/health?x=1%2B1"),
    ],
)
def test_a_plus_sign_in_a_query_arrives_as_a_plus_sign(recorder: RestRecorder, path: str, arrives: str) -> None:
    recorder.ask(None, "GET", path)
    assert [one[1] for one in Api.seen] == [arrives]


def test_a_raw_body_is_sent_as_it_is_under_the_content_type_that_is_named(recorder: RestRecorder) -> None:
    recorder.ask(None, "POST", "/workflows", raw='{"name": ')
    recorder.ask(None, "POST", "/workflows", raw="name=x", headers={"Content-Type": "text/plain"})
    recorder.ask(None, "POST", "/workflows", raw="")
    assert [(kind, body) for _, _, kind, body in Api.seen] == [
        ("application/json", b'{"name": '),
        ("text/plain", b"name=x"),
        ("application/json", b""),
    ]


def test_of_a_long_body_the_history_has_the_beginning(recorder: RestRecorder) -> None:
    scope = Scopes().open(HistoryWriter(None))
    recorder.ask(scope, "POST", "/workflows", raw="[" * 1_000_000)
    assert [len(one[3]) for one in Api.seen] == [1_000_000]
    (request,) = scope.writer.history().of("request")
    assert request["body"] == "[" * 2000 + "… (1000000 characters)"
