"""The contract, version 1, as data: message and workflow schemas, OpenAPI, AsyncAPI and the list of clauses.

Nothing here decides anything. The reference, the harness and the published docs all read these files, so that what is
demanded, what is implemented and what is documented cannot drift apart. Every function caches what it has read; the
objects are shared and are for reading only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, cast

from ruamel.yaml import YAML

VERSION: Final = "1"
"""The version of the contract. Clauses found after a version is frozen go into the next."""

SCHEMAS: Final[tuple[str, ...]] = (
    "execution_request",
    "cancellation_request",
    "agent_task",
    "agent_result",
    "monitoring_update",
    "workflow",
    "workflow_plan",
    "agent",
    "retry_config",
)
"""The names that `schema` knows: the five messages, the two shapes of a workflow, an agent, a retry configuration."""

Role = Literal["api", "executor", "bridge"]
Level = Literal["MUST", "SHOULD"]

ROLES: Final[tuple[Role, ...]] = ("api", "executor", "bridge")
"""The roles that a clause can bind, in the order in which a request passes them."""

CONFORMANCE_LEVELS: Final[dict[int, str]] = {1: "core", 2: "crash-safe", 3: "concurrent", 4: "observable"}
"""What each conformance level is called. A level is reached by passing every MUST up to and including it."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One promise of the contract, small enough for one scenario to test.

    `decided` marks a promise that settles an ambiguity of the contract's prose; those always carry a `rationale`.
    `section` is the section of the contract that the promise belongs to, such as "6 Resume".
    """

    id: str
    title: str
    text: str
    level: Level
    conformance_level: Literal[1, 2, 3, 4]
    roles: tuple[Role, ...]
    since: str
    section: str
    decided: bool
    rationale: str | None

    @property
    def area(self) -> str:
        """The area's prefix, such as "RES" for RES-02; `areas` gives its title."""
        return self.id.partition("-")[0]


@cache
def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) called `name`, one of `SCHEMAS`; no `$ref` in it leaves the schema itself.

    Raises KeyError for any other name.
    """
    if name not in SCHEMAS:
        raise KeyError(f"no schema is called {name!r}; the schemas are {', '.join(SCHEMAS)}")
    return cast(dict[str, Any], json.loads(_text(f"schemas/{name}.schema.json")))


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the REST part."""
    return cast(dict[str, Any], _yaml("openapi.yaml"))


@cache
def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of the Kafka part; its message payloads are `$ref`s to the schema files beside it."""
    return cast(dict[str, Any], _yaml("asyncapi.yaml"))


@cache
def areas() -> dict[str, str]:
    """Prefix of the clause ids → title of the area, in the order of the list."""
    return {prefix: area["title"] for prefix, area in _yaml("clauses.yaml")["areas"].items()}


@cache
def clauses() -> tuple[Clause, ...]:
    """Every clause of this version, by area and number.

    In the file, `level` is MUST, `conformance_level` 1, `since` this list's version, and `section` and `roles` the area's
    unless a clause says otherwise; roles `all` are the three.
    """
    document = _yaml("clauses.yaml")
    return tuple(
        _clause(document["version"], area, clause_id, entry)
        for area in document["areas"].values()
        for clause_id, entry in area["clauses"].items()
    )


def _clause(version: str, area: dict[str, Any], clause_id: str, entry: dict[str, Any]) -> Clause:
    roles = entry.get("roles", area["roles"])
    return Clause(
        id=clause_id,
        title=entry["title"],
        text=entry["text"].strip(),
        level=entry.get("level", "MUST"),
        conformance_level=entry.get("conformance_level", 1),
        roles=ROLES if roles == "all" else tuple(roles),
        since=entry.get("since", version),
        section=entry.get("section", area["section"]),
        decided="rationale" in entry,
        rationale=entry["rationale"].strip() if "rationale" in entry else None,
    )


def _text(path: str) -> str:
    return files(__name__).joinpath(path).read_text(encoding="utf-8")


def _yaml(path: str) -> Any:
    return YAML(typ="safe", pure=True).load(_text(path))
