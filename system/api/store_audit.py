"""Rows of audit_logs: who did what to which workflow, run or agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert

from system.tables import audit_logs


def note(
    connection: Connection,
    entity_type: str,
    entity_id: str,
    action: str,
    actor: str | None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write an audit row in the caller's transaction. `details` must hold no secret: they are shown to readers."""
    connection.execute(
        insert(audit_logs),
        {
            "entity_type": entity_type,
            "entity_id": entity_id,
            "action": action,
            "actor": actor,
            "details": dict(details) if details else None,
        },
    )
