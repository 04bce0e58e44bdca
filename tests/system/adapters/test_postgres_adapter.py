"""Connections to PostgreSQL: exact JSON, and limits that end what hangs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from system.adapters.clock import SystemClock
from system.adapters.postgres import connect


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


def test_the_clock_tells_aware_times_in_utc_as_the_database_does(engine: Engine) -> None:
    before = SystemClock().now()
    with engine.connect() as connection:
        at_server = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    assert before.tzinfo is UTC
    assert before <= at_server <= datetime.now(UTC)
