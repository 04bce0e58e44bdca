"""Processes beside the harness's own, for what takes CPU: they end with it, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait

from harness.garbage import collect_seldom


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """So many processes. One that is killed leaves no orphans, which would wait for work for ever."""
    return ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_as_part_of_the_harness
    )


def _as_part_of_the_harness() -> None:
    # What libraries deprecate is nothing to tell a user.
    warnings.simplefilter("ignore", DeprecationWarning)
    collect_seldom()
    threading.Thread(target=_end_with_the_parent, name="parent", daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
