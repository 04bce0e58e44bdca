"""The outbox on a real PostgreSQL: who sends what a process left behind, and when an entry goes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from system.adapters.postgres import connect
from system.outbox import Outbox, OutboxError, decode, encode
from system.ports import Message, PublishError
from tests.waiting import until

DEADLINE_SECONDS = 20


class Kafka:
    """Publisher port: acknowledges on `poll` unless `holding`; errors are given by the first byte of a value."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.waiting: list[tuple[Message, Callable[[Exception | None], None]]] = []
        self.holding = False

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        self.waiting.append((message, on_delivered))

    def poll(self, timeout_seconds: float = 0.0) -> None:
        if self.holding or not self.waiting:
            time.sleep(min(timeout_seconds, 0.01))
            return
        waiting, self.waiting = self.waiting, []
        for message, on_delivered in waiting:
            if message.value.startswith(b"refuse"):
                on_delivered(PublishError("refused"))
            elif message.value.startswith(b"break"):
                on_delivered(ConnectionError("the client is broken"))
            else:
                self.sent.append(message)
                on_delivered(None)

    def flush(self, timeout_seconds: float) -> int:
        self.poll(timeout_seconds)
        return len(self.waiting)


class Process:
    """An outbox as a process of its own has it."""

    def __init__(self, url: str, takeover_ms: int = 60_000) -> None:
        self.kafka = Kafka()
        self.engine: Engine = connect(url, pool_size=3, application_name="test-outbox")
        self.outbox = Outbox(self.engine, self.kafka, takeover_ms=takeover_ms)
        self.outbox.open()

    def write(self, *values: bytes) -> tuple[int, list[Message]]:
        messages = [Message("topic", b"key", value) for value in values]
        with self.engine.begin() as connection:
            return self.outbox.write(connection, messages), messages

    def values(self) -> list[bytes]:
        return [message.value for message in self.kafka.sent]

    def die(self) -> None:
        """As by kill -9: every connection breaks."""
        self.outbox._drop_lock_connection()
        self.engine.dispose()


