"""A peer's worker as a process that takes commands, a JSON object on a line, and answers each with one line."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.child import child
from harness.stack import Warden

_START_SECONDS = 60.0


class WorkerProcess:
    """The running process. Its standard output is for answers alone; what else it says goes to standard error."""

    def __init__(self, peer: str, process: subprocess.Popen[str]) -> None:
        self._peer = peer
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def pause(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def ask(self, command: Mapping[str, Any], timeout_seconds: float = _START_SECONDS) -> Any:
        """The answer to a command. Raises what :meth:`line` raises."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self.line("", timeout_seconds))

    def line(self, beginning: str, timeout_seconds: float = _START_SECONDS) -> str:
        """Its next line. Ends a worker that is silent for too long; raises RuntimeError for anything unexpected."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(timeout_seconds, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line or not line.startswith(beginning):
            raise RuntimeError(
                f"the worker of {self._peer} wrote {line!r}; expected a line that begins with {beginning!r} within "
                f"{timeout_seconds:.0f} s (exit code {self._process.poll()}). Its messages stand above."
            )
        return line


@contextlib.contextmanager
def worker_process(peer: str, module: str, settings: Mapping[str, Any], warden: Warden) -> Iterator[WorkerProcess]:
    """`python -m module SETTINGS`, which has said `ready`; ended by the end of its input.

    Raises RuntimeError when it does not come up.
    """
    with child(warden, module, json.dumps(settings)) as process:
        worker = WorkerProcess(peer, process)
        worker.line("ready")
        yield worker
        worker.resume()
