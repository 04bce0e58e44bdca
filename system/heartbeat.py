"""A sign of life of a process that nobody can ask over HTTP, and the look at it.

A process that reads Kafka touches a file each time it has polled; whoever watches it (a container's health check) looks
how old the file is. The API is asked itself.
"""

from __future__ import annotations

import logging
import time
import urllib.error
import urllib.request
from pathlib import Path

from system.settings import Settings

log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 1.0
# Longer than any one thing that a loop does between two polls, and than a database that is slow to refuse.
_OLDEST_SECONDS = 20.0
_ANSWER_SECONDS = 3.0


class Heartbeat:
    """Touches a file, once a second at most; does nothing without one."""

    def __init__(self, path: str | None) -> None:
        self._path = None if path is None else Path(path)
        self._next = 0.0

    def beat(self) -> None:
        """The process goes on. A file that cannot be written is told of once, and stops nothing."""
        if self._path is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _INTERVAL_SECONDS
        try:
            self._path.touch()
        except OSError as error:
            log.warning("no heartbeat is left at %s: %s; HEARTBEAT_FILE must be writable", self._path, error)
            self._path = None


def why_unhealthy(settings: Settings) -> str | None:
    """What is wrong with the process that runs with these settings on this machine; None when it is well."""
    age_seconds = None if settings.heartbeat_file is None else _age_seconds(Path(settings.heartbeat_file))
    if age_seconds is None:
        return _why_not_ready(settings)
    if age_seconds > _OLDEST_SECONDS:
        return f"the last heartbeat is {age_seconds:.0f} s old, {_OLDEST_SECONDS:.0f} s at most are well"
    return None


def _age_seconds(path: Path) -> float | None:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None


def _why_not_ready(settings: Settings) -> str | None:
    url = f"http://127.0.0.1:{settings.api_port}/ready"
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"there is no heartbeat, and no API at {url}: {error}"
