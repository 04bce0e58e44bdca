"""Memory and connections of each process over time."""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

HARNESS: Final = "harness"
_MIB: Final = 1024 * 1024
_MOST_SAMPLES: Final = 1200
_FLAT_PART, _FLAT_MIB = 1.25, 16.0


@dataclass
class Series:
    """Of one process: seconds since the beginning, MiB of resident memory, connections to the database and to Kafka, and the
    process id, which tells one life from the next."""

    at_seconds: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    database: list[int] = field(default_factory=list)
    kafka: list[int] = field(default_factory=list)
    pid: list[int] = field(default_factory=list)

    def add(self, at: float, pid: int, rss_mib: float, database: int, kafka: int) -> None:
        """One more sample; when there are very many, every second one is let go."""
        for values, value in zip(self._lists(), (at, rss_mib, database, kafka, pid), strict=True):
            values.append(value)
        if len(self.at_seconds) > _MOST_SAMPLES:
            for values in self._lists():
                del values[1::2]

    def _lists(self) -> tuple[list[Any], ...]:
        return self.at_seconds, self.rss_mib, self.database, self.kafka, self.pid

    @property
    def is_flat(self) -> bool | None:
        """Whether memory of the last quarter is about what it was in the second one; None when there are too few samples."""
        quarter = len(self.rss_mib) // 4
        if quarter < 3:
            return None
        before, after = self.rss_mib[quarter : 2 * quarter], self.rss_mib[-quarter:]
        return statistics.median(after) <= _FLAT_PART * statistics.median(before) + _FLAT_MIB


@dataclass(frozen=True)
class Watched:
    """A process now: its id (None while it does not run), and the ports at which it finds the stack."""

    pid: int | None
    database_ports: frozenset[int] = frozenset()
    kafka_ports: frozenset[int] = frozenset()


class Resources:
    """Samples in a thread of its own, between `start` and `stop`."""

    def __init__(
        self, watched: Callable[[], Mapping[str, Watched]], now: Callable[[], float], every_seconds: float
    ) -> None:
        """`watched` gives the processes by name, with the harness's own; `now` the seconds since the beginning."""
        self._watched = watched
        self._now = now
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-resources", daemon=True)
        self.series: dict[str, Series] = {}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(10)

    def latest(self) -> dict[str, float]:
        """MiB of each process, as it was seen last."""
        return {name: series.rss_mib[-1] for name, series in list(self.series.items()) if series.rss_mib}

    def data(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {name: {**vars(series), "is_flat": series.is_flat} for name, series in self.series.items()}

    def sample(self) -> None:
        """Look once."""
        for name, one in self._watched().items():
            if one.pid is not None and (found := _of(one)) is not None:
                self.series.setdefault(name, Series()).add(round(self._now(), 2), one.pid, *found)

    def _run(self) -> None:
        while not self._stop.wait(self._every_seconds):
            self.sample()


def of_harness() -> Watched:
    """This very process."""
    return Watched(os.getpid())


def _of(one: Watched) -> tuple[float, int, int] | None:
    """MiB, connections to the database and to Kafka, of a process with its descendants; None when it is gone."""
    rss, database, kafka = 0, 0, 0
    try:
        assert one.pid is not None
        root = psutil.Process(one.pid)
        # The harness's descendants are the stack and the subject, which have series of their own.
        family = [root] if one.pid == os.getpid() else [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    for process in family:
        with contextlib.suppress(psutil.Error):
            rss += process.memory_info().rss if len(family) == 1 else _share_of(process)
            if one.database_ports or one.kafka_ports:
                for found in process.net_connections("tcp"):
                    port = found.raddr.port if found.raddr and found.status == psutil.CONN_ESTABLISHED else None
                    database += port in one.database_ports
                    kafka += port in one.kafka_ports
    return round(rss / _MIB, 1), database, kafka


def _share_of(process: psutil.Process) -> int:
    """Bytes of one process of several: what they share, as the processes of a database do, is to be counted once."""
    try:
        share: int = getattr(process.memory_full_info(), "pss", 0)
    except psutil.AccessDenied:
        share = 0
    return share or int(process.memory_info().rss)
