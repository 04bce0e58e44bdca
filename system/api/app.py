"""The Flask application: its parts put together, and every way in which a request can go wrong turned into a problem."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Flask, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from system.adapters.clock import SystemClock
from system.api.agents import agents
from system.api.database import Database, Uncertain, problem_of, told
from system.api.execution import Backlog, Execution
from system.api.operation import operation
from system.api.probe import Prober
from system.api.problems import CONTENT_TYPE, Problem, unavailable
from system.api.readiness import Check, database_check, kafka_check
from system.api.runs import runs
from system.api.transitions import Transitions
from system.api.workflows import workflows
from system.outbox import Outbox
from system.ports import Clock
from system.settings import Settings

log = logging.getLogger(__name__)

_UNEXPECTED = Problem(500, "an unexpected error, which has been logged; the request may not have been carried out")


@dataclass(frozen=True, slots=True)
class Api:
    """The application, with what must be closed after it."""

    app: Flask
    backlog: Backlog
    prober: Prober


def create_app(
    settings: Settings,
    engine: Engine,
    outbox: Outbox,
    *,
    clock: Clock | None = None,
    checks: Mapping[str, Check] | None = None,
) -> Api:
    """Build the application.

    Args:
        settings: limits, topics and sizes.
        engine: the connections of requests, each statement of which commits by itself.
        outbox: where messages are written; somebody else settles and sweeps it.
        clock: the machine's unless told otherwise.
        checks: what /ready asks; the database and Kafka unless told otherwise.
    """
    clock = clock or SystemClock()
    # A statement's parameters may be an agent's secrets, and errors are logged.
    engine.hide_parameters = True
    database = Database(engine)
    backlog = Backlog(outbox)
    prober = Prober()
    depth = settings.api_max_depth
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.api_max_body_bytes
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    if checks is None:
        checks = {"database": database_check(database), "kafka": kafka_check(settings.kafka_brokers)}
    app.register_blueprint(operation(checks))
    execution = Execution(settings, database, outbox, backlog, clock)
    app.register_blueprint(workflows(database, execution, depth))
    app.register_blueprint(runs(database, Transitions(settings, database, outbox, backlog, clock), depth))
    app.register_blueprint(agents(database, prober, clock, depth))
    _register_problems(app)
    return Api(app, backlog, prober)


def _register_problems(app: Flask) -> None:
    @app.errorhandler(Problem)
    def problem(error: Problem) -> Response:
        return _answer(error)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        # Answers that the framework makes by itself: unknown routes, wrong methods, oversized bodies.
        headers = {name: value for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")}
        status = error.code if error.code is not None and error.code >= 400 else 500
        return _answer(Problem(status, error.description or error.name, headers=headers))

    @app.errorhandler(Uncertain)
    def uncertain(error: Uncertain) -> Response:
        return _answer(unavailable(f"{error}; read what became of it before trying again"))

    @app.errorhandler(SQLAlchemyError)
    def database_error(error: SQLAlchemyError) -> Response:
        known = problem_of(error)
        if known is not None:
            log.warning("the database refused: %s", told(error))
            return _answer(known)
        # Without the error's own text, in which PostgreSQL quotes whole rows: they may hold an agent's secrets.
        log.error(
            "a request ended in an unexpected error of the database: %s\nTraceback (most recent call last):\n%s",
            told(error),
            "".join(traceback.format_tb(error.__traceback__)),
        )
        return _answer(_UNEXPECTED)

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.error("a request ended in an unexpected error", exc_info=error)
        return _answer(
            Problem(500, "an unexpected error, which has been logged; the request may not have been carried out")
        )


def _answer(problem: Problem) -> Response:
    return Response(problem.body(), problem.status, problem.headers, content_type=CONTENT_TYPE)
