"""The message and workflow schemas say what the contract says, and an error they find points at its place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import contract

Validators = Callable[[str], Draft202012Validator]
Places = Callable[[str, Any], set[str]]

MESSAGES = contract.SCHEMAS[:5]
JSON_TYPES: dict[str, Any] = {
    "object": {"a": 1},
    "array": [1],
    "string": "text that fits no format or pattern",
    "number": 1.5,
    "integer": 7,
    "boolean": True,
    "null": None,
}


def examples(*names: str) -> list[Any]:
    return [
        pytest.param(name, example, id=f"{name}-{number}")
        for name in names
        for number, example in enumerate(contract.schema(name)["examples"])
    ]


def subschemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for key, value in node.items():
            if key not in ("examples", "default", "const", "enum"):
                yield from subschemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from subschemas(value)


def test_the_names_are_the_files() -> None:
    """Every schema file has its name in SCHEMAS, and every name its file."""
    found = {entry.name for entry in files("contract").joinpath("schemas").iterdir()}
    assert found == {f"{name}.schema.json" for name in contract.SCHEMAS}


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """Asking for a schema that is not there says which are."""
    with pytest.raises(KeyError, match="agent_task"):
        contract.schema("../clauses")


@pytest.mark.parametrize("name", contract.SCHEMAS)
def test_is_a_valid_schema_that_introduces_itself(name: str) -> None:
    """Each is valid under 2020-12 and has an $id of its own, a title and a description."""
    schema = contract.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:plumbline:contract:{contract.VERSION}:{name.replace('_', '-')}"
    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize("name", contract.SCHEMAS)
def test_stands_alone_and_open(name: str) -> None:
    """No $ref leaves the schema, each has its target, and no object forbids fields that a reader does not know."""
    schema = contract.schema(name)
    for part in subschemas(schema):
        if "$ref" in part:
            prefix, _, target = part["$ref"].rpartition("/")
            assert prefix == "#/$defs"
            assert target in schema["$defs"]
        assert part.get("additionalProperties", True) is not False
        assert part.get("unevaluatedProperties", True) is not False


def test_definition_and_plan_are_the_same_format() -> None:
    """A plan is a definition with workflow_id and version, and nothing else differs but the example values."""
    definition, plan = contract.schema("workflow"), contract.schema("workflow_plan")
    assert plan["$defs"] == definition["$defs"]
    assert definition["properties"].items() <= plan["properties"].items()
    assert set(plan["properties"]) - set(definition["properties"]) == {"workflow_id", "version"}
    assert set(plan["required"]) - set(definition["required"]) == {"workflow_id", "version"}


def test_an_agent_has_the_retry_configuration() -> None:
    """The retry configuration within an agent is the one that stands alone."""
    alone = contract.schema("retry_config")
    inside = contract.schema("agent")["$defs"]["retry_config"]
    assert inside == {key: alone[key] for key in inside}
    assert set(alone) - set(inside) == {"$schema", "$id", "title", "description", "examples"}


@pytest.mark.parametrize(("name", "example"), examples(*contract.SCHEMAS))
def test_examples_are_valid(validator: Validators, name: str, example: Any) -> None:
    """What a schema gives as an example is valid against it, formats included."""
    validator(name).validate(example)


@pytest.mark.parametrize(("name", "example"), examples(*contract.SCHEMAS))
def test_each_required_field_is_missed(places: Places, name: str, example: Any) -> None:
    """An example without one of its required fields is refused."""
    for field in contract.schema(name).get("required", ()):
        without = {key: value for key, value in example.items() if key != field}
        assert "" in places(name, without), field


@pytest.mark.parametrize(("name", "example"), examples(*MESSAGES))
def test_a_value_of_a_wrong_type_is_found_where_it_is(places: Places, name: str, example: Any) -> None:
    """Each field refuses every JSON type that the contract does not give it, and the error names the field."""
    for field, schema in contract.schema(name)["properties"].items():
        allowed = schema.get("type", [])
        allowed = [allowed] if isinstance(allowed, str) else allowed
        for json_type, value in JSON_TYPES.items():
            if json_type not in allowed:
                assert f"/{field}" in places(name, example | {field: value}), (field, json_type)


@given(data=st.data())
@pytest.mark.parametrize("name", contract.SCHEMAS)
def test_unknown_fields_change_nothing(validator: Validators, name: str, data: st.DataObject) -> None:
    """MSG-06: a valid instance stays valid with any field beside those that the schema knows, at any depth."""
    instance = copy.deepcopy(data.draw(st.sampled_from(contract.schema(name)["examples"])))
    known = {key for part in subschemas(contract.schema(name)) for key in part.get("properties", ())}
    for owner in open_objects(instance):
        field = data.draw(st.text(max_size=12).filter(lambda text: text not in known))
        owner[field] = data.draw(st.sampled_from([*JSON_TYPES.values()]))
    validator(name).validate(instance)


def open_objects(instance: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of an instance that have fields (an instance's maps from free names to values are left out)."""
    steps = instance.get("steps", {})
    configs = [
        step[key] for step in steps.values() for key in ("loop_config", "fork_join_config", "condition") if key in step
    ]
    branches = [branch for config in configs for branch in config.get("branches", {}).values()]
    return [instance, *steps.values(), *configs, *branches]


