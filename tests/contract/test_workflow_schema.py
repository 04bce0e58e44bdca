"""The schemas of definitions and agents find each mistake at its place, and none where there is none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import contract

Validators = Callable[[str], Draft202012Validator]
Places = Callable[[str, Any], set[str]]


def definition() -> Any:
    return copy.deepcopy(contract.schema("workflow")["examples"][1])


NOWHERE = object()


def changed(pointer: str, value: Any) -> Any:
    """The example that has every type of step, with the value at the pointer replaced, or removed for NOWHERE."""
    whole = definition()
    *parents, last = pointer.split("/")[1:]
    owner = whole
    for part in parents:
        owner = owner[int(part) if isinstance(owner, list) else part]
    if value is NOWHERE:
        del owner[last]
    else:
        owner[last] = value
    return whole


LOOP, FORK, CHOICE, PARALLEL = (
    "/steps/price_all/loop_config",
    "/steps/ship/fork_join_config",
    "/steps/check",
    "/steps/notify",
)
MISTAKES = [
    # clause, where the change is made, the value, where the error is
    ("DEF-01", "/name", "", "/name"),
    ("DEF-01", "/steps", {}, "/steps"),
    ("DEF-01", "/start_step", None, "/start_step"),
    ("DEF-02", "/steps/price/id", NOWHERE, "/steps/price"),
    ("DEF-03", "/steps/price/type", "script", "/steps/price/type"),
    ("DEF-03", "/steps/price/type", None, "/steps/price/type"),
    ("DEF-04", "/steps/price/agent_name", NOWHERE, "/steps/price"),
    ("DEF-04", "/steps/bill/agent_name", "", "/steps/bill/agent_name"),
    ("DEF-04", f"{PARALLEL}/parallel_steps", ["mail"], f"{PARALLEL}/parallel_steps"),
    ("DEF-04", f"{CHOICE}/condition", {}, f"{CHOICE}/condition"),
    ("DEF-04", f"{CHOICE}/condition/expression", "", f"{CHOICE}/condition/expression"),
    ("DEF-04", f"{LOOP}/collection", NOWHERE, LOOP),
    ("DEF-04", f"{LOOP}/loop_body", [], f"{LOOP}/loop_body"),
    ("DEF-04", f"{FORK}/branches/parcel/steps", [], f"{FORK}/branches/parcel/steps"),
    ("DEF-04", f"{FORK}/branches/parcel", NOWHERE, f"{FORK}/branches"),
    ("DEF-04", f"{FORK}/join_policy", "most", f"{FORK}/join_policy"),
    ("DEF-06", f"{FORK}/n_required", NOWHERE, FORK),
    ("DEF-06", f"{FORK}/n_required", None, f"{FORK}/n_required"),
    ("DEF-07", f"{FORK}/n_required", 0, f"{FORK}/n_required"),
    ("DEF-07", f"{PARALLEL}/max_parallelism", 0, f"{PARALLEL}/max_parallelism"),
    ("DEF-07", f"{PARALLEL}/max_parallelism", True, f"{PARALLEL}/max_parallelism"),
    ("DEF-07", f"{LOOP}/max_iterations", 1.5, f"{LOOP}/max_iterations"),
    ("DEF-07", f"{LOOP}/max_parallelism", -1, f"{LOOP}/max_parallelism"),
    ("DEF-07", f"{FORK}/branch_timeout_seconds", 0, f"{FORK}/branch_timeout_seconds"),
    ("DEF-07", f"{FORK}/branches/invoice/timeout_seconds", "1", f"{FORK}/branches/invoice/timeout_seconds"),
    ("DEF-11", f"{PARALLEL}/parallel_steps", ["mail", "mail"], f"{PARALLEL}/parallel_steps"),
    ("DEF-17", f"{FORK}/branch_timeout_seconds", 1e300, f"{FORK}/branch_timeout_seconds"),
    ("DEF-17", f"{LOOP}/max_iterations", 2**31, f"{LOOP}/max_iterations"),
    ("LOP-13", f"{LOOP}/on_error", "ignore", f"{LOOP}/on_error"),
    ("LOP-13", f"{LOOP}/execution_mode", "both", f"{LOOP}/execution_mode"),
]


@pytest.mark.parametrize(("clause", "pointer", "value", "place"), MISTAKES)
def test_a_mistake_is_found_at_its_place(places: Places, clause: str, pointer: str, value: Any, place: str) -> None:
    """One mistake in a definition gives an error at its place and nowhere outside it."""
    assert clause in {entry.id for entry in contract.clauses()}
    found = places("workflow", changed(pointer, value))
    assert place in found
    assert all(other.startswith(place) for other in found)


def test_a_conditional_without_a_branch_is_refused(places: Places) -> None:
    """DEF-04: null for both branches is the same as neither."""
    step = {"id": "check", "type": "conditional", "condition": {"expression": "true"}}
    missing: list[dict[str, str | None]] = [{}, {"if_true_step": None}, {"if_true_step": None, "if_false_step": None}]
    for branches in missing:
        assert "/steps/check" in places("workflow", changed("/steps/check", step | branches))
    for given_one in ({"if_true_step": "ship"}, {"if_true_step": None, "if_false_step": "refund"}):
        assert not places("workflow", changed("/steps/check", step | given_one))


OPTIONAL = [
    "/description", "/steps/price/next_step", "/steps/price/input_mapping", f"{PARALLEL}/max_parallelism",
    f"{CHOICE}/if_false_step", f"{LOOP}/execution_mode", f"{LOOP}/max_parallelism", f"{LOOP}/max_iterations",
    f"{LOOP}/on_error", f"{FORK}/branch_timeout_seconds", f"{FORK}/branches/invoice/timeout_seconds",
]  # fmt: skip


@pytest.mark.parametrize("pointer", OPTIONAL)
def test_an_optional_field_may_be_null_or_absent(places: Places, pointer: str) -> None:
    """DEF-15: both are valid."""
    assert not places("workflow", changed(pointer, None))
    assert not places("workflow", changed(pointer, NOWHERE))


@pytest.mark.parametrize("value", [None, "nonsense", -1, {"steps": []}])
def test_fields_of_other_types_are_ignored(places: Places, value: Any) -> None:
    """DEF-15: an agent step with any value in the fields of the other types is valid."""
    step = {"id": "price", "agent_name": "pricing"}
    foreign = ("parallel_steps", "max_parallelism", "condition", "if_true_step", "loop_config", "fork_join_config")
    assert not places("workflow", changed("/steps/price", step | dict.fromkeys(foreign, value)))


@given(step_id=st.text(st.characters(), min_size=1, max_size=200))
def test_any_text_is_a_step_id(validator: Validators, step_id: str) -> None:
    """DEF-14: any non-empty text of up to 200 characters, as key, id and wherever a step is named."""
    step = {"id": step_id, "agent_name": "echo-agent", "next_step": step_id}
    validator("workflow").validate({"name": "any", "start_step": step_id, "steps": {step_id: step}})


@pytest.mark.parametrize("step_id", ["", "x" * 201])
def test_empty_and_endless_step_ids_are_refused(places: Places, step_id: str) -> None:
    """DEF-14, the other side: as a key, as an id and where a step is named."""
    step = {"id": "a", "agent_name": "echo-agent"}
    assert "/steps" in places("workflow", {"name": "n", "start_step": "a", "steps": {step_id: step}})
    for field in ("id", "next_step"):
        assert places("workflow", {"name": "n", "start_step": "a", "steps": {"a": step | {field: step_id}}}) == {
            f"/steps/a/{field}"
        }


AGENTS = [
    ({"url": "ftp://files.example/"}, "/url"),
    ({"url": "http://a.example/\n"}, "/url"),
    ({"timeout_ms": 0}, "/timeout_ms"),
    ({"auth_type": "bearer"}, ""),
    ({"auth_type": "bearer", "auth_config": None}, "/auth_config"),
    ({"auth_type": "bearer", "auth_config": {"token": "two\r\nlines"}}, "/auth_config/token"),
    ({"auth_type": "bearer", "auth_config": {"token": "line\n"}}, "/auth_config/token"),
    ({"auth_type": "api_key", "auth_config": {"header_name": "X-Key"}}, "/auth_config"),
    ({"auth_type": "api_key", "auth_config": {"key": "k", "header_name": "X Key"}}, "/auth_config/header_name"),
    ({"auth_type": "custom_header", "auth_config": {"header_name": "X-Key"}}, "/auth_config"),
    ({"auth_type": "basic"}, "/auth_type"),
    ({"retry_config": {"max_retries": -1}}, "/retry_config/max_retries"),
    ({"retry_config": {"backoff_multiplier": 0.5}}, "/retry_config/backoff_multiplier"),
    ({"status": "deleted"}, "/status"),
]


@pytest.mark.parametrize(("change", "place"), AGENTS)
def test_an_agent_with_a_mistake_is_refused(places: Places, change: dict[str, Any], place: str) -> None:
    """AGT-18: among others, a secret that could not stand in a header, or would end it, is refused."""
    assert place in places("agent", {"name": "a", "url": "http://a.example/"} | change)
