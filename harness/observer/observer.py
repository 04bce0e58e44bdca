"""The observer: all eyes on one stack and subject, for all scenarios that a worker has under way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from harness.history import Event, HistoryWriter
from harness.observer.agents import AgentWatch
from harness.observer.offsets import OffsetWatch
from harness.observer.poller import RowWatch
from harness.observer.rows import RowReader
from harness.observer.scopes import Scope, Scopes
from harness.observer.tap import KafkaTap
from harness.subject import Binding

_SNAPSHOT_TOPICS = frozenset({"tasks", "updates"})


class Observer:
    """Watches Kafka, rows, offsets and agents from `start` to `stop`. What fails is begun anew; what cannot be begun
    anew shows in `whats_wrong`, and then no verdict can be passed."""

    def __init__(self, brokers: str, database_url: str, binding: Binding, groups: Collection[str]) -> None:
        self.scopes = Scopes()
        self._reader = RowReader(database_url, binding)
        self._rows = RowWatch(self._reader, self.scopes)
        self._tap = KafkaTap(brokers, binding, self.scopes, self._saw_message)
        self._offsets = OffsetWatch(brokers, groups, binding, self.scopes)
        self.agents = AgentWatch(self.scopes)
        self._listener: Callable[[Scope, Event], None] | None = None

    def start(self) -> None:
        """Begin to watch; returns once every message from now on will be seen.

        Raises:
            KafkaError: the topics cannot be made or found.
        """
        self._tap.start()
        self._rows.start()
        self._offsets.start()

    def stop(self) -> None:
        """End all watching."""
        self._offsets.stop()
        self._tap.stop()
        self._rows.stop()
        self._reader.close()

    def listen(self, listener: Callable[[Scope, Event], None] | None) -> None:
        """Tell one listener of every message that belongs to a scenario, in the tap's thread; None tells nobody."""
        self._listener = listener

    def open(self, writer: HistoryWriter, *, is_followed: bool = True) -> Scope:
        """Observe for one more history. When its rows are not followed, `look_at` reads them."""
        return self.scopes.open(writer, is_followed=is_followed)

    def look_at(self, scopes: Sequence[Scope]) -> bool:
        """Read the rows of all runs of these scopes now; False while the database is away."""
        return self._rows.look_now(*scopes)

    def settle_rows(self, deadline_seconds: float) -> bool:
        """Wait until every snapshot that was wanted has been taken."""
        return self._rows.settle(deadline_seconds)

    def close(self, scope: Scope) -> None:
        """Observe nothing more for it."""
        self.scopes.close(scope)

    def positions(self) -> dict[Any, int]:
        """How far each partition has been read."""
        return self._tap.positions()

    def catch_up_with_kafka(self, deadline_seconds: float) -> bool:
        """Wait until every message that has been published so far is in the history."""
        return self._tap.catch_up(deadline_seconds)

    def catch_up(self, scope: Scope, deadline_seconds: float) -> str | None:
        """Wait until everything that has happened so far is in the history; None, or what could not be seen."""
        if not self._tap.catch_up(deadline_seconds):
            return "Kafka could not be read up to its present end"
        if not self._rows.settle(deadline_seconds):
            return "snapshots of the rows could not be taken in time"
        if not self._rows.look_now(scope):
            return "the database does not answer"
        return None

    def whats_wrong(self, scope: Scope | None = None) -> str | None:
        """Which eye is blind for good, and why, or what was not seen for the scope; None when all was seen."""
        if scope is not None and scope.broken is not None:
            return scope.broken
        for name, eye in (("Kafka", self._tap), ("rows", self._rows), ("committed offsets", self._offsets)):
            if not eye.is_alive():
                return f"the observer of {name} has broken: {eye.broken!r}"
        return None

    def _saw_message(self, scope: Scope, event: Event) -> None:
        scope.committed.setdefault((event["topic"], event["partition"]), {})
        if self._listener is not None:
            self._listener(scope, event)
        if event.run is None or not scope.is_followed:
            return
        self._rows.hurry(event.run)
        if event["by"] == "subject" and event["topic"] in _SNAPSHOT_TOPICS:
            self._rows.want_snapshot(scope, event)
