"""Static membership in a consumer group without configuring identities.

A process that is killed and started again would be a new member to Kafka, and the group would wait for the dead one's
session to time out before anybody gets its partitions; killed often enough, the group never comes to rest. A member
with a fixed `group.instance.id` is recognised instead and goes on at once. The identity is a slot: the lowest number
whose advisory lock is free. The lock goes with the database connection, and so with the process; whoever is started
next takes the slot over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception_type, wait_exponential

from system.adapters.clock import SystemClock
from system.adapters.postgres import reason_of
from system.ports import Clock, Fenced, Received, Subscription

log = logging.getLogger(__name__)

_MOST_SLOTS = 10_000
_CHECK_INTERVAL_SECONDS = 1.0
_TRY_SLOT = text("SELECT pg_try_advisory_lock(hashtext(:group_id), :number)")


class Slot:
    """The slot of one process in a group, as long as the database says so."""

    def __init__(self, engine: Engine, group_id: str) -> None:
        self._engine = engine
        self._group_id = group_id
        self._connection: Connection | None = None
        self.number: int | None = None

    def take(self, *, avoid: int | None = None) -> int:
        """Hold the lowest free slot, other than `avoid`.

        Raises:
            SQLAlchemyError: the database is away.
        """
        self.release()
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            for number in range(_MOST_SLOTS):
                if number != avoid and self._lock(connection, number):
                    self._connection, self.number = connection, number
                    return number
        except SQLAlchemyError:
            connection.invalidate()
            raise
        connection.close()
        raise RuntimeError(f"all {_MOST_SLOTS} slots of group {self._group_id} are taken")

    def is_held(self) -> bool:
        """Whether the slot is still ours; one that was lost with its connection is taken again if it is free.

        Raises:
            SQLAlchemyError: the database is away, so that nobody can know.
        """
        if self._connection is not None:
            try:
                self._connection.exec_driver_sql("SELECT 1")
                return True
            except DBAPIError:
                self._connection.invalidate()
                self._connection = None
        assert self.number is not None, "a slot is taken before it is held"
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if self._lock(connection, self.number):
            self._connection = connection
            return True
        connection.close()
        return False

    def release(self) -> None:
        """Give the slot back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # Closing the session is what gives the lock back; the connection must not return to the pool with it.
            connection.invalidate()

    def _lock(self, connection: Connection, number: int) -> bool:
        return bool(connection.execute(_TRY_SLOT, {"group_id": self._group_id, "number": number}).scalar_one())


def join_group(
    engine: Engine,
    group_id: str,
    join: Callable[[str | None], Subscription],
    *,
    patience_seconds: float,
    clock: Clock | None = None,
) -> Subscription:
    """A member of the group with an identity from a slot; without one when the database stays away for too long.

    Args:
        join: makes a member with the given `group.instance.id`, or without one for None.
    """
    slot = Slot(engine, group_id)
    clock = SystemClock() if clock is None else clock
    deadline = clock.monotonic() + patience_seconds
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(SQLAlchemyError),
            stop=lambda _: clock.monotonic() >= deadline,
            wait=wait_exponential(multiplier=0.1, max=1),
            sleep=clock.sleep,
            reraise=True,
        ):
            with attempt:
                slot.take()
    except SQLAlchemyError as error:
        log.warning("joining %s without a fixed identity, since the database is away: %s", group_id, error)
        return join(None)
    return SlottedSubscription(slot, lambda number: join(f"{group_id}-{number}"), clock)


class SlottedSubscription:
    """Subscription port: a member that has its identity from a slot, and joins anew under another when it loses it."""

    def __init__(self, slot: Slot, join: Callable[[str], Subscription], clock: Clock) -> None:
        """
        Args:
            slot: taken already.
            join: makes a member with the given `group.instance.id`.
        """
        self._slot = slot
        self._join = join
        self._clock = clock
        self._paused = False
        self._next_check = 0.0
        self._member = join(str(slot.number))

    def poll(self, limit: int, timeout_seconds: float) -> Sequence[Received]:
        if self._clock.monotonic() >= self._next_check:
            self._next_check = self._clock.monotonic() + _CHECK_INTERVAL_SECONDS
            self._check()
        try:
            return self._member.poll(limit, timeout_seconds)
        except Fenced as error:
            log.warning("the membership %s is over: %s", self._slot.number, error)
            self._join_anew()
            return ()

    def _check(self) -> None:
        try:
            held = self._slot.is_held()
        except SQLAlchemyError:
            # Without the database nobody else can take the slot either.
            return
        if not held:
            log.warning("slot %s went to another process while the database was away", self._slot.number)
            self._join_anew()

    def _join_anew(self) -> None:
        """Become a member again: under the same identity while its slot is ours, else under another.

        A broker that lost track of a member over its own restart may take it for its double; nobody else has its slot
        then.
        """
        try:
            if not self._slot.is_held():
                self._slot.take(avoid=self._slot.number)
        except SQLAlchemyError as error:
            # Tried again at the next poll: a member that is over cannot do anything meanwhile.
            log.warning("no slot can be taken: %s", reason_of(error))
            return
        log.info("joining anew as member %s", self._slot.number)
        self._member.close()
        self._member = self._join(str(self._slot.number))
        if self._paused:
            self._member.pause()

    def done(self, topic: str, partition: int, next_offset: int) -> None:
        self._member.done(topic, partition, next_offset)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self._member.seek(topic, partition, offset)

    def end_offsets(self, partitions: Sequence[tuple[str, int]], timeout_seconds: float) -> dict[tuple[str, int], int]:
        return self._member.end_offsets(partitions, timeout_seconds)

    def pause(self) -> None:
        self._paused = True
        self._member.pause()

    def resume(self) -> None:
        self._paused = False
        self._member.resume()

    def close(self) -> None:
        self._member.close()
        self._slot.release()
