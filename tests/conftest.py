"""What tests of several parts share: one embedded stack for each worker, started by the first test that wants it, and
empty databases on it."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import sql

from tests import profiles

with warnings.catch_warnings():
    # kafka-python reads its own resources in a way that Python 3.11 to 3.12 call deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from harness.stack import EmbeddedStack

profiles.register()


@pytest.fixture(scope="session")
def stack() -> Iterator[EmbeddedStack]:
    """A stack that serves; a test may restart its parts, and leaves both serving."""
    with EmbeddedStack() as started:
        yield started


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
