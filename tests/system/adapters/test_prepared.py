"""Statements that a connection has PostgreSQL parse and plan once: the same answers and the same errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError, OperationalError

from system.adapters.postgres import connect
from system.adapters.prepared import prepared

_SUM = prepared("SELECT cast(:a AS int) + cast(:b AS int) * :a, '100%'")
_LIST = prepared("SELECT array_length(cast(:items AS text[]), 1)")
_NOTHING = prepared("SELECT 7")


@pytest.fixture
def engine(module_database: str) -> Iterator[Engine]:
    engine = connect(module_database, pool_size=1, application_name="test-prepared")
    yield engine
    engine.dispose()


def _kept(connection: Connection) -> dict[str, int]:
    """By statement, how often this session has carried it out."""
    rows = connection.execute(text("SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements"))
    return {row[0]: row[1] for row in rows}


def test_a_statement_is_prepared_once_and_carried_out_with_its_own_parameters_each_time(engine: Engine) -> None:
    for a, b in ((1, 2), (3, 4), (-5, 6)):
        with engine.connect() as connection:
            assert tuple(connection.execute(_SUM, {"a": a, "b": b}).one()) == (a + b * a, "100%")
    with engine.connect() as connection:
        assert [times for statement, times in _kept(connection).items() if "100%'" in statement] == [3]


def test_lists_texts_that_need_quoting_and_no_parameters_at_all_are_carried_out(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(_LIST, {"items": ["it's", "100%", "\\", "%(a)s", ":b"]}).scalar_one() == 5
        assert connection.execute(_LIST, {"items": []}).scalar_one() is None
        assert connection.execute(_NOTHING).scalar_one() == 7
        assert len(_kept(connection)) == 2


def test_what_is_not_marked_is_not_prepared(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("SELECT cast(:a AS int)"), {"a": 3}).scalar_one() == 3
        assert _kept(connection) == {}


def test_an_error_is_that_of_the_statement_and_leaves_it_usable(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DataError) as caught:
        connection.execute(_SUM, {"a": 2**31, "b": 1})
    assert getattr(caught.value.orig, "pgcode", None) == "22003"
    with engine.connect() as connection:
        assert connection.execute(_SUM, {"a": 2, "b": 1}).scalar() == 4


def test_a_new_connection_prepares_anew(engine: Engine) -> None:
    """The one before was cut, and what it had prepared is gone with it."""
    with engine.connect() as connection:
        connection.execute(_SUM, {"a": 1, "b": 1})
        own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with connect(
        str(engine.url.render_as_string(hide_password=False)), pool_size=1, application_name="x"
    ).connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": own})
    with pytest.raises(OperationalError), engine.connect() as connection:
        connection.execute(_SUM, {"a": 1, "b": 1})
    with engine.connect() as connection:
        assert connection.execute(_SUM, {"a": 1, "b": 1}).scalar() == 2


def test_a_plan_is_kept_beyond_a_transaction_that_is_given_up(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(_SUM, {"a": 1, "b": 1})
        connection.rollback()
        assert connection.execute(_SUM, {"a": 2, "b": 2}).scalar() == 6
