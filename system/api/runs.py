"""/runs: reading, listing, cancelling and retrying runs."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response

from system.api import listing, parameters, run_logs, store_runs
from system.api.answers import json_answer, list_envelope, page_envelope, run_document, step_document
from system.api.bodies import Body
from system.api.database import Database
from system.api.parameters import Query
from system.api.problems import not_found
from system.api.transitions import Transitions


def runs(database: Database, transitions: Transitions, max_depth: int) -> Blueprint:
    """The routes of /runs."""
    routes = Blueprint("runs", __name__, url_prefix="/api/v1/runs")

    @routes.get("")
    def page() -> Response:
        wanted = _listing()
        rows, total, as_of = database.read(lambda connection: listing.runs(connection, wanted))
        envelope = page_envelope(map(run_document, rows), total, wanted.page, wanted.page_size)
        return json_answer(envelope | {"as_of": str(as_of)})

    @routes.get("/<run>")
    def read(run: str) -> Response:
        run_id = parameters.run_id_of(run)
        row = database.read(lambda connection: store_runs.get(connection, run_id))
        if row is None:
            raise not_found("run", run)
        return json_answer(run_document(row))

    @routes.get("/<run>/steps")
    def steps(run: str) -> Response:
        run_id = parameters.run_id_of(run)
        rows = database.read(lambda connection: listing.steps(connection, run_id))
        if not rows and database.read(lambda connection: store_runs.get(connection, run_id)) is None:
            raise not_found("run", run)
        return json_answer(list_envelope(map(step_document, rows)))

    @routes.get("/<run>/logs")
    def logs(run: str) -> Response:
        run_id = parameters.run_id_of(run)
        events = database.read(lambda connection: run_logs.events(connection, run_id))
        if events is None:
            raise not_found("run", run)
        return json_answer(list_envelope(events))

    @routes.post("/<run>/cancel")
    def cancel(run: str) -> Response:
        run_id, actor = parameters.run_id_of(run), parameters.actor()
        body = Body(parameters.json_object(max_depth, required=False))
        reason, cancelled_by = body.text("reason", 2000), body.text("cancelled_by", 200)
        body.check()
        row = transitions.cancel(run_id, reason, actor if cancelled_by is None else cancelled_by)
        return json_answer(run_document(row), 202)

    @routes.post("/<run>/retry")
    def retry(run: str) -> Response:
        run_id, actor = parameters.run_id_of(run), parameters.actor()
        body = Body(parameters.json_object(max_depth, required=False))
        step = body.text("resume_from_step", 200, shortest=1)
        body.check()
        row = transitions.retry(run_id, step, actor)
        # Answered as it was accepted: an executor may have gone on with it since.
        return json_answer(
            run_document(row) | {"status": "PENDING"}, 202, {"Location": f"/api/v1/runs/{row['run_id']}"}
        )

    return routes


def _listing() -> listing.Listing:
    query = Query()
    page, page_size = query.page()
    workflow_id = query.text("workflow_id")
    wanted = listing.Listing(
        status=query.one_of("status", listing.STATUSES, None),
        workflow_id=workflow_id,
        definition_id=UUID(workflow_id) if workflow_id and parameters.is_uuid(workflow_id) else None,
        created_after=query.time("created_after"),
        created_before=query.time("created_before"),
        sort_by=query.one_of("sort_by", listing.SORTS, "created_at"),
        descending=query.one_of("sort_order", ("asc", "desc"), "desc") == "desc",
        page=page,
        page_size=page_size,
        as_of=query.row_id("as_of"),
    )
    query.check()
    return wanted
