"""The proxy before PostgreSQL, between real clients and a real server: psycopg2 speaks the simple protocol, pg8000 the
extended one, and some begin a transaction in one message with its first statement."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pg8000.dbapi  # type: ignore[import-untyped]
import psycopg2
import pytest

from harness.faults.proxy import postgres_wire as wire
from harness.faults.proxy.gate import Decision, Passage
from tests.harness.faults.conftest import Proxied, Told

Connection = Any


def _simple(url: str) -> Connection:
    return psycopg2.connect(url, connect_timeout=10)


def _extended(url: str) -> Connection:
    parts = urlsplit(url)
    return pg8000.dbapi.connect(
        parts.username or "", host=parts.hostname or "", port=parts.port or 0, database=parts.path[1:],
        password=parts.password, timeout=20,
    )  # fmt: skip


class _AtOnce(psycopg2.extensions.connection):
    """Sends BEGIN together with the first statement of a transaction."""

    autocommit = False  # type: ignore[assignment]

    def cursor(self, *_: Any, **__: Any) -> Any:
        return super().cursor(cursor_factory=_CursorAtOnce)

    def commit(self) -> None:
        self._end("COMMIT")

    def rollback(self) -> None:
        self._end("ROLLBACK")

    def _end(self, how: str) -> None:
        if self.get_transaction_status() != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
            self.cursor().execute(how)


class _CursorAtOnce(psycopg2.extensions.cursor):
    def execute(self, query: Any, values: Any = None) -> None:
        is_idle = self.connection.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_IDLE
        super().execute(query if self.connection.autocommit or not is_idle else f"BEGIN; {query}", values)


def _at_once(url: str) -> Connection:
    opened = psycopg2.connect(url, connect_timeout=10, connection_factory=_AtOnce)
    # To psycopg2 each statement commits by itself, so that it sends nothing of its own.
    psycopg2.extensions.connection.autocommit.__set__(opened, True)  # type: ignore[attr-defined]
    return opened


@pytest.fixture(params=[_simple, _extended, _at_once], ids=["simple", "extended", "at once"])
def connection(request: pytest.FixtureRequest, proxied: Proxied, told: Told) -> Iterator[Connection]:
    """A client's connection through the proxy, with an empty table `things`."""
    with contextlib.closing(_simple(proxied.database_url)) as first, first.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS things; CREATE TABLE things (n int PRIMARY KEY)")
        first.commit()
    opened = request.param(proxied.database_url)
    told.before_it.clear()
    told.after_it.clear()
    yield opened
    with contextlib.suppress(Exception):
        opened.close()


