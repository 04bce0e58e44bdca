"""State and description of the API itself: /health, /ready, /openapi.json and a page to browse it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import orjson
from flask import Blueprint, Response

import contract
from system.api.answers import json_answer
from system.api.problems import unavailable
from system.api.readiness import OK, Check

# The page is one file: it loads nothing from elsewhere, and may not.
_PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def operation(checks: Mapping[str, Check]) -> Blueprint:
    """The routes beside the resources; `checks` are asked by /ready."""
    routes = Blueprint("operation", __name__)
    description = orjson.dumps(contract.openapi())
    page = files(__package__).joinpath("docs.html").read_bytes()
    health = orjson.dumps({"status": "ok"})

    @routes.get("/health")
    @routes.get("/api/v1/health")
    def healthy() -> Response:
        return Response(health, mimetype="application/json")

    @routes.get("/ready")
    @routes.get("/api/v1/ready")
    def ready() -> Response:
        found = {name: check() for name, check in checks.items()}
        wrong = [answer for answer in found.values() if answer != OK]
        if wrong:
            raise unavailable("; ".join(wrong), members={"checks": found})
        return json_answer({"status": "ready", "checks": found})

    @routes.get("/openapi.json")
    def describe() -> Response:
        return Response(description, mimetype="application/json")

    @routes.get("/docs")
    def browse() -> Response:
        return Response(page, mimetype="text/html", headers={"Content-Security-Policy": _PAGE_POLICY})

    return routes
