"""Databases of their own for tests of the system, on the stack that all share."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2 import sql
from sqlalchemy import create_engine

from system.tables import metadata

if TYPE_CHECKING:
    from harness.stack import EmbeddedStack


@pytest.fixture(scope="session")
def execute_at_server(stack: EmbeddedStack) -> Callable[[str, str], None]:
    """Runs a statement that names a database (as `{}`) from a connection to another one."""

    def execute(statement: str, name: str) -> None:
        with closing(psycopg2.connect(stack.database_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(sql.Identifier(name)))

    return execute


@pytest.fixture(scope="session")
def empty_database(stack: EmbeddedStack, execute_at_server: Callable[[str, str], None]) -> Callable[[], str]:
    """Makes an empty database and gives its URL, with the driver named as SQLAlchemy wants it."""

    def create() -> str:
        name = f"test_{uuid.uuid4().hex}"
        execute_at_server("CREATE DATABASE {}", name)
        server = stack.database_url.rpartition("/")[0].replace("postgresql:", "postgresql+psycopg2:", 1)
        return f"{server}/{name}"

    return create


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
