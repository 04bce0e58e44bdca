"""The OpenAPI document as a judge of answers: which operation a request is, and what its answers must fit."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator

import contract

METHODS = ("get", "post", "put", "delete")


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """(method in capitals, path) → operation."""
    paths = contract.openapi()["paths"]
    return {
        (method.upper(), path): item[method] for path, item in paths.items() for method in METHODS if method in item
    }


def resolved(node: Any) -> Any:
    """What a $ref at the top of a node leads to."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = contract.openapi()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def parameters(path: str, method: str) -> list[dict[str, Any]]:
    """The parameters of an operation, those of its path first."""
    item = contract.openapi()["paths"][path]
    return [resolved(one) for one in (*item.get("parameters", ()), *item[method.lower()].get("parameters", ()))]


def operation_of(method: str, url: str) -> tuple[str, dict[str, Any]]:
    """The path and the operation that a request is for.

    Raises:
        LookupError: the document has no such operation.
    """
    asked = urlsplit(url).path
    # A path without a variable is the nearer one.
    for (known, path), operation in sorted(operations().items(), key=lambda entry: "{" in entry[0][1]):
        if known == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked):
            return path, operation
    raise LookupError(f"openapi.yaml has no operation for {method} {asked}")


def answer_validator(path: str, operation: dict[str, Any], status: int) -> Draft202012Validator:
    """What an answer of this status must fit.

    Raises:
        LookupError: the operation has no such status, or no body with it.
    """
    responses = operation["responses"]
    if str(status) not in responses:
        raise LookupError(f"{operation['operationId']} ({path}) has no answer {status} in openapi.yaml")
    content = resolved(responses[str(status)]).get("content", {})
    ((_, media),) = content.items()
    schema = {"components": contract.openapi()["components"], **media["schema"]}
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
