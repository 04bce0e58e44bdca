"""What the API asks of the database and answers, on a battery of small cases, as plain values; see `witness_runs`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy.dialects import postgresql

from system.api import answers, listing, messages, parameters, problems, runs, store_runs, store_workflows, workflows
from system.api import transitions as transitions_module

_NOW = datetime(2026, 1, 2, tzinfo=UTC)
_ID = UUID(int=1)
_DATA = {"name": "w", "description": None, "start_step": "a", "steps": {"a": {"id": "a", "agent_name": "worker"}}}
_APP = Flask("witness")


class _Row(dict[str, Any]):
    """A row in which everything is there."""

    def __missing__(self, _: str) -> None:
        return None


class _Connection:
    """Notes statements as text with their parameters, and answers each with one row."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = _Row(row)
        self.told: list[str] = []
        self.rowcount = 1

    def execute(self, statement: Any, given: Any = None) -> _Connection:
        compiled = statement.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
        values = {name: value for name, value in compiled.params.items() if not callable(value)}
        self.told.append(f"{' '.join(str(compiled).split())} {values} {given}")
        return self

    def mappings(self) -> _Connection:
        return self

    def one(self) -> _Row:
        return self.row

    one_or_none = first = one

    def all(self) -> list[_Row]:
        return [self.row]

    def scalar_one(self) -> int:
        return 1000

    scalar_one_or_none = scalar_one


def _statements() -> list[str]:
    row = {"id": _ID, "name": "w", "version": 1, "status": "active", "workflow_data": _DATA, "run_id": "run-1"}
    connection: Any = _Connection(row)
    store_workflows.create(connection, _ID, _DATA, None)
    store_workflows.replace(connection, connection.row, _DATA, None)
    store_workflows.delete(connection, _ID, None)
    store_runs.cancel(connection, "run-1", "ada", _NOW)
    store_runs.retry(connection, "run-1", None, _NOW)
    store_workflows.page(connection, name=None, status=None, offset=0, limit=10)
    listing.steps(connection, "run-1")
    for page in (1, 2):
        listing.runs(connection, listing.Listing("FAILED", None, None, None, _NOW, "created_at", True, page, 10, 7))
    return [*connection.told]


def _documents() -> list[str]:
    row: Any = _Row(id=_ID, name="worker", auth_type="bearer", auth_config={"token": "secret"})
    told = [repr(answers.agent_document(row)["auth_type"]), repr(sorted(answers.agent_document(row)))]
    told.append(repr(messages.plan_document(1, _DATA)))
    told.append(repr(messages.execution_request("t", "run-1", b"{}", b'{"x": 1}', _NOW).value))
    return told


def _transitions() -> list[str]:
    told = []
    for status in ("FAILED", "COMPLETED"):
        row = {"status": status, "input_data": "{}", "plan_digest": "d", "accepted_at": None, "workflow_definition_id": _ID,
               "id": _ID, "name": "w", "version": 3, "workflow_data": _DATA}  # fmt: skip
        written: list[Any] = []
        outbox = SimpleNamespace(write=lambda _, found, written=written: written.append(found[0].value) or 1)
        settings = SimpleNamespace(
            kafka_execution_topic="t", kafka_cancellation_topic="c", kafka_max_message_bytes=10**6
        )
        work = transitions_module.Transitions(settings, None, outbox, None, None)  # type: ignore[arg-type]
        for step in (None, "a", "nowhere"):
            connection: Any = _Connection(row)
            connection.scalar_one_or_none = lambda: _DATA
            told.append(_told(lambda w=work, c=connection, s=step: w._retry(c, "run-1", s, None, _NOW, [])))  # type: ignore[misc]
            told += [str(written), *connection.told]
        told.append(_told(lambda w=work, row=row: w._not_cancelled(row, "run-1")))  # type: ignore[misc]
    return told


def _requests() -> list[str]:
    told = []
    for query in ("", "?page_size=1000", "?sort_by=status"):
        with _APP.test_request_context(f"/api/v1/runs{query}"):
            told += [_told(runs._listing), _told(lambda: parameters.Query().page())]
    with _APP.test_request_context(
        "/api/v1/workflows", method="POST", json={"name": "w", "start_step": "a", "steps": {}}
    ):
        told.append(_told(lambda: workflows._definition(50)))
    return told


def _keys() -> list[str]:
    """Which way an execute with an Idempotency-Key goes."""
    told: list[str] = []
    accepted = SimpleNamespace(run_id="run-1", workflow_id="w", workflow_name="w", definition_id=_ID, created_at=_NOW)
    execution: Any = SimpleNamespace(
        start=lambda *_: told.append("start") or accepted,  # type: ignore[func-returns-value]
        start_once=lambda *_: told.append("start once") or accepted,  # type: ignore[func-returns-value]
    )
    app = Flask("keys")
    app.register_blueprint(workflows.workflows(None, execution, 50))  # type: ignore[arg-type]
    app.test_client().post(f"/api/v1/workflows/{_ID}/execute", json={}, headers={"Idempotency-Key": "k"})
    return told


def transcript() -> dict[str, str]:
    """Name of the case → all that came of it, as text."""
    return {look.__name__: _told(look) for look in (_statements, _documents, _transitions, _requests, _keys)}


def _told(look: Callable[[], Any]) -> str:
    try:
        return repr(look())
    except problems.Problem as error:
        return f"{error.status}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
