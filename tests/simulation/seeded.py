"""What the code under simulation has of the process that it runs in: randomness, ids of runs, the log."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import system.api.execution


class RunIds:
    """Stands in for the module `uuid` where run ids are made."""

    def __init__(self) -> None:
        self.random = random.Random(0)

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self.random.getrandbits(128), version=4)


RUN_IDS = RunIds()


@contextmanager
def seeded_process(seed: int) -> Iterator[None]:
    """What the code under simulation has of this process: its global randomness, the run ids, and no log."""
    state = random.getstate()
    real: Any = system.api.execution.uuid
    disabled = logging.root.manager.disable
    random.seed(seed)
    RUN_IDS.random.seed(seed)
    system.api.execution.uuid = RUN_IDS  # type: ignore[assignment]
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        system.api.execution.uuid = real
        random.setstate(state)
