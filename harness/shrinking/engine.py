"""The one loop of every shrinker: from what fails to what is smaller and fails as well, round by round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_ATTEMPTS = 5000


@dataclass(frozen=True)
class Smallest(Generic[T, R]):
    """The smallest that was found to fail, what came of it, and how many attempts that took; `is_whole` when nothing smaller
    was left to try."""

    found: T
    result: R
    attempts: int
    is_whole: bool


def shrink(
    first: T,
    result: R,
    *,
    smaller: Callable[[T], Iterable[T]],
    key: Callable[[T], str],
    size: Callable[[T], int],
    try_all: Callable[[Sequence[T]], Sequence[tuple[T, R]]],
    until: float,
    at_once: Callable[[T], int] = lambda _: 1,
    most_attempts: int = MOST_ATTEMPTS,
    told: Callable[[T, int], None] = lambda _found, _attempts: None,
) -> Smallest[T, R]:
    """Go on from the smallest of those that fail, until nothing smaller does.

    Args:
        first: what fails, and `result` what came of it.
        smaller: what might fail as well, the boldest first.
        key: equal for what need not be tried twice.
        size: what is to become small.
        try_all: carries out a few and gives those that fail in the same way, with what came of them.
        until: by the monotonic clock; a round that has begun is ended.
        at_once: how many are tried in a round, which depends on what is made smaller.
        told: hears of each that is smaller and fails.
    """
    known = {key(first)}
    attempts = 0
    best = first
    while time.monotonic() < until and attempts < most_attempts:
        most = min(at_once(best), most_attempts - attempts)
        limit = size(best)
        chosen = _untried((one for one in smaller(best) if size(one) < limit), known, key, most)
        if not chosen:
            return Smallest(best, result, attempts, True)
        attempts += len(chosen)
        failing = try_all(chosen)
        if failing:
            best, result = min(failing, key=lambda one: size(one[0]))
            told(best, attempts)
    return Smallest(best, result, attempts, False)


def _untried(candidates: Iterable[T], known: set[str], key: Callable[[T], str], most: int) -> list[T]:
    """The first few that were not tried; they are known from now on."""
    chosen: list[T] = []
    for one in candidates:
        if len(chosen) >= most:
            break
        name = key(one)
        if name not in known:
            known.add(name)
            chosen.append(one)
    return chosen
