"""The thread that owns the subscription: reads, pauses, commits, and tells the loop who owns which partition."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from system.bridge.dispatch import Dispatcher, PartitionName
from system.ports import BusAway, Subscription

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_BATCH_LIMIT = 1000
_HELD_LIMIT_BYTES = 256 << 20
# How long a rebalance waits for begun calls, so that the next owner need not repeat them. Other members wait as well.
_REVOKE_SECONDS = 2.0
_END_OFFSETS_SECONDS = 5.0
_UNKNOWN_END = 2**63 - 1


Told = Callable[[Sequence[PartitionName]], None]


def _wait(done: Future[None], timeout_seconds: float) -> None:
    """Wait for a future; raises TimeoutError of concurrent.futures when it is not done by then."""
    done.result(timeout_seconds)


class Intake:
    """Reads tasks in a thread of its own and hands them to the dispatcher's loop, batch by batch.

    Args:
        limit: tasks held at once, above which nothing more is fetched.
        join: makes the subscription, which tells of partitions that are `assigned` and `revoked`.
        wait: how the thread waits for the loop to do something, up to so many seconds.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        on_broken: Callable[[BaseException], None],
        *,
        limit: int,
        join: Callable[[Told, Told], Subscription],
        wait: Callable[[Future[None], float], None] = _wait,
    ) -> None:
        self._dispatcher = dispatcher
        self._loop = loop
        self._on_broken = on_broken
        self._limit = limit
        self._wait = wait
        self._generation = 0
        self._handed = 0
        self._paused = False
        self._stop_reading = threading.Event()
        self._leave = threading.Event()
        self._subscription = join(self._assigned, self._revoked)
        self._thread = threading.Thread(target=self.run, name="intake", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop_reading(self) -> None:
        """Hand over nothing more; the membership is kept, and offsets go on being committed."""
        self._stop_reading.set()

    def leave(self, timeout_seconds: float) -> None:
        """Commit what is done and leave the group; blocks until then."""
        self._stop_reading.set()
        self._leave.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
            if self._thread.is_alive():
                log.warning("the group was not left within %.1f s; Kafka will notice by itself", timeout_seconds)

    def run(self) -> None:
        """Read until `leave` is asked for; the body of the thread."""
        try:
            while not self._leave.is_set():
                self._store_marks()
                self._pause_or_resume()
                batch = self._subscription.poll(_BATCH_LIMIT, _POLL_SECONDS)
                if batch and not self._stop_reading.is_set():
                    self._handed += len(batch)
                    self._loop.call_soon_threadsafe(self._dispatcher.accept, batch)
            self._store_marks()
            self._subscription.close()
        except BaseException as error:
            self._loop.call_soon_threadsafe(self._on_broken, error)

    def _pause_or_resume(self) -> None:
        held = self._handed - self._dispatcher.finished
        held_bytes = self._dispatcher.held_bytes
        if self._paused:
            # Half empty before reading on: pausing and resuming throw away what was fetched ahead.
            if held * 2 <= self._limit and held_bytes * 2 <= _HELD_LIMIT_BYTES and not self._stop_reading.is_set():
                self._paused = False
                self._subscription.resume()
                log.info("reading tasks again: %d are held", held)
        elif held >= self._limit or held_bytes >= _HELD_LIMIT_BYTES or self._stop_reading.is_set():
            self._paused = True
            self._subscription.pause()
            if not self._stop_reading.is_set():
                log.info("reading no more tasks for now: %d are held, %d bytes", held, held_bytes)

    def _store_marks(self) -> None:
        marks = self._dispatcher.marks
        while marks:
            generation, topic, partition, next_offset = marks.popleft()
            # A mark of an earlier assignment could turn the group's offset back behind what another member did.
            if generation == self._generation:
                self._subscription.done(topic, partition, next_offset)

    def _assigned(self, names: Sequence[PartitionName]) -> None:
        try:
            ends = dict(self._subscription.end_offsets(names, _END_OFFSETS_SECONDS))
        except BusAway as error:
            log.warning("end offsets unknown, so that every task counts as possibly repeated: %s", error)
            ends = dict.fromkeys(names, _UNKNOWN_END)
        self._loop.call_soon_threadsafe(self._dispatcher.assigned, self._generation, ends)

    def _revoked(self, names: Sequence[PartitionName]) -> None:
        if not self._leave.is_set():
            settled: Future[None] = asyncio.run_coroutine_threadsafe(self._dispatcher.revoked(names), self._loop)
            try:
                self._wait(settled, _REVOKE_SECONDS)
            except FutureTimeoutError:
                settled.cancel()
                log.info("calls in flight go on although their partitions went to another member")
        self._store_marks()
        self._generation += 1
        self._loop.call_soon_threadsafe(self._dispatcher.released, names)
