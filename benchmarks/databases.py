"""A database of its own for each start of a peer, on the server that all share."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import psycopg2


@contextlib.contextmanager
def fresh_database(server_url: str, purpose: str) -> Iterator[str]:
    """The address of a new, empty database, which is dropped afterwards, so that its vacuum disturbs nobody."""
    name = f"bench_{purpose}_{uuid.uuid4().hex[:12]}"
    _execute(server_url, f"CREATE DATABASE {name}")
    try:
        yield f"{server_url.rpartition('/')[0]}/{name}"
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(server_url: str, statement: str) -> None:
    with contextlib.closing(psycopg2.connect(server_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)
