"""One process of a role, with the faults that can be done to it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.stack import Warden
from harness.stack.process import KILL_SECONDS, ServerProcess
from harness.stack.warden_process import wait_until_gone
from harness.subject.description import RoleName
from harness.subject.errors import NotReady, SubjectError


@dataclass(frozen=True)
class Launch:
    """What a process is started with, all placeholders filled."""

    arguments: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str]
    stop_signal: signal.Signals
    stop_timeout_seconds: float
    told: tuple[str, ...] = ()
    """The names of those variables that the subject is to have wherever it runs; the rest is for programs of this machine."""


Starter = Callable[["RoleProcess", bool], None]
"""Starts a process and, when told so, waits until it is ready."""


class RoleProcess:
    """A process of a role. What is done to it is done to its descendants as well; it may be started again."""

    def __init__(
        self, role: RoleName, number: int, log_path: Path, warden: Warden, launch: Launch, start: Starter
    ) -> None:
        """``number`` counts the processes of the role from 1."""
        self.role = role
        self.number = number
        self._launch = launch
        self._start = start
        self._is_wanted = False
        # A program that is only a front, such as the client of a container engine, passes a signal on, but no SIGKILL.
        self._process = ServerProcess(self.name, log_path, warden, launch.stop_signal)

    def relaunch_with(self, launch: Launch) -> None:
        """From its next start on, it is started with this."""
        self._launch = launch

    @property
    def name(self) -> str:
        """Role and number, such as ``consumer-2``."""
        return f"{self.role}-{self.number}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last process that ended; negative for a signal."""
        return self._process.exit_code

    @property
    def log_path(self) -> Path:
        """Where its output goes, that of all its starts."""
        return self._process.log_path

    @property
    def is_running(self) -> bool:
        """Whether it runs, were it even paused."""
        return self._process.pid is not None

    @property
    def has_died(self) -> bool:
        """Whether it has ended without having been told to."""
        return self._is_wanted and not self.is_running

    def log(self) -> str:
        """What it has written since its last start."""
        return self._process.log_since_launch()

    def log_tail(self) -> str:
        """The last lines that it has written since its last start."""
        return self._process.log_tail()

    def launch(self) -> None:
        """Start it and return at once; nothing happens when it runs. Raises :class:`SubjectError`."""
        if self.is_running:
            return
        try:
            self._process.launch(self._arguments(), self._launch.directory, self._launch.environment)
        except OSError as error:
            raise SubjectError(
                f"{self.name} cannot be started: {error.strerror or error} ({self._launch.arguments[0]}, in "
                f"{self._launch.directory}). Install that program or correct `command` in the subject file."
            ) from error
        self._is_wanted = True

    def _arguments(self) -> tuple[str, ...]:
        """The program to start now, and its arguments."""
        return self._launch.arguments

    def start(self, *, wait: bool = True) -> None:
        """Start it on its environment and port of before, and wait until it is ready; nothing happens when it runs.

        Raises :class:`ProcessDied` or :class:`NotReady`.
        """
        self._start(self, wait)

    def restart(self, *, wait: bool = True) -> None:
        """Stop it, when it runs, and start it."""
        self.stop()
        self.start(wait=wait)

    def kill(self) -> None:
        """SIGKILL; returns when it and its descendants are gone. Raises ``NotRunning`` of the stack."""
        self._is_wanted = False
        self._process.kill()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and does nothing. Raises ``NotRunning`` of the stack."""
        self._process.send_to_family(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT. Raises ``NotRunning`` of the stack."""
        self._process.send_to_family(signal.SIGCONT)

    def stop(self) -> bool:
        """End it by its stop signal, and by SIGKILL at its time-out. False when it had to be killed."""
        return self.await_stop(self.request_stop())

    def request_stop(self) -> list[psutil.Process]:
        """Send its stop signal; gives what `await_stop` has to wait for."""
        self._is_wanted = False
        family = self._process.family()
        if family:
            self._process.send_to_family(signal.SIGCONT)
            self._process.send(self._launch.stop_signal)
        return family

    def await_stop(self, family: list[psutil.Process]) -> bool:
        """Wait until everything is gone that ran at `request_stop`; False when something had to be killed."""
        if self._process.wait_for_end(self._launch.stop_timeout_seconds):
            left = wait_until_gone(family[1:], self._launch.stop_timeout_seconds)
        else:
            self._process.kill()
            left = family[1:]
            if not left:
                return False
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if alive := wait_until_gone(left, KILL_SECONDS):
            raise NotReady(f"{self.name}: {alive} did not end within {KILL_SECONDS:.0f} s of SIGKILL.")
        return not left
