"""The OpenAPI document is valid, covers the contract's section 3, and agrees with the schema files."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

import contract

DOCUMENT = contract.openapi()
METHODS = ("get", "put", "post", "delete")
COMPONENTS = {
    "WorkflowDefinition": "workflow",
    "AgentRecord": "agent",
}
DEFINITIONS = {
    "StepId": ("workflow", "step_id"),
    "StepDefinition": ("workflow", "step"),
    "LoopConfig": ("workflow", "loop_config"),
    "ForkJoinConfig": ("workflow", "fork_join_config"),
    "Branch": ("workflow", "branch"),
    "RetryConfig": ("agent", "retry_config"),
}
PATHS = {
    "/health": "get",
    "/ready": "get",
    "/openapi.json": "get",
    "/api/v1/health": "get",
    "/api/v1/workflows": "post get",
    "/api/v1/workflows/{id}": "get put delete",
    "/api/v1/workflows/{id}/versions": "get",
    "/api/v1/workflows/{id}/execute": "post",
    "/api/v1/runs": "get",
    "/api/v1/runs/{run_id}": "get",
    "/api/v1/runs/{run_id}/steps": "get",
    "/api/v1/runs/{run_id}/cancel": "post",
    "/api/v1/runs/{run_id}/retry": "post",
    "/api/v1/runs/{run_id}/logs": "get",
    "/api/v1/agents": "post get",
    "/api/v1/agents/{id}": "get put delete",
    "/api/v1/agents/{id}/health": "get",
}


def resolved(node: Any) -> Any:
    """What a $ref at the top of a node leads to."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def media_types() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(where, media type, media type object) of every request and answer body."""
    for path, method, operation in operations():
        bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for status, body in bodies.items():
            for kind, media in resolved(body).get("content", {}).items():
                yield f"{method} {path} {status}", kind, media


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    resource = DRAFT202012.create_resource(DOCUMENT)
    rooted = {"$ref": f"urn:openapi{schema['$ref']}"} if "$ref" in schema else based(schema)
    return Draft202012Validator(
        rooted,
        registry=Registry().with_resource("urn:openapi", resource),
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def based(node: Any) -> Any:
    """A schema that stands in the document with its references made absolute."""
    if isinstance(node, dict):
        return {key: f"urn:openapi{value}" if key == "$ref" else based(value) for key, value in node.items()}
    return [based(item) for item in node] if isinstance(node, list) else node


def test_is_a_valid_document() -> None:
    """It is valid OpenAPI 3.1, references and schemas included."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


@pytest.mark.parametrize("mistake", ["no responses", "unknown parameter place", "dangling reference"])
def test_the_validator_finds_mistakes(mistake: str) -> None:
    """The test above can fail: a document with one mistake does not pass."""
    document = copy.deepcopy(DOCUMENT)
    if mistake == "no responses":
        document["paths"]["/health"]["get"]["responses"] = []
    elif mistake == "unknown parameter place":
        document["components"]["parameters"]["Page"]["in"] = "body"
    else:
        document["components"]["schemas"]["Run"]["properties"]["status"]["$ref"] = "#/components/schemas/Nothing"
    with pytest.raises((OpenAPIValidationError, Unresolvable)):
        OpenAPIV31SpecValidator(document).validate()


def test_has_every_path_of_the_contract() -> None:
    """Paths and methods are those of section 3 and the extensions at the root."""
    found: dict[str, set[str]] = {}
    for path, method, _ in operations():
        found.setdefault(path, set()).add(method)
    assert found == {path: set(methods.split()) for path, methods in PATHS.items()}


def test_operations_have_names_of_their_own() -> None:
    """An operationId is what generated clients call a function."""
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)


def test_path_parameters_are_declared() -> None:
    """Each {name} of a path is a required parameter of it, and the other way round."""
    for path, item in DOCUMENT["paths"].items():
        declared = [resolved(parameter) for parameter in item.get("parameters", ())]
        assert {entry["name"] for entry in declared} == set(re.findall(r"\{(\w+)\}", path))
        assert all(entry["in"] == "path" and entry["required"] for entry in declared)


def test_runs_are_filtered_and_sorted_by_what_the_contract_names() -> None:
    """GET /runs takes the eight parameters and the extension as_of, with a page_size of at most 100."""
    parameters = {
        entry["name"]: entry for entry in map(resolved, DOCUMENT["paths"]["/api/v1/runs"]["get"]["parameters"])
    }
    paging = {"page", "page_size", "sort_by", "sort_order", "as_of"}
    assert set(parameters) == paging | {"status", "workflow_id", "created_after", "created_before"}
    assert parameters["page_size"]["schema"]["maximum"] == 100


def test_every_failure_is_a_problem() -> None:
    """Answers of 4xx and 5xx have a body of application/problem+json with the Problem schema, and only these have."""
    failures = 0
    for where, kind, media in media_types():
        failed = where.rsplit(" ", 1)[1][0] in "45"
        failures += failed
        assert (kind == "application/problem+json") is failed, where
        assert (media["schema"] == {"$ref": "#/components/schemas/Problem"}) is failed, where
    assert failures > 50


def test_statuses_are_those_of_the_contract() -> None:
    """201 for creations, 202 for what is accepted, 404 where there is an id, 400 and 422 where there is a body."""
    for path, method, operation in operations():
        statuses = set(operation["responses"])
        creates = method == "post" and path.endswith(("/workflows", "/agents"))
        accepts = path.endswith(("/execute", "/cancel", "/retry"))
        assert ("201" in statuses) is creates
        assert ("202" in statuses) is accepts
        assert ("404" in statuses) is ("{" in path)
        assert ("409" in statuses) is (method in ("post", "put"))
        if "requestBody" in operation:
            assert {"400", "413", "415", "422"} <= statuses


@pytest.mark.parametrize("media", [pytest.param(media, id=where) for where, _, media in media_types()])
def test_examples_are_valid(media: dict[str, Any]) -> None:
    """Every example of a body is valid against the body's schema."""
    values = [resolved(example)["value"] for example in media.get("examples", {}).values()]
    values += [media["example"]] if "example" in media else []
    for value in values:
        validator(media["schema"]).validate(value)


def test_the_example_check_finds_mistakes() -> None:
    """The test above can fail: a run in an unknown status is not valid, nor a page without its total."""
    run = DOCUMENT["components"]["examples"]["Run"]["value"]
    assert not validator({"$ref": "#/components/schemas/Run"}).is_valid(run | {"status": "DONE"})
    page = DOCUMENT["paths"]["/api/v1/runs"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert validator(page).is_valid({"items": [run], "total": 1, "page": 1, "page_size": 20, "total_pages": 1})
    assert not validator(page).is_valid({"items": [run], "page": 1, "page_size": 20, "total_pages": 1})
    assert not validator(page).is_valid({"items": [{}], "total": 1, "page": 1, "page_size": 20, "total_pages": 1})


def renamed(node: Any) -> Any:
    """A schema file's content with its references as they are in the document."""
    if isinstance(node, dict):
        names = {definition: name for name, (_, definition) in DEFINITIONS.items()}
        return {
            key: f"#/components/schemas/{names[value.rsplit('/', 1)[1]]}" if key == "$ref" else renamed(value)
            for key, value in node.items()
        }
    return [renamed(item) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize(("component", "name"), COMPONENTS.items())
def test_request_bodies_are_the_schema_files(component: str, name: str) -> None:
    """What the document says of a definition and of an agent is what the schema files say."""
    own = {"$schema", "$id", "$defs", "title", "examples"}
    whole = {key: value for key, value in contract.schema(name).items() if key not in own}
    assert DOCUMENT["components"]["schemas"][component] == renamed(whole)


@pytest.mark.parametrize(("component", "place"), DEFINITIONS.items())
def test_parts_of_request_bodies_are_those_of_the_schema_files(component: str, place: tuple[str, str]) -> None:
    """The same for the parts that these are made of."""
    name, definition = place
    assert DOCUMENT["components"]["schemas"][component] == renamed(contract.schema(name)["$defs"][definition])


def names_in(schema: Any, seen: frozenset[str] = frozenset()) -> set[str]:
    """Every property that a schema and what it refers to can have."""
    if isinstance(schema, list):
        return set().union(*(names_in(part, seen) for part in schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    found = set(schema.get("properties", ()))
    if "$ref" in schema and schema["$ref"] not in seen:
        found |= names_in(resolved(schema), seen | {schema["$ref"]})
    return found | set().union(*(names_in(part, seen) for part in schema.values()), set())


def test_no_answer_gives_secrets_back() -> None:
    """API-28: auth_config is in the body of requests and in no answer."""
    asked, answered = set[str](), set[str]()
    for where, _, media in media_types():
        (asked if where.endswith("request") else answered).update(names_in(media["schema"]))
    assert "auth_config" in asked
    assert not answered & {"auth_config", "token", "key", "header_value"}
    assert DOCUMENT["components"]["schemas"]["AgentRecord"]["properties"]["auth_config"]["writeOnly"] is True


def test_rows_are_given_under_their_names() -> None:
    """API-15, API-20: a run and a step have the columns that the contract names, and the run the two extensions."""
    schemas = DOCUMENT["components"]["schemas"]
    ended = {"completed_at", "cancelled_at", "cancelled_by"}
    workflow = {"workflow_id", "workflow_name", "workflow_definition_id"}
    run = {"run_id", "status", "input_data", "error_message", "triggered_by", "created_at", "updated_at"}
    step = {"id", "run_id", "step_id", "step_name", "agent_name", "status", "input_data", "output_data"}
    times = {"error_message", "started_at", "completed_at"}
    place = {"parent_step_id", "branch_name", "join_policy"}
    assert set(schemas["Run"]["properties"]) == run | workflow | ended | {"started_at", "retries"}
    assert set(schemas["Step"]["properties"]) == step | times | place
