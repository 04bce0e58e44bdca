"""Deeds done to the processes of a running subject, noted in the history of the scenario that asked for them."""

from __future__ import annotations

from typing import Protocol

from harness.history import HistoryWriter
from harness.subject import RunningSubject


class _Processes(Protocol):
    def kill(self, writer: HistoryWriter, role: str, number: int | None) -> None: ...
    def start(self, writer: HistoryWriter, role: str, number: int | None) -> None: ...
    def pause(self, writer: HistoryWriter, role: str, number: int | None) -> None: ...
    def resume(self, writer: HistoryWriter, role: str, number: int | None) -> None: ...


class Hands:
    """`Deeds` through the runner's processes, so that they are brought back to order after the scenario."""

    def __init__(self, processes: _Processes, running: RunningSubject, writer: HistoryWriter) -> None:
        self._processes = processes
        self._running = running
        self._writer = writer

    def kill(self, process: str) -> None:
        """SIGKILL."""
        self._processes.kill(self._writer, *_parts(process))

    def start(self, process: str) -> None:
        """Start it again; nothing happens when it runs."""
        if not self._is_running(process):
            self._processes.start(self._writer, *_parts(process))

    def pause(self, process: str) -> None:
        """SIGSTOP."""
        self._processes.pause(self._writer, *_parts(process))

    def resume(self, process: str) -> None:
        """SIGCONT."""
        if self._is_running(process):
            self._processes.resume(self._writer, *_parts(process))

    def has_died(self, process: str) -> bool:
        """Whether it has ended by itself."""
        return any(one.name == process and one.has_died for one in self._running.processes)

    def _is_running(self, process: str) -> bool:
        return any(one.name == process and one.is_running for one in self._running.processes)


def _parts(process: str) -> tuple[str, int]:
    role, _, number = process.rpartition("-")
    return role, int(number)
