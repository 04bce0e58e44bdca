"""The end of clients of Kafka, which can take longer than anybody wants to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


def end(call: Callable[[], object]) -> Future[None]:
    """Have a client end in a thread of its own, however long that takes."""
    ended: Future[None] = Future()
    threading.Thread(target=_settle_by, args=(ended, call), name="kafka-closing", daemon=True).start()
    return ended


def _settle_by(future: Future[None], call: Callable[[], object]) -> None:
    try:
        call()
        future.set_result(None)
    except BaseException as error:
        future.set_exception(error)
