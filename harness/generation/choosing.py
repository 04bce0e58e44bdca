"""Drawing by few and cheap choices: whole numbers alone, the simplest choice first, so that examples come fast and shrink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


@cache
def _numbers(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


class Chooser:
    """Wraps the `draw` of a composite strategy."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def number(self, least: int, most: int) -> int:
        """A whole number; the least is the simplest."""
        return least if least == most else self.draw(_numbers(least, most))

    def one_of(self, options: Sequence[T]) -> T:
        """One of these; the first is the simplest. An option that stands there twice is twice as likely."""
        return options[self.number(0, len(options) - 1)]

    def rarely(self, one_in: int) -> bool:
        """True about once in so many times; false is simpler."""
        return self.draw(_numbers(0, one_in - 1)) == one_in - 1

    def some(self, options: Sequence[T], most: int, *, least: int = 0) -> list[T]:
        """Several different ones, in the order in which they were drawn."""
        left = list(options)
        found: list[T] = []
        while left and len(found) < most and (len(found) < least or self.rarely(2)):
            found.append(left.pop(self.number(0, len(left) - 1)))
        return found

    def repeat(self, make: Callable[[], T], least: int, most: int, one_in: int = 2) -> list[T]:
        """What `make` gives, `least` times and then as long as fortune wants it."""
        found = [make() for _ in range(least)]
        while len(found) < most and self.rarely(one_in):
            found.append(make())
        return found
