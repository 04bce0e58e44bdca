"""What a checker is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.history import History
from harness.verdict import Finding


@dataclass(frozen=True, slots=True)
class Checker:
    """`about` is one sentence for the reference of checkers; `clauses` are those that its findings can name; `needs` are
    the sources without which it cannot judge and stays silent (such as `rest` on a subject without an API)."""

    name: str
    about: str
    clauses: tuple[str, ...]
    check: Callable[[History], list[Finding]]
    needs: tuple[str, ...] = ()
