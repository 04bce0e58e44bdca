"""Answers of success: what of a row a client sees, and how it is written as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from flask import Response
from sqlalchemy import RowMapping

from system import json_values

_RUN = (
    "run_id",
    "workflow_id",
    "workflow_name",
    "workflow_definition_id",
    "status",
    "input_data",
    "error_message",
    "triggered_by",
    "created_at",
    "updated_at",
    "started_at",
    "completed_at",
    "cancelled_at",
    "cancelled_by",
)
_STEP = (
    "id",
    "run_id",
    "step_id",
    "step_name",
    "agent_name",
    "status",
    "input_data",
    "output_data",
    "error_message",
    "started_at",
    "completed_at",
    "parent_step_id",
    "branch_name",
    "join_policy",
    "path",
    "generation",
    "attempt",
    "task_id",
    "superseded",
)
_DEFINITION = ("status", "created_at", "updated_at", "created_by", "updated_by")
_AGENT = ("id", "name", "url", "description", "timeout_ms", "status", "created_at", "updated_at")


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A document as application/json; times in UTC with Z."""
    return Response(orjson.dumps(document, option=orjson.OPT_UTC_Z), status, headers, mimetype="application/json")


def no_content() -> Response:
    """204."""
    return Response(status=204)


def list_envelope(items: Iterable[Any]) -> dict[str, Any]:
    """{items, total} of a list that is whole."""
    listed = list(items)
    return {"items": listed, "total": len(listed)}


def page_envelope(items: Iterable[Any], total: int, page: int, page_size: int) -> dict[str, Any]:
    """{items, total, page, page_size, total_pages} of a page."""
    return {
        "items": list(items),
        "total": total,
        "page": page,
        "page_size": page_size,
        "total_pages": -(-total // page_size),
    }


def run_document(row: RowMapping) -> dict[str, Any]:
    """A row of workflow_runs with its JSON column as text."""
    document = {name: row[name] for name in _RUN}
    document["input_data"] = _verbatim(row["input_data"])
    document["retries"] = row["generation"]
    return document


def step_document(row: RowMapping) -> dict[str, Any]:
    """A row of step_executions with its JSON columns as text."""
    document = {name: row[name] for name in _STEP}
    document["input_data"] = _verbatim(row["input_data"])
    document["output_data"] = _verbatim(row["output_data"])
    return document


def workflow_document(row: RowMapping) -> dict[str, Any]:
    """A row of workflow_definitions."""
    return (
        {"id": row["id"], "workflow_id": f"wf-{row['name']}-{row['version']}"}
        | _version(row)
        | {name: row[name] for name in _DEFINITION}
    )


def version_document(row: RowMapping) -> dict[str, Any]:
    """A row of workflow_definition_versions."""
    return _version(row) | {"created_at": row["created_at"], "created_by": row["created_by"]}


def agent_document(row: RowMapping) -> dict[str, Any]:
    """A row of agents, without auth_config (API-28)."""
    document = {name: row[name] for name in _AGENT}
    document["auth_type"] = row["auth_type"] or "none"
    document["retry_config"] = _encoded(row["retry_config"] or {})
    return document


def _verbatim(value: str | None) -> orjson.Fragment | None:
    """JSON text as the database holds it, to be written into an answer as it is."""
    return None if value is None else orjson.Fragment(value)


def _encoded(value: Any) -> orjson.Fragment:
    """A value of a client's, whose whole numbers may be beyond what orjson writes."""
    return orjson.Fragment(json_values.dumps(value))


def _version(row: RowMapping) -> dict[str, Any]:
    data = row["workflow_data"]
    return {
        "name": row["name"],
        "description": row["description"],
        "version": row["version"],
        "start_step": data.get("start_step"),
        "steps": _encoded(data.get("steps")),
    }
