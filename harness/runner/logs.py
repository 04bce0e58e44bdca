"""What the processes of a bench logged during one scenario, kept beside the history of a scenario that did not pass."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from harness.runner.bench import Bench

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of each log the end, no more than that."""


def logs_beside(history: Path) -> Path:
    """The folder of the logs that belong to a history."""
    return history.with_suffix(".logs")


class Logs:
    """The logs of the subject's processes, of the broker and of the database, from now on."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._begun: Mapping[Path, int] = {path: _size(path) for _, path in self._paths()}

    def keep(self, directory: Path) -> None:
        """Write what was logged since into files of `directory`, one for each process that logged anything."""
        shutil.rmtree(directory, ignore_errors=True)
        for name, path in self._paths():
            # A process may be gone with its log, and an evidence that cannot be had must not hide what it is of.
            with contextlib.suppress(OSError):
                if logged := _since(path, self._begun.get(path, 0)):
                    directory.mkdir(parents=True, exist_ok=True)
                    (directory / f"{name}.log").write_bytes(logged)

    def _paths(self) -> Iterator[tuple[str, Path]]:
        owners: dict[str, Any] = {"broker": self._bench.stack.broker, "database": self._bench.stack.database}
        owners |= {process.name: process for role in self._bench.running.roles.values() for process in role}
        for name, owner in owners.items():
            # The logs of containers, and of servers that somebody else runs, are not files here.
            if isinstance(path := getattr(owner, "log_path", None), Path):
                yield name, path


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _since(path: Path, begun: int) -> bytes:
    with path.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(begun if begun <= size else 0, size - MOST_BYTES))
        return log.read()
