"""/workflows: definitions, their versions, and executing them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import IntegrityError

from system.api import parameters, store_audit, store_workflows
from system.api.answers import (
    json_answer,
    list_envelope,
    no_content,
    page_envelope,
    version_document,
    workflow_document,
)
from system.api.bodies import Body
from system.api.database import Database, constraint_of
from system.api.execution import Execution
from system.api.parameters import Query
from system.api.problems import Mistake, Problem, not_found, shown
from system.definitions import InvalidDefinition, load_definition
from system.plans import digest

_STATUSES = ("active", "inactive", "deleted")


def workflows(database: Database, execution: Execution, max_depth: int) -> Blueprint:
    """The routes of /workflows."""
    routes = Blueprint("workflows", __name__, url_prefix="/api/v1/workflows")

    @routes.post("")
    def create() -> Response:
        actor = parameters.actor()
        data = _definition(max_depth)
        row = _create(database, data, actor)
        location = f"/api/v1/workflows/{row['id']}"
        return json_answer(workflow_document(row), 201, {"Location": location})

    @routes.get("")
    def listing() -> Response:
        query = Query()
        page, page_size = query.page()
        name, status = query.text("name"), query.one_of("status", _STATUSES, None)
        query.check()
        rows, total = database.read(
            lambda connection: store_workflows.page(
                connection, name=name, status=status, offset=(page - 1) * page_size, limit=page_size
            )
        )
        return json_answer(page_envelope(map(workflow_document, rows), total, page, page_size))

    @routes.get("/<definition>")
    def read(definition: str) -> Response:
        definition_id = parameters.uuid_of("workflow", definition)
        row = database.read(lambda connection: store_workflows.get(connection, definition_id))
        if row is None:
            raise not_found("workflow", definition)
        return json_answer(workflow_document(row))

    @routes.put("/<definition>")
    def replace(definition: str) -> Response:
        definition_id = parameters.uuid_of("workflow", definition)
        actor = parameters.actor()
        return json_answer(workflow_document(_replace(database, definition_id, _definition(max_depth), actor)))

    @routes.delete("/<definition>")
    def delete(definition: str) -> Response:
        definition_id = parameters.uuid_of("workflow", definition)
        actor = parameters.actor()

        def work(connection: Connection, again: bool) -> bool:
            deleted = store_workflows.delete(connection, definition_id, actor)
            if deleted:
                store_audit.note(connection, "workflow", str(definition_id), "delete", actor)
            return deleted or again

        if not database.transaction(work):
            raise not_found("workflow", definition)
        return no_content()

    @routes.get("/<definition>/versions")
    def versions(definition: str) -> Response:
        definition_id = parameters.uuid_of("workflow", definition)
        rows = database.read(lambda connection: store_workflows.versions(connection, definition_id))
        if not rows:
            raise not_found("workflow", definition)
        return json_answer(list_envelope(map(version_document, rows)))

    _add_execute(routes, execution, max_depth)
    return routes


def _add_execute(routes: Blueprint, execution: Execution, max_depth: int) -> None:
    @routes.post("/<definition>/execute")
    def execute(definition: str) -> Response:
        definition_id = parameters.uuid_of("workflow", definition)
        key, actor = parameters.idempotency_key(), parameters.actor()
        body = Body(parameters.json_object(max_depth, required=False))
        input_data = body.object("input_data")
        triggered_by = body.text("triggered_by", 200)
        body.check()
        if triggered_by is None:
            triggered_by = actor
        if key is None:
            run = execution.start(definition_id, input_data, triggered_by)
        else:
            run = execution.start_once(definition_id, input_data, triggered_by, key, digest(body.document))
        document = {
            "run_id": run.run_id,
            "status": "PENDING",
            "workflow_id": run.workflow_id,
            "workflow_name": run.workflow_name,
            "workflow_definition_id": run.definition_id,
            "created_at": run.created_at,
        }
        return json_answer(document, 202, {"Location": f"/api/v1/runs/{run.run_id}"})


def _definition(max_depth: int) -> dict[str, Any]:
    """The definition in the body, of the contract's fields alone.

    Raises:
        Problem: 422 with every mistake found.
    """
    data = parameters.json_object(max_depth)
    try:
        load_definition(data)
    except InvalidDefinition as error:
        mistakes = [Mistake(found.pointer, found.message, found.suggestion) for found in error.problems]
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise Problem(422, f"the definition has {count}: {mistakes[0].message}", errors=mistakes) from None
    return {name: data.get(name) for name in ("name", "description", "start_step", "steps")}


def _create(database: Database, data: Mapping[str, Any], actor: str | None) -> RowMapping:
    definition_id = uuid.uuid4()

    def work(connection: Connection, again: bool) -> RowMapping:
        if again and (row := store_workflows.get(connection, definition_id)) is not None:
            return row
        row = store_workflows.create(connection, definition_id, data, actor)
        store_audit.note(connection, "workflow", str(definition_id), "create", actor, {"version": 1})
        return row

    try:
        return database.transaction(work)
    except IntegrityError as error:
        raise _name_taken(database, error, data["name"]) from error


def _replace(database: Database, definition_id: UUID, data: Mapping[str, Any], actor: str | None) -> RowMapping:
    before: list[int] = []

    def work(connection: Connection, again: bool) -> RowMapping:
        current = store_workflows.get(connection, definition_id, lock=True)
        if current is None:
            raise not_found("workflow", str(definition_id))
        if again and before and current["version"] > before[0] and current["workflow_data"] == data:
            return current
        before[:] = [current["version"]]
        row = store_workflows.replace(connection, current, data, actor)
        store_audit.note(connection, "workflow", str(definition_id), "update", actor, {"version": row["version"]})
        return row

    try:
        return database.transaction(work)
    except IntegrityError as error:
        raise _name_taken(database, error, data["name"]) from error


def _name_taken(database: Database, error: IntegrityError, name: str) -> Exception:
    if constraint_of(error) != store_workflows.ACTIVE_NAME:
        return error
    holder = database.read(lambda connection: store_workflows.holder_of(connection, name))
    return Problem(
        409,
        f"an active workflow has the name {shown(name)} already; change that one with PUT, delete it, or take another name",
        members={"name": name, "workflow_definition_id": None if holder is None else str(holder)},
    )
