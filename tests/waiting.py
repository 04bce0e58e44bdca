"""Waiting for what another thread or process is about to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_SECONDS = 0.02


def until(
    look: Callable[[], T], what: str, seconds: float = 30.0, *, meanwhile: Callable[[], object] | None = None
) -> T:
    """The first true value that `look` gives. Between two looks a moment passes, or `meanwhile` is done.

    Raises AssertionError with what was waited for when it does not come about in time.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        if meanwhile is None:
            time.sleep(_LOOK_SECONDS)
        else:
            meanwhile()
    return found