def _count(proxied: Proxied) -> int:
    with contextlib.closing(_simple(proxied.database_url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM things")
        return int(cursor.fetchone()[0])


def _insert(connection: Connection, number: int) -> None:
    cursor = connection.cursor()
    cursor.execute("INSERT INTO things (n) VALUES (%s)", (number,))


def _insert_and_commit(connection: Connection, number: int) -> None:
    _insert(connection, number)
    connection.commit()


def test_a_commit_is_told_with_its_tables(connection: Connection, told: Told) -> None:
    """A commit that changes rows is a crossing, before and after it takes effect, with the tables that it changes."""
    _insert(connection, 1)
    _insert(connection, 2)
    assert told.of("commit") == []
    connection.commit()
    assert told.before_it == told.after_it == [("write", ("things",)), ("commit", ("things",))]


def test_what_changes_nothing_is_no_crossing(connection: Connection, told: Told) -> None:
    """A transaction that only reads, that changes no row, or that is rolled back, commits nothing."""
    cursor = connection.cursor()
    cursor.execute("SELECT n FROM things WHERE n > %s FOR UPDATE", (0,))
    cursor.execute("UPDATE things SET n = n + 1 WHERE n = %s", (99,))
    connection.commit()
    _insert(connection, 1)
    connection.rollback()
    assert told.before_it == [("write", ("things",))] * 2


def test_a_statement_that_commits_by_itself_is_told(connection: Connection, told: Told) -> None:
    """Outside of a transaction, the statement that changes data is the commit."""
    connection.autocommit = True
    _insert(connection, 1)
    cursor = connection.cursor()
    cursor.execute("WITH two AS (SELECT 2 AS n) INSERT INTO things SELECT n FROM two")
    cursor.execute("SELECT n FROM things")
    assert [tuple(row) for row in cursor.fetchall()] == [(1,), (2,)]
    assert told.of("commit") == [("things",), ("things",)]
    assert len(told.after_it) == 2


@pytest.mark.parametrize("by_itself", [False, True])
def test_a_statement_that_sql_itself_has_prepared_is_told_by_what_it_does(
    connection: Connection, told: Told, proxied: Proxied, by_itself: bool
) -> None:
    """`EXECUTE name` names no table: what it changes is known from the PREPARE before it, which changes nothing."""
    connection.autocommit = by_itself
    cursor = connection.cursor()
    cursor.execute("PREPARE add (int) AS INSERT INTO things (n) VALUES ($1)")
    cursor.execute('/* reads */ PREPARE "Look" AS SELECT n FROM things')
    assert told.before_it == []
    cursor.execute("EXECUTE ADD(1)")
    cursor.execute('EXECUTE "Look"')
    assert [tuple(row) for row in cursor.fetchall()] == [(1,)]
    connection.commit()
    assert told.of("commit") == [("things",)]
    told.refuse("commit", "error_retriable")
    with pytest.raises(Exception, match=wire.MESSAGES["error_retriable"][2]):
        _execute_and_commit(cursor, connection)
    connection.rollback()
    assert _count(proxied) == 1


def _execute_and_commit(cursor: Any, connection: Connection) -> None:
    cursor.execute("EXECUTE add(2)")
    connection.commit()


@pytest.mark.parametrize(("kind", "code"), [("error_retriable", "40001"), ("deadlock", "40P01")])
@pytest.mark.parametrize("by_itself", [False, True])
def test_a_refused_commit_changes_nothing(
    connection: Connection, told: Told, proxied: Proxied, kind: Any, code: str, by_itself: bool
) -> None:
    """A commit that is refused fails with that error, has not taken effect, and the connection goes on to be of use."""
    connection.autocommit = by_itself
    told.refuse("commit", kind)
    with pytest.raises(Exception, match=wire.MESSAGES[kind][2]) as raised:
        _insert_and_commit(connection, 1)
    assert code in (getattr(raised.value, "pgcode", None), *map(str, getattr(raised.value.args[0], "values", list)()))
    connection.rollback()
    assert _count(proxied) == 0
    _insert(connection, 2)
    connection.commit()
    assert _count(proxied) == 1


@pytest.mark.parametrize(("kind", "code"), [("error_retriable", "40001"), ("deadlock", "40P01")])
def test_a_refused_write_ends_its_transaction(
    connection: Connection, told: Told, proxied: Proxied, kind: Any, code: str
) -> None:
    """The first statement that changes data fails with that error, and the transaction with it, once."""
    told.refuse("write", kind)
    with pytest.raises(Exception, match=wire.MESSAGES[kind][2]) as raised:
        _insert(connection, 1)
    assert code in (getattr(raised.value, "pgcode", None), *map(str, getattr(raised.value.args[0], "values", list)()))
    with pytest.raises(Exception, match="aborted"):
        _insert(connection, 2)
    connection.rollback()
    _insert(connection, 3)
    connection.commit()
    assert _count(proxied) == 1
    assert told.of("commit") == [("things",)]


@pytest.mark.parametrize("is_lost", [False, True])
def test_the_server_says_good_bye_at_a_commit(
    connection: Connection, told: Told, proxied: Proxied, is_lost: bool
) -> None:
    """57P01 ends the connection; when the commit had taken effect it has taken effect, and only then."""
    if is_lost:
        told.next_after["commit"] = Decision(Passage.REFUSE, "error_lost")
    else:
        told.refuse("commit", "error_fatal")
    _insert(connection, 1)
    with pytest.raises(Exception, match=r"administrator command|57P01|closed|network"):
        connection.commit()
    assert _count(proxied) == int(is_lost)


@pytest.mark.parametrize("is_after", [False, True])
def test_a_dropped_connection_at_a_commit(connection: Connection, told: Told, proxied: Proxied, is_after: bool) -> None:
    """A reset before the commit leaves nothing behind, one after it everything."""
    (told.next_after if is_after else told.next_before)["commit"] = Decision(Passage.CLOSE)
    _insert(connection, 1)
    with pytest.raises(Exception, match=r"."):
        connection.commit()
    assert _count(proxied) == int(is_after)


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        (b"INSERT INTO public.runs (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", ["runs"]),
        (b"/* note */ UPDATE ONLY steps AS s SET a = 1", ["steps"]),
        (b'WITH gone AS (DELETE FROM old RETURNING a) INSERT INTO "new" SELECT a FROM gone', ["new", "old"]),
        (b"DELETE FROM a WHERE id IN (SELECT id FROM b FOR UPDATE SKIP LOCKED)", ["a"]),
        (b"CREATE TABLE x (a int)", ["schema"]),
    ],
)
def test_tables_of_a_statement(sql: bytes, tables: list[str]) -> None:
    """Which tables a statement writes to is read from its text."""
    assert wire.may_change(sql)
    assert wire.tables(sql) == tables


@pytest.mark.parametrize(
    ("sql", "tag", "has_changed"),
    [
        (b"UPDATE a SET b = 1", b"UPDATE 0", False),
        (b"UPDATE a SET b = 1", b"UPDATE 3", True),
        (b"INSERT INTO a VALUES (1)", b"INSERT 0 1", True),
        (b"SELECT 1", b"SELECT 1", False),
        (b"WITH x AS (DELETE FROM a RETURNING b) SELECT * FROM x", b"SELECT 1", True),
        (b"SET LOCAL synchronous_commit = off", b"SET", False),
    ],
)
def test_what_was_changed_is_told_by_the_tag(sql: bytes, tag: bytes, has_changed: bool) -> None:
    """PostgreSQL says how many rows a statement has changed."""
    assert wire.has_changed(sql, tag) is has_changed


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        (b"PREPARE a AS SELECT 1", (b"a", b" SELECT 1")),
        (b"-- x\nprepare A_1 (int, text[]) as\nINSERT INTO t VALUES ($1)", (b"a_1", b"\nINSERT INTO t VALUES ($1)")),
        (b'PREPARE "say ""A""" AS SELECT 1', (b'say "A"', b" SELECT 1")),
        (b"PREPARE TRANSACTION 'as'", None),
        (b"SELECT 'PREPARE a AS SELECT 1'", None),
    ],
)
def test_what_sql_itself_prepares(sql: bytes, kept: tuple[bytes, bytes] | None) -> None:
    """Name, folded as PostgreSQL folds it, and statement."""
    assert wire.prepared(sql) == kept


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (b"EXECUTE a", b"a"),
        (b" execute A_1 (1, 'x')", b"a_1"),
        (b'EXECUTE "B c"(1)', b"B c"),
        (b"SELECT 'EXECUTE a'", None),
    ],
)
def test_what_sql_itself_carries_out(sql: bytes, name: bytes | None) -> None:
    """The name of what was prepared."""
    assert wire.executed(sql) == name
