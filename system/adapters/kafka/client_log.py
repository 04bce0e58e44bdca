"""What librdkafka says of its own accord, once in a while."""

from __future__ import annotations

import logging
import time


class _Sparing(logging.Filter):
    """Lets a message of librdkafka through once in a while: it says every failed connection, many times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # "FAIL [client#consumer-1] [thrd:...]: host: reason (after 0ms in state CONNECT)": the kind and the reason count.
        text = record.getMessage()
        gist = text[:4] + text.rpartition("]:")[2].partition(" (")[0]
        now = time.monotonic()
        if now - self._last.get(gist, -_SPARING_SECONDS) < _SPARING_SECONDS:
            return False
        if len(self._last) > _SPARING_LIMIT:
            self._last.clear()
        self._last[gist] = now
        if text.startswith("FAIL"):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


_SPARING_SECONDS = 5.0
_SPARING_LIMIT = 1000
client_log = logging.getLogger("system.adapters.kafka.client")
client_log.addFilter(_Sparing())
