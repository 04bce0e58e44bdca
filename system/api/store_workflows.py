"""Questions and changes to workflow_definitions and their versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from system.tables import workflow_definition_versions, workflow_definitions

_D = workflow_definitions.c
_V = workflow_definition_versions.c

ACTIVE_NAME = "uq_workflow_definitions_active_name"


def create(connection: Connection, definition_id: UUID, data: Mapping[str, Any], actor: str | None) -> RowMapping:
    """Insert a definition and its version 1.

    Raises:
        IntegrityError: on the constraint `ACTIVE_NAME` when an active definition has the name.
    """
    row = (
        connection.execute(
            insert(workflow_definitions)
            .values(
                id=definition_id,
                name=data["name"],
                description=data.get("description"),
                version=1,
                workflow_data=data,
                created_by=actor,
                updated_by=actor,
            )
            .returning(*workflow_definitions.c)
        )
        .mappings()
        .one()
    )
    _keep_version(connection, row, actor)
    return row


def replace(connection: Connection, current: RowMapping, data: Mapping[str, Any], actor: str | None) -> RowMapping:
    """Make the next version of a definition that `get` has locked.

    Raises:
        IntegrityError: as for `create`.
    """
    # A row that somebody else wrote has no version row yet, and what it says now must not be lost.
    _keep_version(connection, current, current["updated_by"])
    row = (
        connection.execute(
            update(workflow_definitions)
            .where(_D.id == current["id"])
            .values(
                name=data["name"],
                description=data.get("description"),
                version=_D.version + 1,
                workflow_data=data,
                updated_at=func.now(),
                updated_by=actor,
            )
            .returning(*workflow_definitions.c)
        )
        .mappings()
        .one()
    )
    _keep_version(connection, row, actor)
    return row


def delete(connection: Connection, definition_id: UUID, actor: str | None) -> bool:
    """Mark a definition as deleted, which gives its name free; False when there is none that is not deleted yet."""
    changed = connection.execute(
        update(workflow_definitions)
        .where(_D.id == definition_id, _D.status != "deleted")
        .values(status="deleted", updated_at=func.now(), updated_by=actor)
    )
    return changed.rowcount == 1


def get(connection: Connection, definition_id: UUID, *, lock: bool = False) -> RowMapping | None:
    """The definition as it is now, unless it is deleted; with `lock`, nobody changes it before the transaction ends."""
    query = select(*workflow_definitions.c).where(_D.id == definition_id, _D.status != "deleted")
    return connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()


def holder_of(connection: Connection, name: str) -> UUID | None:
    """Id of the active definition that has a name."""
    return connection.execute(select(_D.id).where(_D.name == name, _D.status == "active")).scalar_one_or_none()


def page(
    connection: Connection, *, name: str | None, status: str | None, offset: int, limit: int
) -> tuple[Sequence[RowMapping], int]:
    """A page of definitions, newest first, and how many there are; deleted ones only when asked for by status."""
    conditions = [_D.status == status] if status else [_D.status != "deleted"]
    if name is not None:
        conditions.append(_D.name == name)
    total = connection.execute(select(func.count()).select_from(workflow_definitions).where(*conditions)).scalar_one()
    rows = connection.execute(
        select(*workflow_definitions.c)
        .where(*conditions)
        .order_by(_D.created_at.desc(), _D.id.desc())
        .offset(offset)
        .limit(limit)
    )
    return rows.mappings().all(), total


def versions(connection: Connection, definition_id: UUID) -> Sequence[RowMapping]:
    """All versions of a definition that is not deleted, newest first; nothing when there is none."""
    current = get(connection, definition_id)
    if current is None:
        return ()
    query = select(*workflow_definition_versions.c).where(_V.definition_id == definition_id).order_by(_V.version.desc())
    kept = connection.execute(query).mappings().all()
    # A row that somebody else wrote has no version row until its first PUT.
    return kept if any(row["version"] == current["version"] for row in kept) else (current, *kept)


def version(connection: Connection, definition_id: UUID, number: int) -> Mapping[str, Any] | None:
    """The workflow_data of one version."""
    query = select(_V.workflow_data).where(_V.definition_id == definition_id, _V.version == number)
    data: Mapping[str, Any] | None = connection.execute(query).scalar_one_or_none()
    return data


def _keep_version(connection: Connection, row: RowMapping, actor: str | None) -> None:
    connection.execute(
        upsert(workflow_definition_versions)
        .values(
            definition_id=row["id"],
            version=row["version"],
            name=row["name"],
            description=row["description"],
            workflow_data=row["workflow_data"],
            created_by=actor,
        )
        .on_conflict_do_nothing()
    )
