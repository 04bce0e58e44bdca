"""One server as a child process: started in a session of its own, watched over, signalled with its descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.stack.errors import NoSpace, NotReadyInTime, NotRunning, ServerDied, StackError
from harness.stack.log_since import LogSince
from harness.stack.warden import Warden
from harness.stack.warden_process import wait_until_gone

POLL_SECONDS = 0.02
KILL_SECONDS = 15.0
_TAIL_LINES = 40


@dataclass(frozen=True)
class RunAs:
    """The user that a child runs as when we are root; user and group by number."""

    user_id: int
    group_id: int


class ServerProcess:
    """A child process with its log file. Not started by its construction; may be started again after its end."""

    def __init__(
        self,
        name: str,
        log_path: Path,
        warden: Warden,
        farewell: signal.Signals = signal.SIGKILL,
        inherited_descriptors: tuple[int, ...] = (),
    ) -> None:
        """``farewell`` is the signal that the warden sends first when the parent has died."""
        self._inherited_descriptors = inherited_descriptors
        self.name = name
        self.log_path = log_path
        self._warden = warden
        self._farewell = farewell
        self._process: subprocess.Popen[bytes] | None = None
        self._log: LogSince | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last process that ended; negative for a signal."""
        return None if self._process is None else self._process.poll()

    def launch(
        self,
        arguments: Sequence[str],
        directory: Path,
        environment: Mapping[str, str] | None = None,
        run_as: RunAs | None = None,
    ) -> None:
        """Start the program with a small, fixed environment; its output goes to the end of the log file."""
        fixed = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": str(directory)}
        with self.log_path.open("ab") as log:
            self._log = LogSince(self.log_path)
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**fixed, **(environment or {}), **self._warden.environment()},
                start_new_session=True,
                pass_fds=self._inherited_descriptors,
                user=run_as.user_id if run_as else None,
                group=run_as.group_id if run_as else None,
                extra_groups=[] if run_as else None,
            )
        self._warden.adopt(self._process.pid, self._farewell)

    def family(self) -> list[psutil.Process]:
        """The process and its descendants; empty when it does not run."""
        if (pid := self.pid) is None:
            return []
        try:
            process = psutil.Process(pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        """Signal the process alone. Raises :class:`NotRunning`."""
        if self.pid is None or self._process is None:
            raise NotRunning(f"{self.name} is not running, so it cannot be sent {number.name}. Start it first.")
        self._process.send_signal(number)

    def send_to_family(self, number: signal.Signals) -> None:
        """Signal the process, then its descendants. Raises :class:`NotRunning`."""
        family = self.family()
        self.send(number)
        for process in family[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def end(self, number: signal.Signals, timeout_seconds: float) -> None:
        """Signal the process, if it runs, and kill it when it has not ended after so long."""
        if self.pid is not None:
            self.send(number)
            if not self.wait_for_end(timeout_seconds):
                self.kill()

    def kill(self) -> None:
        """SIGKILL to the process and its descendants; returns when all are gone. Raises :class:`NotRunning`."""
        family = self.family()
        self.send(signal.SIGKILL)
        for process in family[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.wait_for_end(KILL_SECONDS)
        if alive := wait_until_gone(family[1:], KILL_SECONDS):
            raise NotReadyInTime(f"{self.name}: {alive} did not end within {KILL_SECONDS} s of SIGKILL.")

    def wait_for_end(self, timeout_seconds: float) -> bool:
        """Wait for the end of the process; False when it still runs after so long."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        self._warden.release(self._process.pid)
        return True

    def wait_until(self, is_ready: Callable[[], bool], what: str, timeout_seconds: float) -> None:
        """Wait until the condition holds.

        Raises :class:`ServerDied` with the end of the log when the process ends first, and
        :class:`NotReadyInTime` at the deadline.
        """
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if self.pid is None:
                raise self._death()
            if time.monotonic() > deadline:
                raise NotReadyInTime(
                    f"{self.name} did not {what} within {timeout_seconds:.0f} s. "
                    f"The end of its log ({self.log_path}):\n{self.log_tail()}"
                )
            time.sleep(POLL_SECONDS)

    def wait_for_success(self, timeout_seconds: float) -> None:
        """Wait for the program to end well. Raises :class:`ServerDied` when it ends otherwise."""
        if not self.wait_for_end(timeout_seconds):
            self.kill()
            raise NotReadyInTime(f"{self.name} took longer than {timeout_seconds:.0f} s.\n{self.log_tail()}")
        if self.exit_code != 0:
            raise self._death()

    def _death(self) -> StackError:
        if "No space left on device" in self.log_since_launch():
            return NoSpace(
                f"{self.name} found no space left for its data. Free some 300 MiB there, or choose another place "
                f"with --data DIR or TMPDIR. The end of its log:\n{self.log_tail()}"
            )
        return ServerDied(self.name, self.exit_code, self.log_tail())

    def log_since_launch(self) -> str:
        """What the last launched process has written."""
        return "" if self._log is None else self._log.read().decode("utf-8", errors="replace")

    def log_tail(self) -> str:
        """The last lines that the last launched process has written."""
        return "\n".join(self.log_since_launch().splitlines()[-_TAIL_LINES:])
