"""What came of a soak: counts that grow while it lasts, and what was found."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.verdict import Finding

FORMAT: Final = "plumbline-soak-1"
_MOST_TOLD: Final = 200

DUPLICATED: Final = frozenset({
    "same work, new task id", "shared task id", "one id, different work", "completed step dispatched", "ended attempt again",
    "repeated without need", "too many retries", "several results", "id of no task", "unequal copies",
})  # fmt: skip
"""The anomalies that say that something was done twice; a call that is repeated under its key after a fault is none."""


@dataclass(frozen=True)
class Done:
    """A fault that was done (or not: then `outcome` says why). Times are in seconds since the beginning."""

    at_seconds: float
    over_at_seconds: float
    kind: str
    target: str
    outcome: str


@dataclass(frozen=True)
class Trouble:
    """Something that must not be, of one run or none."""

    at_seconds: float
    what: str
    run: str | None
    clause: str
    explanation: str
    history: str | None


@dataclass
class Snapshot:
    """How far it has come; all counts are of runs but for `faults` and `calls`."""

    seconds: float = 0.0
    asked: int = 0
    accepted: int = 0
    refused: int = 0
    held_back: int = 0
    under_way: int = 0
    judged: int = 0
    lost: int = 0
    stuck: int = 0
    duplicated: int = 0
    wrong: int = 0
    unknown: int = 0
    undecided: int = 0
    calls: int = 0
    calls_again: int = 0
    calls_after_the_end: int = 0
    bad_messages: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    unknown_for: Counter[str] = field(default_factory=Counter)

    @property
    def ended(self) -> int:
        """Runs in a terminal status."""
        return sum(self.ends.values())


class Ledger:
    """Safe to use from several threads; what it tells of single runs and faults is bounded, its counts are not."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.counts = Snapshot()
        self.troubles: list[Trouble] = []
        self.done: list[Done] = []
        self.deaths: list[str] = []

    def fault(self, done: Done) -> None:
        """A fault is over."""
        with self.lock:
            self.done.append(done)
            self.counts.faults[done.kind if done.outcome == "done" else f"{done.kind} ({done.outcome[:60]})"] += 1

    def trouble(self, what: str, seconds: float, run: str | None, clause: str, why: str, history: str | None) -> None:
        """Something that must not be: `lost`, `stuck`, `duplicated`, `wrong` or `refused`; counted, and the first ones told."""
        with self.lock:
            setattr(self.counts, what, getattr(self.counts, what) + 1)
            if len(self.troubles) < _MOST_TOLD:
                self.troubles.append(Trouble(round(seconds, 3), what, run, clause, why, history))

    def unknown(self, why: str) -> None:
        """Of one run nothing can be said."""
        with self.lock:
            self.counts.unknown += 1
            if why in self.counts.unknown_for or len(self.counts.unknown_for) < _MOST_TOLD:
                self.counts.unknown_for[why] += 1

    @property
    def verdict(self) -> str:
        """`failed`: something was lost, stuck, done twice, or wrong; `unknown`: of a run nothing can be said, or nothing was
        run; else `passed`."""
        counts = self.counts
        if counts.lost or counts.stuck or counts.duplicated or counts.wrong:
            return "failed"
        return "unknown" if counts.unknown or not counts.judged else "passed"

    def data(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        with self.lock:
            counts = self.counts
            return {
                "format": FORMAT,
                "verdict": self.verdict,
                "seconds": round(counts.seconds, 1),
                "runs": {
                    name: getattr(counts, name)
                    for name in (
                        "asked", "accepted", "refused", "held_back", "ended", "judged", "lost", "stuck", "duplicated", "wrong",
                        "unknown", "undecided",
                    )
                },
                "ends": dict(counts.ends),
                "kinds": dict(counts.kinds),
                "calls": {"all": counts.calls, "again": counts.calls_again, "after_the_end": counts.calls_after_the_end},
                "bad_messages": counts.bad_messages,
                "unknown_for": dict(counts.unknown_for),
                "fault_counts": dict(counts.faults),
                "faults": [vars(one) for one in self.done],
                "troubles": [vars(one) for one in self.troubles],
                "deaths": list(self.deaths),
            }  # fmt: skip


def sorted_out(findings: Sequence[Finding]) -> tuple[str, Finding] | None:
    """What a run's findings come to, and the one that tells most: `duplicated` when something was done twice, else `wrong`."""
    if not findings:
        return None
    twice = [one for one in findings if one.anomaly in DUPLICATED or one.clause == "CMP-08"]
    return ("duplicated", twice[0]) if twice else ("wrong", findings[0])
