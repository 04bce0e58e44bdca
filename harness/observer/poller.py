"""Who reads rows: a poller that sees changes, and a snapshot after each task and update."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from harness.history import Event
from harness.observer.rows import DatabaseAway, RowReader, Rows
from harness.observer.scopes import Scope, Scopes

log = logging.getLogger(__name__)

_FASTEST_SECONDS = 0.025
_SLOWEST_SECONDS = 0.4
_SLOWER = 1.4
_TICK_SECONDS = 0.025
_MOST_AT_ONCE = 200
_MANY_STEPS = 200
_MOST_SNAPSHOTS_WAITING = 20_000


@dataclass
class _Polled:
    """What was last seen of a run, and when to look again."""

    run: dict[str, Any] | None = None
    steps: dict[Any, dict[str, Any]] = field(default_factory=dict)
    due: float = 0.0
    interval_seconds: float = _FASTEST_SECONDS


class RowWatch:
    """The poller and the snapshots, each in a thread of its own."""

    def __init__(self, reader: RowReader, scopes: Scopes) -> None:
        self._reader = reader
        self._scopes = scopes
        self._polled: dict[str, _Polled] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._wanted: deque[tuple[Scope, str, int]] = deque()
        self._has_wanted = threading.Condition()
        self._in_work = 0
        self._told_away = False
        self.broken: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for work, name in ((self._poll, "row-poller"), (self._take_snapshots, "row-snapshots"))
        ]

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads."""
        self._stop.set()
        self._wake.set()
        with self._has_wanted:
            self._has_wanted.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)

    def is_alive(self) -> bool:
        """Whether both still read."""
        return self.broken is None and all(thread.is_alive() for thread in self._threads)

    def hurry(self, run_id: str) -> None:
        """Something was heard of this run: look at its rows soon."""
        if (polled := self._polled.get(run_id)) is not None:
            polled.interval_seconds = _FASTEST_SECONDS
            polled.due = min(polled.due, time.monotonic() + _FASTEST_SECONDS)
        self._wake.set()

    def want_snapshot(self, scope: Scope, event: Event) -> None:
        """Take a snapshot of the event's run as soon as can be."""
        with self._has_wanted:
            if event.run is None or len(self._wanted) >= _MOST_SNAPSHOTS_WAITING:
                return
            self._wanted.append((scope, event.run, event.seq))
            self._has_wanted.notify_all()

    def settle(self, deadline_seconds: float) -> bool:
        """Wait until every snapshot that was wanted has been taken."""
        with self._has_wanted:
            return self._has_wanted.wait_for(lambda: not self._wanted and not self._in_work, deadline_seconds)

    def look_now(self, *scopes: Scope) -> bool:
        """Read the rows of all runs of some scopes at once and write down what has changed; False while the database is
        away."""
        with self._scopes.lock:
            owners = [(run_id, scope) for scope in scopes for run_id in scope.runs]
        parts = [owners[first : first + _MOST_AT_ONCE] for first in range(0, len(owners), _MOST_AT_ONCE)]
        return all(self._look_at(dict(part)) for part in parts)

    def _guarded(self, work: Any) -> None:
        while not self._stop.is_set():
            try:
                work()
            except Exception as error:
                # Whoever is under way has not seen everything; those that come later begin anew.
                log.exception("rows could not be read")
                self._scopes.break_off(f"the rows could not be read: {error!r:.300}")
                self._stop.wait(_SLOWEST_SECONDS)
            except BaseException as error:
                self.broken = error
                raise

    def _poll(self) -> None:
        while not self._stop.is_set():
            owners = self._due()
            if owners:
                begun = time.monotonic()
                self._look_at(owners)
                # A long reading is not made again at once: half of the time at least is left to the subject.
                self._stop.wait(max(_TICK_SECONDS / 2, time.monotonic() - begun))
            else:
                self._wake.wait(_TICK_SECONDS if self._polled else 0.1)
                self._wake.clear()

    def _due(self) -> dict[str, Scope]:
        now = time.monotonic()
        owners: dict[str, Scope] = {}
        living: set[str] = set()
        for scope in self._scopes.open_scopes():
            with self._scopes.lock:
                run_ids = list(scope.runs)
            living.update(run_ids)
            if not scope.is_followed:
                continue
            for run_id in run_ids:
                if self._polled.setdefault(run_id, _Polled()).due <= now and len(owners) < _MOST_AT_ONCE:
                    owners[run_id] = scope
        for run_id in self._polled.keys() - living:
            self._polled.pop(run_id, None)
        return owners

    def _look_at(self, owners: dict[str, Scope]) -> bool:
        with self._reader.lock:
            try:
                found = self._reader.read(owners)
            except DatabaseAway:
                self._tell_away()
                return False
            self._tell_back()
            now = time.monotonic()
            for run_id, scope in owners.items():
                polled = self._polled.setdefault(run_id, _Polled())
                changed = _write_changes(scope, run_id, polled, found[run_id])
                slower = min(_SLOWEST_SECONDS, polled.interval_seconds * _SLOWER)
                polled.interval_seconds = _FASTEST_SECONDS if changed else slower
                polled.due = now + polled.interval_seconds
        return True

    def _take_snapshots(self) -> None:
        while not self._stop.is_set():
            with self._has_wanted:
                self._has_wanted.wait_for(lambda: bool(self._wanted) or self._stop.is_set(), 1.0)
                wanted = [self._wanted.popleft() for _ in range(min(len(self._wanted), _MOST_AT_ONCE))]
                self._in_work = len(wanted)
            try:
                if wanted:
                    self._snapshot(wanted)
            finally:
                with self._has_wanted:
                    self._in_work = 0
                    self._has_wanted.notify_all()

    def _snapshot(self, wanted: list[tuple[Scope, str, int]]) -> None:
        with self._reader.lock:
            try:
                found = self._reader.read({run_id for _, run_id, _ in wanted})
            except (DatabaseAway, psycopg2.errors.QueryCanceled):
                # A snapshot taken later would say something about a later moment: there is none for these messages.
                self._tell_away()
                return
            last = {run_id: because for _, run_id, because in wanted}
            for scope, run_id, because in wanted:
                rows = found[run_id]
                # The steps of a run with very many are written down once for all messages that were waiting.
                if len(rows.steps) <= _MANY_STEPS or last[run_id] == because:
                    scope.writer.add(
                        "database", "snapshot", run_id, because=because, run_row=rows.run, step_rows=rows.steps
                    )

    def _tell_away(self) -> None:
        if not self._told_away and self._reader.away_since is not None:
            self._told_away = True
            self._scopes.tell_all("harness", "gap", of="database", reason="the database does not answer")

    def _tell_back(self) -> None:
        if self._told_away:
            self._told_away = False
            self._scopes.tell_all("harness", "gap_ended", of="database")


def _write_changes(scope: Scope, run_id: str, polled: _Polled, rows: Rows) -> bool:
    changes: list[tuple[str, dict[str, Any]]] = []
    if rows.run != polled.run:
        changes.append(("run_row", {"row": rows.run}))
        polled.run = rows.run
    present = {row["id"]: row for row in rows.steps}
    changes += [("step_row", {"row": row}) for identity, row in present.items() if polled.steps.get(identity) != row]
    changes += [
        ("step_row", {"row": None, "id": identity, "step_id": row["step_id"]})
        for identity, row in polled.steps.items()
        if identity not in present
    ]
    polled.steps = present
    for index, (kind, data) in enumerate(changes, 1):
        scope.is_reading = index < len(changes)
        scope.writer.add("database", kind, run_id, **data)
    return bool(changes)
