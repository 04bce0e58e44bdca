"""Committed offsets of the subject's groups, asked for now and then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from harness.observer.scopes import Scopes
from harness.subject import Binding

log = logging.getLogger(__name__)

_EVERY_SECONDS = 0.5
_REQUEST_MS = 5000


class OffsetWatch:
    """A thread that writes `committed` into a history when a group's offset has changed in a partition of its messages."""

    def __init__(self, brokers: str, groups: Collection[str], binding: Binding, scopes: Scopes) -> None:
        self._brokers = brokers.split(",")
        self._groups = sorted(set(groups))
        self._short = binding.all_topics()
        self._scopes = scopes
        self._stop = threading.Event()
        self._admin: Any = None
        self._thread = threading.Thread(target=self._run, name="offsets", daemon=True)
        self.broken: BaseException | None = None

    def start(self) -> None:
        """Begin to ask; nothing happens when no group is known."""
        if self._groups:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._close()

    def is_alive(self) -> bool:
        """Whether it still asks."""
        return self.broken is None and (not self._groups or self._thread.is_alive())

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            try:
                if self._scopes.open_scopes():
                    self._ask()
            except KafkaError as error:
                log.debug("Kafka does not tell of committed offsets: %r", error)
                self._close()
            except BaseException as error:
                # Whoever asks for a verdict is told that no offsets were seen from here on.
                log.exception("the watch on offsets is broken")
                self.broken = error
                return

    def _ask(self) -> None:
        if self._admin is None:
            self._admin = KafkaAdminClient(
                bootstrap_servers=self._brokers, request_timeout_ms=_REQUEST_MS, bootstrap_timeout_ms=_REQUEST_MS
            )
        for group, offsets in self._admin.list_group_offsets(dict.fromkeys(self._groups)).items():
            for part, committed in offsets.items():
                if part.topic in self._short:
                    self._scopes.tell_committed(group, self._short[part.topic], part.partition, committed.offset)

    def _close(self) -> None:
        if self._admin is not None:
            admin, self._admin = self._admin, None
            admin.close()
