"""/agents: the registry of agents. No answer and no log line holds anything of auth_config."""

from __future__ import annotations

import uuid
from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import IntegrityError

from system.api import parameters, store_agents, store_audit
from system.api.agent_records import agent_record
from system.api.answers import agent_document, json_answer, no_content, page_envelope
from system.api.database import Database, constraint_of
from system.api.parameters import Query
from system.api.probe import Prober
from system.api.problems import Problem, not_found, shown
from system.ports import Clock


def agents(database: Database, prober: Prober, clock: Clock, max_depth: int) -> Blueprint:
    """The routes of /agents."""
    routes = Blueprint("agents", __name__, url_prefix="/api/v1/agents")

    @routes.post("")
    def create() -> Response:
        actor = parameters.actor()
        row = _create(database, agent_record(parameters.json_object(max_depth)), actor)
        return json_answer(agent_document(row), 201, {"Location": f"/api/v1/agents/{row['id']}"})

    @routes.get("")
    def listing() -> Response:
        query = Query()
        page, page_size = query.page()
        name = query.text("name")
        query.check()
        rows, total = database.read(
            lambda connection: store_agents.page(connection, name=name, offset=(page - 1) * page_size, limit=page_size)
        )
        return json_answer(page_envelope(map(agent_document, rows), total, page, page_size))

    @routes.get("/<agent>")
    def read(agent: str) -> Response:
        return json_answer(agent_document(_get(database, agent)))

    @routes.put("/<agent>")
    def replace(agent: str) -> Response:
        agent_id, actor = parameters.uuid_of("agent", agent), parameters.actor()
        row = _replace(database, agent_id, agent_record(parameters.json_object(max_depth)), actor)
        return json_answer(agent_document(row))

    @routes.delete("/<agent>")
    def delete(agent: str) -> Response:
        agent_id, actor = parameters.uuid_of("agent", agent), parameters.actor()

        def work(connection: Connection, again: bool) -> bool:
            name = store_agents.remove(connection, agent_id)
            if name is not None:
                store_audit.note(connection, "agent", str(agent_id), "delete", actor, {"name": name})
            return name is not None or again

        if not database.transaction(work):
            raise not_found("agent", agent)
        return no_content()

    @routes.get("/<agent>/health")
    def health(agent: str) -> Response:
        # The row's connection is given back before the agent is asked.
        url = _get(database, agent)["url"]
        found = prober.probe(url)
        return json_answer(
            {
                "status": "healthy" if found.healthy else "unhealthy",
                "latency_ms": found.latency_ms,
                "detail": found.detail,
                "checked_at": clock.now(),
            }
        )

    return routes


def _get(database: Database, agent: str) -> RowMapping:
    agent_id = parameters.uuid_of("agent", agent)
    row = database.read(lambda connection: store_agents.get(connection, agent_id))
    if row is None:
        raise not_found("agent", agent)
    return row


def _create(database: Database, record: dict[str, Any], actor: str | None) -> RowMapping:
    agent_id = uuid.uuid4()

    def work(connection: Connection, again: bool) -> RowMapping:
        if again and (row := store_agents.get(connection, agent_id)) is not None:
            return row
        row = store_agents.create(connection, agent_id, record)
        store_audit.note(connection, "agent", str(agent_id), "create", actor, {"name": record["name"]})
        return row

    try:
        return database.transaction(work)
    except IntegrityError as error:
        raise _name_taken(error, record["name"]) from error


def _replace(database: Database, agent_id: UUID, record: dict[str, Any], actor: str | None) -> RowMapping:
    def work(connection: Connection, _: bool) -> RowMapping:
        row = store_agents.replace(connection, agent_id, record)
        if row is None:
            raise not_found("agent", str(agent_id))
        store_audit.note(connection, "agent", str(agent_id), "update", actor, {"name": record["name"]})
        return row

    try:
        return database.transaction(work)
    except IntegrityError as error:
        raise _name_taken(error, record["name"]) from error


def _name_taken(error: IntegrityError, name: str) -> Exception:
    if constraint_of(error) != store_agents.NAME:
        return error
    return Problem(
        409,
        f"an agent has the name {shown(name)} already; change that one with PUT or take another name",
        members={"name": name},
    )