@given(uuid=st.uuids(), upper=st.booleans())
@pytest.mark.parametrize("name", ["execution_request", "cancellation_request"])
def test_every_uuid_makes_a_run_id(validator: Validators, name: str, uuid: Any, upper: bool) -> None:
    """MSG-17: "run-" and a UUID in hyphenated form, in either case."""
    run_id = "run-" + (str(uuid).upper() if upper else str(uuid))
    validator(name).validate(contract.schema(name)["examples"][0] | {"run_id": run_id})


UUID = "3f0c9a52-6b1e-4d7a-9c55-0a8e2f7b4d11"


@pytest.mark.parametrize(
    "run_id",
    ["", UUID, f"run-{UUID}\n", f" run-{UUID}", f"RUN-{UUID}", f"run-{UUID}0", f"run-{UUID[:-1]}", f"run-{UUID[:-1]}g",
     f"run-{{{UUID}}}", f"run-{UUID.replace('-', '')}", f"run-{UUID[:-1]}１"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["execution_request", "cancellation_request"])
def test_anything_else_is_no_run_id(places: Places, name: str, run_id: str) -> None:
    """MSG-17: neither a newline at the end nor a digit of another script passes."""
    assert places(name, contract.schema(name)["examples"][0] | {"run_id": run_id}) == {"/run_id"}


def test_the_envelope_does_not_judge_the_plan(validator: Validators, places: Places) -> None:
    """DEL-11: a request with a plan that is not valid has a valid envelope; the plan's own schema refuses it."""
    request = contract.schema("execution_request")["examples"][0] | {"workflow_plan": {"steps": []}}
    validator("execution_request").validate(request)
    assert places("workflow_plan", request["workflow_plan"]) == {"", "/steps"}


@pytest.mark.parametrize("scope", ["run", "step", None])
def test_further_statuses_travel_with_the_scope_of_the_run(places: Places, scope: str | None) -> None:
    """MSG-18: CANCELLED is a status of an update only where metadata.scope is "run"."""
    update = contract.schema("monitoring_update")["examples"][0] | {"status": "CANCELLED", "metadata": {"scope": scope}}
    if scope is None:
        update["metadata"] = None
    assert ("/status" in places("monitoring_update", update)) is (scope != "run")


def test_the_readers_cache() -> None:
    """Each reader gives the same object again, and it is JSON."""
    for name in contract.SCHEMAS:
        assert contract.schema(name) is contract.schema(name)
    for read in (contract.openapi, contract.asyncapi):
        assert read() is read()
        assert json.loads(json.dumps(read(), allow_nan=False)) == read()
    assert contract.clauses() is contract.clauses()