@pytest.fixture
def process(module_database: str) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(**settings: Any) -> Process:
        started.append(Process(module_database, **settings))
        return started[-1]

    yield start
    for each in started:
        each.die()
    with psycopg2.connect(module_database.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM outbox")
    connection.close()


def standing(process: Process) -> list[int]:
    with process.engine.connect() as connection:
        return list(connection.execute(text("SELECT id FROM outbox ORDER BY id")).scalars())


def test_an_entry_is_removed_only_after_all_of_it_was_acknowledged(process: Callable[..., Process]) -> None:
    mine = process()
    mine.kafka.holding = True
    entry, messages = mine.write(b"1", b"2")
    told: list[str] = []
    mine.outbox.send(entry, messages, lambda: told.append("sent"))
    mine.outbox.settle()
    assert standing(mine) == [entry]
    assert mine.outbox.unsettled == 1
    _, on_delivered = mine.kafka.waiting.pop(0)
    on_delivered(None)
    mine.outbox.settle()
    assert (standing(mine), told) == ([entry], [])
    mine.kafka.holding = False
    mine.kafka.poll()
    assert (told, mine.outbox.unsettled) == (["sent"], 0)
    mine.outbox.settle()
    assert standing(mine) == []


def test_entries_of_a_dead_owner_are_sent_by_another_at_once_and_in_order(process: Callable[..., Process]) -> None:
    dead, mine = process(), process()
    entries = [dead.write(b"%d" % number)[0] for number in range(5)]
    dead.die()
    assert until(mine.outbox.sweep, "taken over") == entries
    mine.kafka.poll()
    assert mine.values() == [b"0", b"1", b"2", b"3", b"4"]
    mine.outbox.settle()
    assert standing(mine) == []


def test_entries_of_a_living_owner_are_left_to_it_until_the_takeover_time(process: Callable[..., Process]) -> None:
    silent, mine = process(), process(takeover_ms=60_000)
    entry, _ = silent.write(b"1")
    assert mine.outbox.sweep() == []
    assert mine.outbox.still_owed_by_others([entry]) == [entry]
    with mine.engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET created_at = now() - interval '59 s'"))
    assert mine.outbox.sweep() == []
    with mine.engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET created_at = now() - interval '61 s'"))
    assert mine.outbox.sweep() == [entry]
    assert mine.outbox.still_owed_by_others([entry]) == []


def test_two_that_wait_for_kafka_do_not_take_an_entry_from_each_other_at_every_sweep(
    process: Callable[..., Process],
) -> None:
    silent, mine = process(takeover_ms=60_000), process(takeover_ms=60_000)
    entry, _ = silent.write(b"1")
    with mine.engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET created_at = now() - interval '61 s'"))
    taken = [one.outbox.sweep() for one in (mine, silent, mine, silent)]
    assert taken == [[entry], [], [], []]


def test_a_sweep_of_named_entries_touches_no_other(process: Callable[..., Process]) -> None:
    dead, mine = process(), process()
    first, second = dead.write(b"1")[0], dead.write(b"2")[0]
    dead.die()
    assert until(lambda: mine.outbox.sweep([second]), "taken over") == [second]
    assert mine.outbox.sweep() == [first]


def test_several_that_sweep_at_once_send_each_entry_once(process: Callable[..., Process]) -> None:
    dead = process()
    entries = [dead.write(b"%d" % number)[0] for number in range(60)]
    sweepers = [process() for _ in range(3)]
    dead.die()
    taken: list[int] = []

    def sweep(sweeper: Process) -> None:
        until(lambda: taken.extend(sweeper.outbox.sweep()) or set(taken) == set(entries), "everything taken over")

    threads = [threading.Thread(target=sweep, args=(sweeper,)) for sweeper in sweepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert sorted(taken) == entries


def test_a_fresh_owner_number_takes_what_the_old_one_left(process: Callable[..., Process]) -> None:
    mine = process()
    entry, _ = mine.write(b"1")
    old = mine.outbox.owner
    mine.outbox.open()
    assert mine.outbox.owner != old
    assert until(mine.outbox.sweep, "taken over") == [entry]


def test_a_refused_message_is_dropped_and_does_not_hold_the_others_up(process: Callable[..., Process]) -> None:
    mine = process()
    entry, messages = mine.write(b"1", b"refuse", b"2")
    mine.outbox.send(entry, messages)
    mine.kafka.poll()
    mine.outbox.settle()
    assert (mine.values(), standing(mine)) == ([b"1", b"2"], [])


def test_a_client_that_gives_up_is_told_and_the_entry_stands(process: Callable[..., Process]) -> None:
    mine = process()
    entry, messages = mine.write(b"break")
    mine.outbox.send(entry, messages)
    mine.kafka.poll()
    with pytest.raises(OutboxError, match="the client is broken"):
        mine.outbox.check()
    with pytest.raises(OutboxError, match="the client is broken"):
        mine.outbox.settle()
    assert standing(mine) == [entry]


def test_what_could_not_be_removed_is_removed_the_next_time(
    process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = process()
    entry, messages = mine.write(b"1")
    mine.outbox.send(entry, messages)
    mine.kafka.poll()
    with monkeypatch.context() as patch:
        patch.setattr("system.outbox.REMOVE", text("SELECT 1 / 0"))
        with pytest.raises(DBAPIError):
            mine.outbox.settle()
    assert standing(mine) == [entry]
    mine.outbox.settle()
    assert standing(mine) == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_lost_at_the_commit_loses_and_doubles_nothing(
    process: Callable[..., Process], moment: str
) -> None:
    """Whoever wrote does not know whether the commit took: the entry is sent exactly if it did, by whoever sweeps."""
    mine, other = process(), process()

    def terminate(connection: Any) -> None:
        raw = connection.connection.dbapi_connection
        if moment == "after":
            raw.commit()
        with other.engine.begin() as another:
            another.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": raw.info.backend_pid})
        if moment == "after":
            raise psycopg2.OperationalError("server closed the connection unexpectedly")

    event.listen(mine.engine, "commit", terminate, once=True)
    with pytest.raises((DBAPIError, psycopg2.OperationalError)):
        mine.write(b"unknown")
    mine.engine.dispose()
    # What follows is what a process does when the database was away: a fresh number, and a look at what was left.
    mine.outbox.open()
    written = [b"unknown"] if moment == "after" else []
    swept = Counter[int]()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline or len(swept) < len(written):
        assert time.monotonic() < deadline + DEADLINE_SECONDS
        swept.update(mine.outbox.sweep())
        swept.update(other.outbox.sweep())
    mine.kafka.poll()
    other.kafka.poll()
    assert mine.values() + other.values() == written
    assert all(count == 1 for count in swept.values())


def test_a_background_thread_sends_settles_and_comes_back_after_its_connections_were_killed(
    process: Callable[..., Process],
) -> None:
    mine, other = process(), process()
    stop = threading.Event()
    thread = mine.outbox.run_in_background(stop, sweep_interval_seconds=0.05)
    try:
        old = mine.outbox.owner
        with other.engine.begin() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND"
                     " (classid::bigint << 32) + objid::bigint = :owner"),
                {"owner": old},
            )  # fmt: skip
        until(lambda: mine.outbox.owner != old, "a fresh owner number")
        dead = process()
        dead.write(b"left behind")
        dead.die()
        until(lambda: mine.values() == [b"left behind"] and standing(other) == [], "sent and removed")
    finally:
        stop.set()
        thread.join(DEADLINE_SECONDS)


def test_an_entry_keeps_keys_values_and_headers_of_any_text() -> None:
    messages = [
        Message("t", "kéy".encode(), '{"x":"\U0001f600"}'.encode(), (("name", b"value"),)),
        Message("u", b"", b""),
    ]
    assert decode(encode(messages)) == messages
