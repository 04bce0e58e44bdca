"""How a scenario ends, and what a checker found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["passed", "failed", "unknown", "not supported"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. `clause` is the promise broken, `anomaly` a short name such as "lost run",
    `explanation` one sentence, `events` the seq of the few events that prove it."""

    checker: str
    clause: str
    anomaly: str
    explanation: str
    events: tuple[int, ...] = ()
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one scenario on one subject. `reason` says why it is failed, unknown or not supported, in a sentence;
    `clauses` are those that the scenario binds."""

    scenario: str
    guarantee: str
    clauses: tuple[str, ...]
    subject: str
    verdict: Verdict
    reason: str | None
    findings: tuple[Finding, ...]
    seconds: float
    history: Path | None
    seed: int
    scenario_file: Path | None = None
    known_failure: str | None = None
