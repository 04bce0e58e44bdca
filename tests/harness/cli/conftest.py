"""An API of a few lines, in memory, for the commands that speak to one; and the command itself, run in this process."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.cli import main

CREATED = "2026-01-02T03:04:05.000Z"


def run_document(run_id: str, status: str, **more: Any) -> dict[str, Any]:
    """A run as an API answers it."""
    ended = CREATED if status in ("COMPLETED", "FAILED") else None
    return {
        "run_id": run_id,
        "workflow_id": "wf-w-1",
        "workflow_name": "w",
        "status": status,
        "input_data": {},
        "error_message": None,
        "created_at": CREATED,
        "updated_at": CREATED,
        "completed_at": ended,
        "cancelled_at": CREATED if status == "CANCELLED" else None,
        "cancelled_by": None,
        **more,
    }


@dataclass
class FakeApi:
    """What the API holds, what it does next, and what it was asked."""

    url: str = ""
    workflows: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[str] = field(default_factory=lambda: ["PENDING", "RUNNING", "COMPLETED"])
    steps: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    error_message: str | None = None
    refusals: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """Method and path → status and body of an answer that refuses."""

    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        """The answer to one request."""
        self.asked.append((method, path, body))
        if (refusal := self.refusals.get(f"{method} {path}")) is not None:
            return refusal
        match (method, path.split("/")[3:]):
            case ("GET", ["workflows"]):
                return 200, _page(self.workflows, query)
            case ("POST", ["workflows"]):
                stored = {"id": "id-1", "version": 1, "status": "active", "description": None, **body}
                self.workflows.append(stored)
                return 201, stored
            case ("PUT", ["workflows", workflow_id]):
                (stored,) = [workflow for workflow in self.workflows if workflow["id"] == workflow_id]
                stored |= {"description": None, **body, "version": stored["version"] + 1}
                return 200, stored
            case ("POST", ["workflows", _, "execute"]):
                return 202, {"run_id": "run-1", "status": "PENDING"}
            case ("GET", ["runs"]):
                return 200, _page(self.runs, query)
            case ("GET", ["runs", run_id]):
                status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                return 200, run_document(run_id, status, error_message=self.error_message)
            case ("GET", ["runs", _, "steps"]):
                return 200, {"items": self.steps, "total": len(self.steps)}
            case ("POST", ["runs", run_id, "cancel"]):
                return 200, run_document(run_id, "CANCELLED")
            case ("POST", ["runs", run_id, "retry"]):
                return 202, {"run_id": run_id, "status": "PENDING"}
        return 404, {"type": "about:blank", "title": "Not Found", "status": 404, "detail": f"nothing is at {path}"}


def _page(items: list[dict[str, Any]], query: str) -> dict[str, Any]:
    """A page of a list, by the query; without the filter by name, which is an extension."""
    asked = {name: int(number) for name, number in re.findall(r"(page|page_size)=(\d+)", query)}
    page, size = asked.get("page", 1), asked.get("page_size", 20)
    shown = items[(page - 1) * size : page * size]
    total_pages = -(-len(items) // size)
    return {"items": shown, "total": len(items), "page": page, "page_size": size, "total_pages": total_pages}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """The API, on a free port."""
    fake = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path, _, query = self.path.partition("?")
            status, answer = fake.answer(self.command, path, query, body)
            encoded = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        fake.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield fake
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    exit_code: int
    out: str
    err: str


@pytest.fixture
def plumbline(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `plumbline` with arguments."""

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        captured = capsys.readouterr()
        return Done(int(left.value.code or 0), captured.out, captured.err)

    return run
