"""The execution consumer's one loop: poll, execute, send, and commit offsets once everything before them is done.

A crash anywhere means that messages are read again, and reading one again changes nothing. While the database is away
the loop fetches nothing and keeps its membership; while Kafka is away it has nothing to do.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from system.adapters.postgres import Blame, blame_of, reason_of
from system.consumer.executor import Executor
from system.consumer.messages import (
    InvalidMessage,
    read_agent_result,
    read_cancellation_request,
    read_execution_request,
)
from system.consumer.store import ConsumerStore
from system.consumer.work import Item, Timer, Unanswered
from system.dead_letters import dead_letter, without_value
from system.outbox import Outbox, OutboxError
from system.ports import Clock, Message, Publisher, PublishError, Received, Subscription

log = logging.getLogger(__name__)

_TIMER_INTERVAL_SECONDS = 0.25
_SWEEP_INTERVAL_SECONDS = 0.5
_UNANSWERED_INTERVAL_SECONDS = 10.0
_MOST_TIMERS = 500
_MOST_DOUBTS = 5
_SHORTEST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Topics and sizes of one consumer. `task_redelivery_seconds` 0 is never."""

    execution_topic: str
    cancellation_topic: str
    results_topic: str
    batch_size: int
    task_redelivery_seconds: int
    shutdown_timeout_seconds: int


@dataclass(slots=True)
class _Batch:
    """Messages that were read together; `open` counts what must happen before their offsets may be committed."""

    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    open: int = 1


