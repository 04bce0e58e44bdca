"""Checkers: pure functions from history to findings. All of them run on every scenario, whatever it expects.

Soundness comes first: a checker accuses only what no execution that keeps the contract can show, whatever was killed, however
rows were polled and messages were duplicated, delayed or reordered across partitions. Each says in its docstring why.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from harness.checkers import (
    bridge,
    calls,
    control_flow,
    copies,
    dispatch,
    durability,
    endings,
    failures,
    identity,
    inputs,
    isolation,
    listings,
    messages,
    observability,
    order,
    parallelism,
    rows,
    statuses,
    times,
)
from harness.checkers.checker import Checker
from harness.history import History
from harness.verdict import Finding

__all__ = ["CHECKERS", "Checker", "Crash", "check_all"]

CHECKERS: tuple[Checker, ...] = (
    *endings.CHECKERS,
    *statuses.CHECKERS,
    *inputs.CHECKERS,
    *durability.CHECKERS,
    *dispatch.CHECKERS,
    *identity.CHECKERS,
    *order.CHECKERS,
    *parallelism.CHECKERS,
    *control_flow.CHECKERS,
    *failures.CHECKERS,
    *observability.CHECKERS,
    *copies.CHECKERS,
    *isolation.CHECKERS,
    *times.CHECKERS,
    *messages.CHECKERS,
    *bridge.CHECKERS,
    *calls.CHECKERS,
    *rows.CHECKERS,
    *listings.CHECKERS,
)


@dataclass(frozen=True, slots=True)
class Crash:
    """A checker that raised: its name and the traceback. A history with one has no verdict but unknown."""

    checker: str
    traceback: str


def check_all(history: History, checkers: tuple[Checker, ...] = CHECKERS) -> tuple[list[Finding], list[Crash]]:
    """Every finding of every checker, in the checkers' order, and every checker that raised."""
    findings: list[Finding] = []
    crashes: list[Crash] = []
    for checker in checkers:
        try:
            findings += checker.check(history)
        except Exception:
            # Whatever a subject wrote may be in a history; a checker that stumbles over it has judged nothing.
            crashes.append(Crash(checker.name, traceback.format_exc()))
    return findings, crashes
