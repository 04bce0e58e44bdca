"""The AsyncAPI document is valid, all its references resolve, and it has the contract's topics, keys and roles."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

import contract

with warnings.catch_warnings():
    # A field of the library's model is called "schema", as the specification wants it; pydantic warns of the name.
    warnings.simplefilter("ignore", UserWarning)
    from asyncapi3 import AsyncAPI3

DOCUMENT = contract.asyncapi()

# The contract's table of topics: who sends and who receives. Whoever watches monitoring updates is no role of ours.
TABLE = {
    "workflow.execution.requests": ("ExecutionRequest", {"api"}, {"executor"}),
    "workflow.cancellation.requests": ("CancellationRequest", {"api"}, {"executor"}),
    "orchestrator.tasks.http": ("AgentTask", {"executor"}, {"bridge"}),
    "results.topic": ("AgentResult", {"bridge"}, {"executor"}),
    "workflow.monitoring.updates": ("MonitoringUpdate", {"executor"}, set()),
}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def followed(reference: str) -> Any:
    """What a reference leads to, within the document or in a file beside it; KeyError or FileNotFoundError if nothing."""
    path, _, fragment = reference.partition("#")
    node: Any = json.loads(files("contract").joinpath(path).read_text("utf-8")) if path else DOCUMENT
    for part in filter(None, fragment.split("/")):
        node = node[part]
    return followed(node["$ref"]) if isinstance(node, dict) and "$ref" in node else node


def test_is_a_valid_document() -> None:
    """It is valid AsyncAPI 3.0, as far as the specification's object model goes."""
    assert AsyncAPI3.model_validate(DOCUMENT).asyncapi == "3.0.0"


MISTAKES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no info": lambda document: document.pop("info"),
    "an unknown field": lambda document: document.update(topics={}),
    "an unknown action": lambda document: document["operations"]["bridgeSendsAgentResult"].update(action="publish"),
    "an operation without channel": lambda document: document["operations"]["bridgeSendsAgentResult"].pop("channel"),
    "a server without protocol": lambda document: document["servers"]["kafka"].pop("protocol"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_object_model_finds_mistakes(mistake: str) -> None:
    """The test above can fail: a document with one mistake does not pass."""
    document = copy.deepcopy(DOCUMENT)
    MISTAKES[mistake](document)
    with pytest.raises(ValidationError):
        AsyncAPI3.model_validate(document)


def test_every_reference_resolves() -> None:
    """Each $ref leads to something, and those to files to the message schemas, each once."""
    found = list(references(DOCUMENT))
    assert all(followed(reference) for reference in found)
    outside = [reference for reference in found if not reference.startswith("#/")]
    assert sorted(outside) == sorted(f"schemas/{name}.schema.json" for name in contract.SCHEMAS[:5])


def test_a_reference_to_nothing_is_noticed() -> None:
    """The test above can fail."""
    with pytest.raises(KeyError):
        followed("#/channels/nothing")
    with pytest.raises(FileNotFoundError):
        followed("schemas/nothing.schema.json")


def test_channels_operations_and_messages_are_the_contracts_table() -> None:
    """Each topic has its one message, and is sent to and received from by the roles that the table gives."""
    found: dict[str, tuple[str, set[str], set[str]]] = {}
    for name, channel in DOCUMENT["channels"].items():
        (message,) = (followed(entry["$ref"]) for entry in channel["messages"].values())
        assert message["payload"]["schema"]["$ref"].startswith("schemas/")
        assert followed(message["payload"]["schema"]["$ref"])["title"] == message["name"]
        assert channel["bindings"]["kafka"]["topic"] == channel["address"]
        roles: dict[str, set[str]] = {"send": set(), "receive": set()}
        for operation in DOCUMENT["operations"].values():
            if operation["channel"]["$ref"] == f"#/channels/{name}":
                roles[operation["action"]] |= {tag["name"] for tag in operation["tags"]}
        found[channel["address"]] = (message["name"], roles["send"], roles["receive"])
    assert found == TABLE


def test_an_operation_takes_a_message_of_its_channel() -> None:
    """The messages of an operation are among those of its channel, as the specification demands."""
    for name, operation in DOCUMENT["operations"].items():
        channel = operation["channel"]["$ref"]
        assert operation["messages"], name
        assert all(entry["$ref"].startswith(f"{channel}/messages/") for entry in operation["messages"]), name


def test_keys_are_described() -> None:
    """Every message has a valid schema for its key; only a result's may be missing (MSG-03)."""
    for name, message in DOCUMENT["components"]["messages"].items():
        key = message["bindings"]["kafka"]["key"]
        Draft202012Validator.check_schema(key)
        assert Draft202012Validator(key).is_valid("run-1")
        assert Draft202012Validator(key).is_valid(None) is (name == "agentResult")
