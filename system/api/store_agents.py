"""Questions and changes to the agents table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from system.tables import agents

_A = agents.c

NAME = "uq_agents_name"

# auth_config is written by this module and never read by it: no answer of the API can hold it.
_COLUMNS = tuple(column for column in _A if column is not _A.auth_config)


def create(connection: Connection, agent_id: UUID, record: Mapping[str, Any]) -> RowMapping:
    """Insert an agent.

    Raises:
        IntegrityError: on the constraint `NAME` when the name is taken.
    """
    statement = insert(agents).values(id=agent_id, **record).returning(*_COLUMNS)
    return connection.execute(statement).mappings().one()


def replace(connection: Connection, agent_id: UUID, record: Mapping[str, Any]) -> RowMapping | None:
    """Replace all that a record says; None when there is no such agent.

    Raises:
        IntegrityError: as for `create`.
    """
    statement = update(agents).where(_A.id == agent_id).values(updated_at=func.now(), **record).returning(*_COLUMNS)
    return connection.execute(statement).mappings().one_or_none()


def remove(connection: Connection, agent_id: UUID) -> str | None:
    """Remove an agent; returns its name, None when there was none."""
    name: str | None = connection.execute(
        delete(agents).where(_A.id == agent_id).returning(_A.name)
    ).scalar_one_or_none()
    return name


def get(connection: Connection, agent_id: UUID) -> RowMapping | None:
    """An agent by its id."""
    return connection.execute(select(*_COLUMNS).where(_A.id == agent_id)).mappings().one_or_none()


def page(connection: Connection, *, name: str | None, offset: int, limit: int) -> tuple[Sequence[RowMapping], int]:
    """A page of agents in the order of their names, and how many there are."""
    conditions = [] if name is None else [_A.name == name]
    total = connection.execute(select(func.count()).select_from(agents).where(*conditions)).scalar_one()
    rows = connection.execute(select(*_COLUMNS).where(*conditions).order_by(_A.name).offset(offset).limit(limit))
    return rows.mappings().all(), total
