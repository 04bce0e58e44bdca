"""Histories as files: one JSON object a line, appended and never changed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from harness.history.event import SOURCES, Event, Source
from harness.history.history import History

_OWN = ("seq", "at", "wall", "source", "kind", "run")


class HistoryError(ValueError):
    """A file that is no history; says where and why."""


class HistoryWriter:
    """Appends events from any thread, to a file and to memory; listeners hear each event once it is appended.

    A listener is called in the thread that appended, with the writer's lock held: it must be quick.
    """

    def __init__(self, path: Path | None) -> None:
        """`path` None keeps the history in memory alone."""
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")
        self._begun = time.monotonic()
        self._lock = threading.RLock()
        self._events: list[Event] = []
        self._listeners: list[Callable[[Event], None]] = []

    def add(self, source: Source, kind: str, run: str | None = None, **data: Any) -> Event:
        """Append an event; returns it with its seq and times."""
        with self._lock:
            event = Event(
                len(self._events),
                round(time.monotonic() - self._begun, 6),
                datetime.now(UTC).isoformat(timespec="milliseconds"),
                source,
                kind,
                run,
                data,
            )
            self._events.append(event)
            if self._file is not None:
                self._file.write(encode(event) + "\n")
            for listener in self._listeners:
                listener(event)
            return event

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Tell `listener` of every event from now on."""
        with self._lock:
            self._listeners.append(listener)

    def history(self) -> History:
        """What has been appended so far."""
        with self._lock:
            return History(tuple(self._events))

    def close(self) -> None:
        """Write out what is buffered; nothing can be appended to the file afterwards."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def encode(event: Event) -> str:
    """An event as its line."""
    head: dict[str, Any] = {
        "seq": event.seq,
        "at": event.at,
        "wall": event.wall,
        "source": event.source,
        "kind": event.kind,
    }
    if event.run is not None:
        head["run"] = event.run
    line = json.dumps({**head, **event.data}, ensure_ascii=False, separators=(",", ":"), default=str)
    # What a subject sends may have lone surrogates, which UTF-8 has no bytes for; then all of the line is escaped.
    return line if _is_encodable(line) else json.dumps({**head, **event.data}, separators=(",", ":"), default=str)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_history(path: Path) -> History:
    """Read a history.

    Raises:
        HistoryError: with file and line of what is no event, or stands out of order.
        OSError: the file cannot be read.
    """
    events: list[Event] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                events.append(_decode(line, f"{path}:{number}", len(events)))
    if not events:
        raise HistoryError(f"{path}: a history has at least one event, found none")
    return History(tuple(events))


def _decode(line: str, where: str, seq: int) -> Event:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise HistoryError(f"{where}: expected one JSON object a line: {error}") from None
    missing = [name for name in ("seq", "at", "wall", "source", "kind") if name not in data]
    if missing:
        raise HistoryError(f"{where}: an event has seq, at, wall, source and kind; {', '.join(missing)} missing")
    if data["source"] not in SOURCES:
        raise HistoryError(f"{where}: source is one of {', '.join(SOURCES)}, found {data['source']!r}")
    if data["seq"] != seq:
        raise HistoryError(f"{where}: expected seq {seq}, found {data['seq']}: lines are missing or out of order")
    rest = {name: value for name, value in data.items() if name not in _OWN}
    return Event(seq, data["at"], data["wall"], data["source"], data["kind"], data.get("run"), rest)
