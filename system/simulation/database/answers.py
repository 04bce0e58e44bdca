"""What a statement of the stand-in is given and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Parameters = Mapping[str, Any]
Answer = tuple[tuple[str, ...], Sequence[tuple[Any, ...]], int]
"""(names of columns, rows, number of rows changed)"""

NONE: Final[Answer] = ((), (), 0)


class Taken(Exception):
    """A unique constraint forbids a row."""

    def __init__(self, constraint: str) -> None:
        self.constraint = constraint
