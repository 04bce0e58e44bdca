"""How the garbage collector works in the processes of the harness."""

from __future__ import annotations

import gc

_THRESHOLDS = (50_000, 20, 20)


def collect_seldom() -> None:
    """Look for cycles once there are 50,000 new objects instead of 700: histories are many objects, and no cycles."""
    gc.set_threshold(*_THRESHOLDS)
