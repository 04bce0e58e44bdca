"""Databases with all tables, for tests of the system."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import create_engine

from system.tables import metadata


@pytest.fixture(scope="session")
def tables_database(empty_database: Callable[[], str]) -> Callable[[], str]:
    """Makes a database with all tables, as declared, and gives its URL."""

    def create() -> str:
        url = empty_database()
        engine = create_engine(url)
        metadata.create_all(engine)
        engine.dispose()
        return url

    return create


@pytest.fixture(scope="module")
def module_database(tables_database: Callable[[], str]) -> str:
    """URL of a database that the tests of one module share."""
    return tables_database()
