"""The engine of every shrinker comes down to the smallest that fails, within its bounds."""

from __future__ import annotations

import time
from collections.abc import Sequence

from harness.shrinking import Smallest, shrink


def _without_one(text: str) -> list[str]:
    return [text[:index] + text[index + 1 :] for index in range(len(text))]


def _shrunk(
    text: str, *, at_once: int = 1, most: int = 1000, seconds: float = 30.0
) -> tuple[Smallest[str, int], list[int]]:
    rounds: list[int] = []

    def try_all(chosen: Sequence[str]) -> list[tuple[str, int]]:
        rounds.append(len(chosen))
        return [(one, len(one)) for one in chosen if "a" in one and "b" in one]

    found = shrink(
        text, len(text), smaller=_without_one, key=str, size=len, try_all=try_all, until=time.monotonic() + seconds,
        at_once=lambda _: at_once, most_attempts=most,
    )  # fmt: skip
    return found, rounds


def test_what_is_needed_is_left() -> None:
    """Whether one is tried at a time or many; and it is said that nothing smaller was left."""
    for at_once in (1, 7):
        found, _ = _shrunk("xxaxxxbxx", at_once=at_once)
        assert (found.found, found.result, found.is_whole) == ("ab", 2, True)


def test_nothing_is_tried_twice() -> None:
    """Equal candidates are one attempt."""
    found, rounds = _shrunk("aabb")
    assert found.found == "ab"
    assert found.attempts == sum(rounds) <= 5


def test_attempts_and_time_are_bounded() -> None:
    """What was found by then is given back, and that it may not be all."""
    found, _ = _shrunk("xxaxxxbxx", most=3)
    assert (found.attempts, found.is_whole) == (3, False)
    assert 2 < len(found.found) < 9
    found, rounds = _shrunk("xxaxxxbxx", seconds=-1)
    assert (found.found, rounds) == ("xxaxxxbxx", [])
