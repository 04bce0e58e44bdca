"""What processes cost: CPU time and memory by role, and how busy the machine was otherwise."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence

import psutil

_SAMPLE_SECONDS = 0.5
_MIB = 1024 * 1024


def family(pid: int) -> Iterator[psutil.Process]:
    """A process and its descendants, those that are still there; of our own process, which has them all, it alone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        yield process
        if pid != os.getpid():
            yield from process.children(recursive=True)


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time so far of processes and all their descendants, also of those that have ended and were waited for."""
    total = 0.0
    for pid in pids:
        for process in family(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
                if pid != os.getpid():
                    total += times.children_user + times.children_system
    return total


def resident_mib(pids: Sequence[int]) -> float:
    """Resident memory; what the processes of a family share is counted once, where the platform can tell."""
    total = 0
    for pid in pids:
        members = list(family(pid))
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if len(members) == 1:
                    total += process.memory_info().rss
                else:
                    full = process.memory_full_info()
                    total += getattr(full, "pss", full.rss)
    return total / _MIB


def busy_seconds() -> float:
    """CPU time that all cores together have been busy since the machine started."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq")))


class Meter:
    """Begins to count when it is made."""

    def __init__(self, roles: Mapping[str, Sequence[int]]) -> None:
        self._roles = roles
        self._peak_mib = dict.fromkeys(roles, 0.0)
        self._next_sample = 0.0
        self.sample()
        self._cpu = {role: cpu_seconds(pids) for role, pids in roles.items()}
        self._busy = busy_seconds()
        self._begun = time.monotonic()

    def sample(self) -> None:
        """Look at the memory, unless that was a moment ago."""
        now = time.monotonic()
        if now < self._next_sample:
            return
        self._next_sample = now + _SAMPLE_SECONDS
        for role, pids in self._roles.items():
            self._peak_mib[role] = max(self._peak_mib[role], resident_mib(pids))

    def read(self) -> tuple[dict[str, float], dict[str, float], float]:
        """(CPU seconds by role, peak MiB by role, cores busy with what is none of ours), since the beginning."""
        seconds = time.monotonic() - self._begun
        busy = busy_seconds() - self._busy
        cpu = {role: cpu_seconds(pids) - self._cpu[role] for role, pids in self._roles.items()}
        self._next_sample = 0.0
        self.sample()
        return cpu, dict(self._peak_mib), max(0.0, busy - sum(cpu.values())) / max(seconds, 1e-9)
