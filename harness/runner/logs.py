"""What the processes of a bench logged during one scenario, kept beside the history of a scenario that did not pass."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from harness.runner.bench import Bench
from harness.stack.log_since import LogSince

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of each log the end, no more than that."""


def logs_beside(history: Path) -> Path:
    """The folder of the logs that belong to a history."""
    return history.with_suffix(".logs")


class Logs:
    """What the subject's processes, the broker and the database log from now on. Those of an earlier time are removed from
    `directory`."""

    def __init__(self, bench: Bench, directory: Path) -> None:
        self._bench = bench
        self._directory = directory
        shutil.rmtree(directory, ignore_errors=True)
        self._begun = {path: LogSince(path) for _, path in self._paths()}

    def keep(self) -> None:
        """Write them into files, one for each process that logged anything."""
        for name, path in self._paths():
            # The log of a process that was added since is all of it. Evidence that cannot be had must not hide what it is of.
            with contextlib.suppress(OSError):
                logged = self._begun[path].read(MOST_BYTES) if path in self._begun else path.read_bytes()[-MOST_BYTES:]
                if logged:
                    self._directory.mkdir(parents=True, exist_ok=True)
                    (self._directory / f"{name}.log").write_bytes(logged)

    def _paths(self) -> Iterator[tuple[str, Path]]:
        owners: dict[str, Any] = {"broker": self._bench.stack.broker, "database": self._bench.stack.database}
        owners |= {process.name: process for role in self._bench.running.roles.values() for process in role}
        for name, owner in owners.items():
            # The logs of containers, and of servers that somebody else runs, are not files here.
            if isinstance(path := getattr(owner, "log_path", None), Path):
                yield name, path
