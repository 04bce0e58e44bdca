"""How the garbage collector works in the processes of the system."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 50_000
_COLLECTIONS = (20, 50)


def collect_seldom() -> None:
    """Leave alone what exists by now, and look at new objects once there are 50,000 of them instead of 700.

    Called when a role is put together, before its work begins: what exists then lives as long as the process. Work makes few
    cycles, so that what is no longer used goes at once, and looking for cycles finds nothing; with Python's own
    thresholds it takes the consumer 5 to 10 % of its time (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *_COLLECTIONS)
