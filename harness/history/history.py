"""Views on the events of a history; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.history.event import Event


@dataclass(frozen=True)
class History:
    """Events in the order in which they were seen."""

    events: tuple[Event, ...]

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def of(self, kind: str, run: str | None = None) -> Iterator[Event]:
        """Events of a kind, of one run if it is given."""
        return (event for event in self.events if event.kind == kind and (run is None or event.run == run))

    @cached_property
    def begin(self) -> Event | None:
        """The event that says what this history is of."""
        return next(self.of("begin"), None)

    @cached_property
    def runs(self) -> Mapping[str, Event]:
        """run_id → its `run` event, in the order in which the runs were made."""
        return {event.run: event for event in self.of("run") if event.run is not None}

    def messages(self, topic: str, run: str | None = None, by: str | None = None) -> Iterator[Event]:
        """Messages of one of the contract's topics by its short name (docs/harness.md)."""
        for event in self.of("message", run):
            if event["topic"] == topic and (by is None or event["by"] == by):
                yield event

    def last_run_row(self, run: str) -> Mapping[str, Any] | None:
        """The row of a run as it was last seen, on its own or in a snapshot."""
        row: Mapping[str, Any] | None = None
        for event in self.events:
            if event.run == run and event.kind == "run_row":
                row = event["row"]
            elif event.run == run and event.kind == "snapshot":
                row = event["run_row"]
        return row

    def last_step_rows(self, run: str) -> list[Mapping[str, Any]]:
        """The step rows of a run as they were last seen, in the order of their first appearance."""
        rows: dict[Any, Mapping[str, Any]] = {}
        for event in self.events:
            if event.run != run:
                continue
            if event.kind == "step_row" and event["row"] is not None:
                rows[event["row"]["id"]] = event["row"]
            elif event.kind == "snapshot":
                rows.update((row["id"], row) for row in event["step_rows"])
        return list(rows.values())
