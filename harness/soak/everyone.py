"""What happens to all runs alike: written into the history of each, and of those that begin a little later."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Final

from harness.history import Event, HistoryWriter, Source
from harness.observer import Scopes

_REMEMBERED_SECONDS: Final = 30.0
"""What was done so long ago may still show in a run that begins now, as a message that comes again."""

_MOST_REMEMBERED: Final = 2000


class Everyone(HistoryWriter):
    """A writer that keeps nothing itself: each event goes into every history under way."""

    def __init__(self, scopes: Scopes) -> None:
        super().__init__(None)
        self._scopes = scopes
        self._recent: deque[tuple[float, Source, str, dict[str, Any]]] = deque(maxlen=_MOST_REMEMBERED)
        self._telling = threading.Lock()

    def add(self, source: Source, kind: str, run: str | None = None, **data: Any) -> Event:
        """Tell all of it."""
        now = time.monotonic()
        with self._telling:
            self._recent.append((now, source, kind, data))
            while self._recent and self._recent[0][0] < now - _REMEMBERED_SECONDS:
                self._recent.popleft()
        self._scopes.tell_all(source, kind, **data)
        event = Event(0, 0.0, "", source, kind, run, data)
        with self._lock:
            for listener in self._listeners:
                listener(event)
        return event

    def replay(self, writer: HistoryWriter) -> None:
        """Write what has happened lately into a history that begins now."""
        with self._telling:
            recent = [entry for entry in self._recent if entry[0] >= time.monotonic() - _REMEMBERED_SECONDS]
        for _, source, kind, data in recent:
            writer.add(source, kind, **data)