class ConsumerLoop:
    """One member of the group, in one thread."""

    def __init__(
        self,
        subscription: Subscription,
        publisher: Publisher,
        engine: Engine,
        outbox: Outbox,
        store: ConsumerStore,
        executor: Executor,
        clock: Clock,
        settings: LoopSettings,
    ) -> None:
        self._subscription = subscription
        self._publisher = publisher
        self._engine = engine
        self._outbox = outbox
        self._store = store
        self._executor = executor
        self._clock = clock
        self._settings = settings
        self._batches: deque[_Batch] = deque()
        self._next: dict[str, float] = {}
        self._broken: Exception | None = None
        self._readers: dict[str, Callable[[Received], Item]] = {
            settings.execution_topic: _execution_item,
            settings.cancellation_topic: _cancellation_item,
            settings.results_topic: _result_item,
        }

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then end in order: send what is owed, commit what is done, leave the group."""
        try:
            self._with_database(self._outbox.open, stop)
            while not stop.is_set():
                self.turn(stop)
        except SQLAlchemyError as error:
            # Only when told to stop does the loop not wait for a database that is away.
            if not stop.is_set():
                raise
            log.warning("stopping without the database; what was being done is read again: %s", reason_of(error))
        deadline = self._clock.monotonic() + self._settings.shutdown_timeout_seconds
        self._publisher.flush(max(0.0, deadline - self._clock.monotonic()))
        self._commit_done()
        self._subscription.close()
        try:
            self._outbox.settle()
            self._outbox.release()
        except SQLAlchemyError as error:
            log.warning("what was sent could not be removed from the outbox: %s", error)

    def turn(self, stop: threading.Event) -> None:
        """One pass: what there is to read, timers that are due, and housekeeping.

        Raises:
            OutboxError: Kafka's client gave up; what it did not send is not committed, and a new process reads it again.
        """
        received = self._subscription.poll(self._settings.batch_size, 0.02 if self._batches else 0.1)
        self._publisher.poll(0)
        if received:
            self._take(received, stop)
        if self._is_time("timers", _TIMER_INTERVAL_SECONDS):
            self._work_timers(stop)
        self._publisher.poll(0)
        self._commit_done()
        if self._broken is not None:
            raise OutboxError(f"Kafka's client gave up: {self._broken}") from self._broken
        self._outbox.check()
        if not received:
            self._with_database(self._outbox.settle, stop)
        if self._is_time("sweep", _SWEEP_INTERVAL_SECONDS):
            self._with_database(self._sweep, stop)

    def _sweep(self) -> None:
        self._outbox.beat()
        self._outbox.sweep()

    def _is_time(self, name: str, interval_seconds: float) -> bool:
        now = self._clock.monotonic()
        if now < self._next.get(name, 0.0):
            return False
        self._next[name] = now + interval_seconds
        return True

    def _take(self, received: Sequence[Received], stop: threading.Event) -> None:
        batch = _Batch()
        items = []
        for message in received:
            batch.offsets[message.topic, message.partition] = message.offset + 1
            try:
                items.append(self._readers[message.topic](message))
            except InvalidMessage as error:
                self._set_aside(message, str(error), batch)
        self._batches.append(batch)
        if items:
            self._execute(items, batch, stop)
        batch.open -= 1

    def _execute(self, items: Sequence[Item], batch: _Batch, stop: threading.Event) -> None:
        """Work items in; what the database refuses for good is narrowed down to the item that is to blame."""
        batch.open += 1
        refusal = self._attempt(lambda: self._executor.execute(items, _closer(batch)), stop)
        if refusal is None:
            return
        batch.open -= 1
        if len(items) > 1:
            half = len(items) // 2
            self._execute(items[:half], batch, stop)
            self._execute(items[half:], batch, stop)
            return
        self._reject(items[0], refusal, batch, stop)

    def _reject(self, item: Item, refusal: str, batch: _Batch, stop: threading.Event) -> None:
        log.error("an item cannot be worked in: %s", refusal, extra={"run_id": item.run_id})
        batch.open += 1
        failed = self._attempt(lambda: self._executor.abort(item, refusal, _closer(batch)), stop)
        if failed is not None:
            batch.open -= 1
            log.error("its run could not be ended either: %s", failed, extra={"run_id": item.run_id})
        if item.received is not None:
            self._set_aside(item.received, refusal, batch)

    def _attempt(self, work: Callable[[], None], stop: threading.Event) -> str | None:
        """Do work that is all or nothing; None when it is done, else why the database will never take it.

        What hinders the work from outside is waited for, however long it takes: no message is set aside for it. A
        failure that may be the work's own counts against it.
        """
        doubts = 0
        pause_seconds = 0.0
        while True:
            try:
                work()
                return None
            except (ValueError, RecursionError) as error:
                # The driver or an encoder cannot write it down, which no repetition heals.
                self._executor.forget()
                return f"{type(error).__name__}: {error}"[:500]
            except SQLAlchemyError as error:
                self._executor.forget()
                reason = reason_of(error)
                blame = blame_of(error)
                doubts += blame is Blame.UNKNOWN
                if blame is Blame.WORK or doubts >= _MOST_DOUBTS:
                    return reason
                if stop.is_set():
                    raise
                log.warning("the database failed, trying again: %s", reason)
                self._await_database(stop, pause_seconds)
                pause_seconds = min(_LONGEST_PAUSE_SECONDS, 2 * pause_seconds or _SHORTEST_PAUSE_SECONDS)

    def _with_database(self, work: Callable[[], object], stop: threading.Event) -> None:
        """Do housekeeping; wait for a database that is away, and leave the rest to the next time."""
        try:
            work()
        except SQLAlchemyError as error:
            log.warning("housekeeping failed: %s", reason_of(error))
            self._await_database(stop)

    def _await_database(self, stop: threading.Event, pause_seconds: float = 0.0) -> None:
        """Keep the membership, fetching nothing, for the pause and until the database answers; then begin with a fresh
        owner number."""
        self._executor.forget()
        self._subscription.pause()
        if pause_seconds:
            self._idle(pause_seconds)
        delay_seconds = _SHORTEST_PAUSE_SECONDS
        while True:
            try:
                self._outbox.open()
                break
            except SQLAlchemyError as error:
                if stop.is_set():
                    raise
                log.warning("waiting for the database: %s", reason_of(error))
            self._idle(delay_seconds)
            delay_seconds = min(_LONGEST_PAUSE_SECONDS, delay_seconds * 2)
        self._subscription.resume()

    def _idle(self, seconds: float) -> None:
        """Serve Kafka while nothing else is done.

        What comes in was fetched before the pause: it is not lost, since its offset is not committed, but it must be
        read again."""
        self._put_back(self._subscription.poll(1, seconds))
        self._publisher.poll(0)

    def _put_back(self, received: Sequence[Received]) -> None:
        for message in received:
            self._subscription.seek(message.topic, message.partition, message.offset)

    def _work_timers(self, stop: threading.Event) -> None:
        batch = _Batch()
        now = self._clock.now()

        def look() -> None:
            for run_id, kind, path in self._store.due_timers(now, _MOST_TIMERS):
                items.append(Item(run_id, Timer(kind, path)))
            limit_seconds = self._settings.task_redelivery_seconds
            if limit_seconds and self._is_time("unanswered", _UNANSWERED_INTERVAL_SECONDS):
                before = now - timedelta(seconds=limit_seconds)
                items.extend(Item(run_id, Unanswered()) for run_id in self._store.unanswered_runs(before, _MOST_TIMERS))

        items: list[Item] = []
        self._with_database(look, stop)
        if items:
            self._execute(items, batch, stop)

    def _set_aside(self, message: Received, reason: str, batch: _Batch) -> None:
        log.warning(
            "%s[%d]@%d is set aside: %s", message.topic, message.partition, message.offset, reason[:500],
            extra={"topic": message.topic},
        )  # fmt: skip
        batch.open += 1
        self._send_letter(dead_letter(message, reason, self._clock.now()), batch)

    def _send_letter(self, letter: Message, batch: _Batch) -> None:
        def settled(error: Exception | None) -> None:
            if isinstance(error, PublishError) and letter.value:
                self._send_letter(without_value(letter), batch)
                return
            if error is not None and not isinstance(error, PublishError):
                self._broken = error
                return
            if error is not None:
                log.error("a message could not be set aside: %s", error)
            batch.open -= 1

        self._publisher.publish(letter, settled)

    def _commit_done(self) -> None:
        while self._batches and self._batches[0].open == 0:
            for (topic, partition), offset in self._batches.popleft().offsets.items():
                self._subscription.done(topic, partition, offset)


def _closer(batch: _Batch) -> Callable[[], None]:
    def close() -> None:
        batch.open -= 1

    return close


def _execution_item(message: Received) -> Item:
    request = read_execution_request(message.value)
    return Item(request.run_id, request, message)


def _cancellation_item(message: Received) -> Item:
    request = read_cancellation_request(message.value)
    return Item(request.run_id, request, message)


def _result_item(message: Received) -> Item:
    result = read_agent_result(message.value)
    return Item(result.run_id, result, message)
