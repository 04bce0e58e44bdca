"""The warden's own process: waits for its parent's end, then ends what was put under its watch.

Run as a file by :mod:`harness.stack.warden`, with the read end of a pipe as standard input. It imports nothing of the
harness, so that it starts fast and does not depend on the parent's import path. Each line of the pipe is a JSON object:

- ``{"op": "adopt", "pid": int, "birth": str, "signal": int}``: end this process, its group and its descendants
- ``{"op": "release", "pid": int}``: no longer
- ``{"op": "directory", "path": str}`` and ``{"op": "forget_directory", "path": str}``: remove this tree at the end

The end of the pipe is the end of the parent, however it came.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil

PIPE = 0
POLL_SECONDS = 0.02
GRACE_SECONDS = 3.0
KILL_SECONDS = 10.0
REMOVE_SECONDS = 10.0
# Field 22 of proc_pid_stat(5), counted from the one after the name.
STAT_START_TIME = 19
SURVIVED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MARKER_NAME = ".plumbline-temporary"


def birth_of(pid: int) -> str | None:
    """What tells a process from a later one with the same id; None when there is no such process.

    On Linux the clock ticks from the machine's start to the process's: the time of day would shift under us whenever
    the clock is set.
    """
    if sys.platform == "linux":
        try:
            # The fields after the name, which stands in parentheses and may hold anything.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return fields[STAT_START_TIME]
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


class Charge:
    """A process under watch, known by its id and its birth together."""

    def __init__(self, pid: int, birth: str, first_signal: int) -> None:
        self.pid = pid
        self.birth = birth
        self.first_signal = first_signal

    def family(self) -> list[psutil.Process]:
        """The process and its descendants; empty when the id is free or belongs to another process by now."""
        try:
            process = psutil.Process(self.pid)
            if birth_of(self.pid) != self.birth:
                return []
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class Register:
    """What is under watch, kept up to date from the lines of the pipe."""

    def __init__(self) -> None:
        self.charges: dict[int, Charge] = {}
        self.directories: set[str] = set()
        self._unfinished_line = b""

    def take(self, chunk: bytes) -> None:
        """Carry what was read from the pipe into the register."""
        *lines, self._unfinished_line = (self._unfinished_line + chunk).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        match order["op"]:
            case "adopt":
                self.charges[order["pid"]] = Charge(order["pid"], order["birth"], order["signal"])
            case "release":
                self.charges.pop(order["pid"], None)
            case "directory":
                self.directories.add(order["path"])
            case "forget_directory":
                self.directories.discard(order["path"])
            case other:
                raise ValueError(f"the warden does not know the order {other!r}")


def read_until_end(parent_pid: int) -> Register:
    """Keep the register up to date until the pipe ends or the parent has died."""
    register = Register()
    os.set_blocking(PIPE, False)
    poll = select.poll()
    poll.register(PIPE, select.POLLIN | select.POLLHUP)
    # A process that the parent forked without exec may hold the write end longer than the parent lives.
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            poll.register(os.pidfd_open(parent_pid), select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        ended = bool(ready - {PIPE})
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(PIPE, 65536):
                register.take(chunk)
            ended = True
        if ended:
            return register


def marked_processes(token: str) -> list[psutil.Process]:
    """Processes that carry the token in their environment: started, and perhaps never registered."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get("PLUMBLINE_WARDEN") == token:
                found.append(process)
    return found


def is_gone(process: psutil.Process) -> bool:
    """Whether the process has ended; one that only waits to be reaped by its parent has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(processes: list[psutil.Process], timeout_seconds: float) -> list[psutil.Process]:
    """Wait for all to end, at most so long; return those that have not."""
    deadline = time.monotonic() + timeout_seconds
    while alive := [process for process in processes if not is_gone(process)]:
        if time.monotonic() > deadline:
            return alive
        time.sleep(POLL_SECONDS)
    return []


def end_all(charges: list[Charge], token: str) -> list[psutil.Process]:
    """End every family, gently first; return what refused to die."""
    alive: list[psutil.Process] = []
    leaving: list[psutil.Process] = []
    for charge in charges:
        family = charge.family()
        if charge.first_signal == signal.SIGKILL:
            alive += family
            continue
        # A process that is stopped would never see its signal.
        for process in family:
            send(process, signal.SIGCONT)
        for process in family[:1]:
            send(process, charge.first_signal)
        leaving += family
    for process in alive:
        send(process, signal.SIGKILL)
    alive += wait_until_gone(leaving, GRACE_SECONDS)
    deadline = time.monotonic() + KILL_SECONDS
    while time.monotonic() < deadline:
        # Looked for again each time: a process that is dying may still have started another.
        alive = [process for process in [*alive, *marked_processes(token)] if not is_gone(process)]
        if not alive:
            return []
        for process in alive:
            send(process, signal.SIGKILL)
        alive = wait_until_gone(alive, 0.5)
    return alive


def send(process: psutil.Process, number: int) -> None:
    """Signal one process, and its whole group when it leads one; a process that is gone is what was wanted."""
    with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
        leads_its_group = os.getpgid(process.pid) == process.pid
        process.send_signal(number)
        if leads_its_group and number == signal.SIGKILL:
            os.killpg(process.pid, number)


def remove(path: str, token: str) -> None:
    """Remove a temporary tree, if it bears this warden's mark; without one only if there is nothing in it."""
    marker = Path(path) / MARKER_NAME
    if not marker.is_file() or marker.read_text() != token:
        with contextlib.suppress(OSError):
            Path(path).rmdir()
        return
    deadline = time.monotonic() + REMOVE_SECONDS
    while time.monotonic() < deadline and Path(path).exists():
        # A server that is just dying may write one more file while the tree goes.
        shutil.rmtree(path, ignore_errors=True)


def main() -> int:
    """Watch until the parent ends, then clean up. Exit code 1 when something refused to go."""
    for number in SURVIVED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    token, parent_pid = sys.argv[1], int(sys.argv[2])
    register = read_until_end(parent_pid)
    survivors = end_all(list(register.charges.values()), token)
    for path in register.directories:
        remove(path, token)
    return 1 if survivors or any(Path(path).exists() for path in register.directories) else 0


if __name__ == "__main__":
    sys.exit(main())
