"""Messages owed to Kafka, written in the transaction of the rows that they tell of.

An entry is sent after its transaction has committed and removed once Kafka has acknowledged all of it. Entries of a
process that died between the two are found by the others: each process holds an advisory lock under its owner number
for as long as it lives, so that "dead" is a fact that PostgreSQL knows, and not a guess from age. Sending an entry
twice is harmless: every message carries the same ids again.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Sequence

import orjson
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from system.adapters.clock import SystemClock
from system.adapters.postgres import reason_of
from system.adapters.prepared import prepared
from system.ports import Clock, Message, Publisher, PublishError

log = logging.getLogger(__name__)

_SWEEP_LIMIT = 200
# Each settling is a transaction: a few together cost less, and nobody waits for them.
_SETTLE_INTERVAL_SECONDS = 0.05

# Whoever takes an entry over has as long for it as the one before: while Kafka is away for everybody, two processes would
# else take it from each other at every sweep, and leave a copy of its messages in their queues each time.
_ADOPT = text(
    """
    UPDATE outbox SET owner = :mine, created_at = now() WHERE id IN (
        SELECT id FROM outbox
        WHERE owner <> :mine AND (cast(:only AS bigint[]) IS NULL OR id = ANY(cast(:only AS bigint[])))
          AND (created_at < now() - make_interval(secs => :takeover_seconds) OR pg_try_advisory_xact_lock(owner))
        ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING id, messages
    """
)


def fresh_owner() -> int:
    """An owner number that nobody has had: 62 random bits."""
    return secrets.randbits(62) + 1


class OutboxError(Exception):
    """The publisher will never deliver what it was given; the process must start anew."""


class Outbox:
    """The outbox as one process sees it. `write` is called inside the caller's transaction, `send` after its commit.

    `settle` and `sweep` are called now and then by the thread that owns the loop (or by `run_in_background`).
    """

    def __init__(
        self,
        engine: Engine,
        publisher: Publisher,
        *,
        takeover_ms: int,
        clock: Clock | None = None,
        new_owner: Callable[[], int] = fresh_owner,
    ) -> None:
        self._engine = engine
        self._clock = SystemClock() if clock is None else clock
        self._new_owner = new_owner
        self._publisher = publisher
        self._takeover_seconds = takeover_ms / 1000
        self._lock_connection: Connection | None = None
        self._guard = threading.Lock()
        self._delivered: list[int] = []
        self._unsettled = 0
        self._broken: Exception | None = None
        self.owner = 0

    def open(self) -> None:
        """Take a fresh owner number and hold its lock. Called again after the database was away: what was written
        under the old number then counts as left behind, since nobody knows which of it was committed."""
        self.release()
        owner = self._new_owner()
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SELECT pg_advisory_lock(:owner)"), {"owner": owner})
        self._lock_connection, self.owner = connection, owner

    def release(self) -> None:
        """Give the owner's lock back; what is unsent is then anybody's."""
        connection, self._lock_connection = self._lock_connection, None
        if connection is not None:
            try:
                connection.execute(text("SELECT pg_advisory_unlock(:owner)"), {"owner": self.owner})
                connection.close()
            except DBAPIError:
                connection.invalidate()

    def write(self, connection: Connection, messages: Sequence[Message]) -> int:
        """Note messages in the caller's transaction; returns the entry's id."""
        return int(
            connection.execute(
                text("INSERT INTO outbox (owner, messages) VALUES (:owner, :messages) RETURNING id"),
                {"owner": self.owner, "messages": encode(messages)},
            ).scalar_one()
        )

    def send(self, entry_id: int, messages: Sequence[Message], on_sent: Callable[[], None] = lambda: None) -> None:
        """Hand a committed entry to Kafka; once all of it is acknowledged, `on_sent` runs and the row may go."""
        remaining = len(messages)
        with self._guard:
            self._unsettled += 1

        def settled(error: Exception | None) -> None:
            nonlocal remaining
            if isinstance(error, PublishError):
                # Nothing heals this one, and the others of the entry must not wait for it.
                log.error("a message was dropped: %s", error)
            elif error is not None:
                self._broken = error
                return
            with self._guard:
                remaining -= 1
                if remaining:
                    return
                self._delivered.append(entry_id)
                self._unsettled -= 1
            on_sent()

        for message in messages:
            self._publisher.publish(message, settled)

    @property
    def unsettled(self) -> int:
        """Entries handed to Kafka and not yet acknowledged."""
        return self._unsettled

    def take_delivered(self) -> list[int]:
        """Ids of entries that Kafka has, for a transaction of the caller that removes them with `REMOVE`."""
        with self._guard:
            delivered, self._delivered = self._delivered, []
        return delivered

    def give_back(self, entry_ids: Sequence[int]) -> None:
        """Undo `take_delivered`: the transaction that was to remove these did not commit."""
        with self._guard:
            self._delivered.extend(entry_ids)

    def check(self) -> None:
        """Raise OutboxError if the publisher gave a message up although nothing was wrong with it."""
        if self._broken is not None:
            raise OutboxError(f"Kafka's client gave up: {self._broken}") from self._broken

    def settle(self) -> None:
        """Remove entries that Kafka has.

        Raises:
            OutboxError: the publisher gave a message up although nothing was wrong with it.
        """
        self.check()
        delivered = self.take_delivered()
        if not delivered:
            return
        try:
            with self._engine.begin() as connection:
                # Losing this in a crash only means that an entry is sent once more: no need to wait for the disk.
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                connection.execute(REMOVE, {"ids": delivered})
        except DBAPIError:
            self.give_back(delivered)
            raise

    def sweep(self, only: Sequence[int] | None = None, *, takeover_seconds: float | None = None) -> list[int]:
        """Take over and send entries whose owner is dead, or has been silent for too long.

        Args:
            only: look at these entries alone; None looks at all.
            takeover_seconds: how old an entry of a living owner must be; the outbox's own limit when not given.

        Returns:
            the ids of the entries taken over.
        """
        with self._engine.begin() as connection:
            rows = connection.execute(
                _ADOPT,
                {
                    "mine": self.owner,
                    "only": None if only is None else list(only),
                    "takeover_seconds": self._takeover_seconds if takeover_seconds is None else takeover_seconds,
                    "limit": _SWEEP_LIMIT,
                },
            ).all()
        for entry_id, messages in sorted(rows):
            log.info("sending entry %d of the outbox, left behind by another process", entry_id)
            self.send(entry_id, decode(messages))
        return sorted(row[0] for row in rows)

    def still_owed_by_others(self, entry_ids: Sequence[int]) -> list[int]:
        """Those of the entries that stand and belong to another process."""
        with self._engine.connect() as connection:
            return list(connection.execute(_OTHERS, {"ids": list(entry_ids), "mine": self.owner}).scalars())

    def run_in_background(self, stop: threading.Event, *, sweep_interval_seconds: float = 1.0) -> threading.Thread:
        """A daemon thread that does `work`."""
        thread = threading.Thread(target=self.work, args=(stop, sweep_interval_seconds), name="outbox", daemon=True)
        thread.start()
        return thread

    def work(self, stop: threading.Event, sweep_interval_seconds: float = 1.0) -> None:
        """Poll the publisher, settle and sweep until `stop` is set."""
        next_settle = next_sweep = 0.0
        while not stop.is_set():
            self._publisher.poll(0.05)
            try:
                if self._lock_connection is None:
                    self.open()
                if self._clock.monotonic() >= next_settle:
                    next_settle = self._clock.monotonic() + _SETTLE_INTERVAL_SECONDS
                    self.settle()
                if self._clock.monotonic() >= next_sweep:
                    next_sweep = self._clock.monotonic() + sweep_interval_seconds
                    self.beat()
                    self.sweep()
            except SQLAlchemyError as error:
                log.warning("the outbox cannot reach the database, trying again: %s", reason_of(error))
                self._drop_lock_connection()
                stop.wait(0.5)

    def beat(self) -> None:
        """Notice that the lock's connection is gone, so that a fresh owner number is taken."""
        if self._lock_connection is not None:
            self._lock_connection.exec_driver_sql("SELECT 1")

    def _drop_lock_connection(self) -> None:
        connection, self._lock_connection = self._lock_connection, None
        if connection is not None:
            connection.invalidate()


_OTHERS = text("SELECT id FROM outbox WHERE id = ANY(cast(:ids AS bigint[])) AND owner <> :mine")
REMOVE = prepared("DELETE FROM outbox WHERE id = ANY(cast(:ids AS bigint[]))")


def encode(messages: Sequence[Message]) -> str:
    """Messages as the text that an entry holds."""
    return orjson.dumps(
        [
            [m.topic, m.key.decode(), m.value.decode(), [[name, value.decode()] for name, value in m.headers]]
            for m in messages
        ]
    ).decode()


def decode(entry: str) -> list[Message]:
    """The messages of an entry, in the order in which they were noted."""
    return [
        Message(topic, key.encode(), value.encode(), tuple((name, part.encode()) for name, part in headers))
        for topic, key, value, headers in orjson.loads(entry)
    ]
