"""One event of a history; the kinds and their fields stand in docs/harness.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Source = Literal["harness", "rest", "kafka", "database", "agent", "process"]
SOURCES: tuple[Source, ...] = ("harness", "rest", "kafka", "database", "agent", "process")


@dataclass(frozen=True, slots=True)
class Event:
    """`seq` counts from 0; `at` is seconds since the history began (monotonic); `wall` is ISO 8601 in UTC; `run` is the
    run_id that it is about, if any; `data` holds the fields of its kind."""

    seq: int
    at: float
    wall: str
    source: Source
    kind: str
    run: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """As its arguments: histories go between processes event by event, and what dataclasses do by themselves is slow."""
        return Event, (self.seq, self.at, self.wall, self.source, self.kind, self.run, self.data)

    def __getitem__(self, name: str) -> Any:
        """A field of its kind; None when it has no such field."""
        return self.data.get(name)
