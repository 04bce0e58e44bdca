"""Whether a process goes on is told by its heartbeat, or by the API itself."""

from __future__ import annotations

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from system.__main__ import main
from system.heartbeat import Heartbeat, why_unhealthy
from system.settings import Settings


def test_a_heartbeat_is_a_touched_file(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    Heartbeat(str(path)).beat()
    assert why_unhealthy(Settings(heartbeat_file=str(path))) is None


def test_it_beats_once_a_second_at_most(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    heartbeat = Heartbeat(str(path))
    heartbeat.beat()
    path.unlink()
    heartbeat.beat()
    assert not path.exists()


def test_an_old_heartbeat_is_told_with_its_age(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    path.touch()
    os.utime(path, (time.time() - 100, time.time() - 100))
    assert "100 s old" in str(why_unhealthy(Settings(heartbeat_file=str(path))))


def test_a_file_that_cannot_be_written_is_told_of_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat = Heartbeat(str(tmp_path / "no-such-folder" / "heartbeat"))
    heartbeat.beat()
    heartbeat.beat()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "HEARTBEAT_FILE must be writable" in caplog.text


class _Api(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        assert self.path == "/ready"
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"as it is")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.mark.parametrize(("status", "exit_code", "said"), [(200, 0, ""), (503, 1, "answers 503: as it is")])
def test_without_a_heartbeat_the_api_is_asked(
    monkeypatch: pytest.MonkeyPatch, status: int, exit_code: int, said: str
) -> None:
    monkeypatch.setattr(_Api, "status", status)
    with HTTPServer(("127.0.0.1", 0), _Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = CliRunner().invoke(main, ["healthy"], env={"API_PORT": str(server.server_port)})
        server.shutdown()
    assert (found.exit_code, said in found.output) == (exit_code, True)


def test_no_heartbeat_and_no_api_is_unhealthy(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), _Api) as server:
        port = server.server_port
    wrong = why_unhealthy(Settings(heartbeat_file=str(tmp_path / "none"), api_port=port))
    assert wrong is not None
    assert "no heartbeat" in wrong
