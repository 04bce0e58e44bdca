"""Connections to PostgreSQL: exact JSON, and limits that end what hangs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from system.adapters.clock import SystemClock
from system.adapters.postgres import Blame, blame_of, connect


class _GivenUp(Exception):
    pass


@pytest.fixture
def engine(module_database: str) -> Iterator[Engine]:
    engine = connect(module_database, pool_size=2, application_name="test-adapter")
    yield engine
    engine.dispose()


def test_whole_numbers_of_any_length_come_back_exactly(engine: Engine) -> None:
    number = "1234567890" * 7
    with engine.connect() as connection:
        found = connection.execute(text("SELECT cast(:value AS jsonb)"), {"value": f'{{"x": [{number}, 1.5, "ü"]}}'})
        assert found.scalar_one() == {"x": [int(number), 1.5, "ü"]}


def test_sessions_are_limited_named_and_in_utc(engine: Engine) -> None:
    with engine.connect() as connection:
        shown = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in (
                "idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout", "TimeZone", "application_name",
            )
        }  # fmt: skip
    assert shown == {
        "idle_in_transaction_session_timeout": "10s",
        "lock_timeout": "5s",
        "statement_timeout": "1min",
        "TimeZone": "UTC",
        "application_name": "test-adapter",
    }


def test_statements_commit_by_themselves_where_that_was_asked_for_but_not_in_a_transaction(
    module_database: str,
) -> None:
    engine = connect(module_database, pool_size=1, application_name="test-adapter", autocommit=True)
    transactional = engine.execution_options(isolation_level="READ COMMITTED")
    try:
        with engine.connect() as connection:
            connection.execute(text("CREATE TABLE noted (what text)"))
        for number in range(2):
            # The same connection each time, which has to be as it was before.
            with engine.connect() as connection:
                connection.execute(text("INSERT INTO noted VALUES (:what)"), {"what": f"alone {number}"})
                connection.rollback()
            with contextlib.suppress(_GivenUp), transactional.begin() as connection:
                connection.execute(text("INSERT INTO noted VALUES ('given up')"))
                raise _GivenUp
            with transactional.begin() as connection:
                connection.execute(text("INSERT INTO noted VALUES (:what)"), {"what": f"together {number}"})
        with engine.connect() as connection:
            found = connection.execute(text("SELECT what FROM noted")).scalars().all()
            assert found == ["alone 0", "together 0", "alone 1", "together 1"]
    finally:
        engine.dispose()


def test_the_clock_tells_aware_times_in_utc_as_the_database_does(engine: Engine) -> None:
    before = SystemClock().now()
    with engine.connect() as connection:
        at_server = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    assert before.tzinfo is UTC
    assert before <= at_server <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("statement", "blame"),
    [
        ("SELECT 1 / 0", Blame.WORK),
        ("SELECT cast('9223372036854775808' AS bigint)", Blame.WORK),
        ("DO $$ BEGIN RAISE unique_violation; END $$", Blame.WORK),
        ("DO $$ BEGIN RAISE statement_too_complex; END $$", Blame.WORK),
        ("DO $$ BEGIN RAISE EXCEPTION 'not this one'; END $$", Blame.WORK),
        ("SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(5)", Blame.UNKNOWN),
        ("DO $$ BEGIN RAISE internal_error; END $$", Blame.UNKNOWN),
        ("DO $$ BEGIN RAISE too_many_connections; END $$", Blame.SURROUNDINGS),
        ("DO $$ BEGIN RAISE disk_full; END $$", Blame.SURROUNDINGS),
        ("DO $$ BEGIN RAISE deadlock_detected; END $$", Blame.SURROUNDINGS),
        ("DO $$ BEGIN RAISE lock_not_available; END $$", Blame.SURROUNDINGS),
        ("SET TRANSACTION READ ONLY; CREATE TABLE not_made ()", Blame.SURROUNDINGS),
        ("SELECT * FROM no_such_table", Blame.SURROUNDINGS),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Blame.SURROUNDINGS),
    ],
)
def test_only_an_error_about_the_values_is_laid_to_the_work(engine: Engine, statement: str, blame: Blame) -> None:
    with pytest.raises(DBAPIError) as failed, engine.connect() as connection:
        connection.exec_driver_sql(statement)
    assert blame_of(failed.value) is blame


def test_a_connection_that_is_not_to_be_had_is_not_laid_to_the_work() -> None:
    nowhere = connect("postgresql+psycopg2://nobody@127.0.0.1:1/none", pool_size=1, application_name="test-adapter")
    with pytest.raises(DBAPIError) as failed, nowhere.connect():
        pass
    assert blame_of(failed.value) is Blame.SURROUNDINGS
