"""A log file from a moment on."""

from __future__ import annotations

import os
from pathlib import Path


class LogSince:
    """What is written to a log file after this was made. The file may come into being later, and begin anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin = path.stat().st_size if path.exists() else 0

    def read(self, most_bytes: int | None = None) -> bytes:
        """All of it, or its last `most_bytes`; nothing while there is no file."""
        try:
            with self._path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                begin = self._begin if self._begin <= size else 0
                log.seek(begin if most_bytes is None else max(begin, size - most_bytes))
                return log.read()
        except FileNotFoundError:
            return b""
