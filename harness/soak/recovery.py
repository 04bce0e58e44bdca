"""How long the runs that were under way took to move on after each fault."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

GIVEN_UP_SECONDS = 120.0


@dataclass
class Recovery:
    """After one fault. `at` is in seconds of the epoch; `waiting` are the runs that have not moved on yet, of the `runs` that
    were under way. `first_seconds` and `all_seconds`: from the fault until one of them had moved on, and until each had."""

    kind: str
    at: float
    waiting: set[str]
    runs: int
    first_seconds: float | None = None
    all_seconds: float | None = None


@dataclass
class _Figures:
    count: int = 0
    first: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    open: int = 0


class Recoveries:
    """Safe to use from several threads. A run moves on when one of its steps ends, or it ends itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Recovery] = []
        self._closed: dict[str, _Figures] = defaultdict(_Figures)

    def begin(self, kind: str, at: float, under_way: Collection[str]) -> None:
        """A fault was done while these runs were under way; nothing is measured when there were none."""
        if not under_way:
            return
        with self._lock:
            self._open.append(Recovery(kind, at, set(under_way), len(under_way)))
            for old in [one for one in self._open if at - one.at > GIVEN_UP_SECONDS]:
                self._close(old)

    def moved(self, run_id: str, at: float) -> None:
        """A run has moved on."""
        with self._lock:
            for one in list(self._open):
                if run_id not in one.waiting or at < one.at:
                    continue
                one.waiting.discard(run_id)
                seconds = at - one.at
                one.first_seconds = seconds if one.first_seconds is None else min(one.first_seconds, seconds)
                one.all_seconds = max(one.all_seconds or 0.0, seconds)
                if not one.waiting:
                    self._close(one)

    def figures(self) -> dict[str, dict[str, float | int | None]]:
        """By kind: how many faults there were (`count`), of how many some run has not moved on (`open`), and p50 and most of
        the seconds until the first run and until all had moved on."""
        with self._lock:
            for one in list(self._open):
                self._close(one)
            return {
                kind: {
                    "count": found.count,
                    "open": found.open,
                    "first_p50_seconds": _p50(found.first),
                    "first_most_seconds": max(found.first, default=None),
                    "all_p50_seconds": _p50(found.all),
                    "all_most_seconds": max(found.all, default=None),
                }
                for kind, found in sorted(self._closed.items())
            }

    def _close(self, one: Recovery) -> None:
        self._open.remove(one)
        found = self._closed[one.kind]
        found.count += 1
        found.open += bool(one.waiting)
        if one.first_seconds is not None:
            found.first.append(round(one.first_seconds, 3))
        if not one.waiting and one.all_seconds is not None:
            found.all.append(round(one.all_seconds, 3))


def _p50(values: list[float]) -> float | None:
    return round(statistics.median(values), 3) if values else None
