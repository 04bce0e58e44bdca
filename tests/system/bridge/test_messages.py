"""Tasks are checked as the contract's schema says, results fit it, dead letters carry all that is known."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import contract
from system import dead_letters
from system.bridge.messages import (
    InvalidTaskError,
    Outcome,
    Task,
    bounded_result,
    decode_task,
    encode_result,
    failure,
)
from system.ports import Received

NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
_VALID = {
    "run_id": "run-1",
    "task_id": "task-1",
    "agent_name": "echo-agent",
    "input_data": {"a": 1},
    "correlation_id": "corr-1",
    "timestamp": "2025-03-04T10:15:30.250Z",
}
_NOW = datetime(2025, 3, 4, 10, 15, 30, 250_000, UTC)
_SCHEMA = jsonschema.Draft202012Validator(contract.schema("agent_task"))
_RESULT_SCHEMA = jsonschema.Draft202012Validator(
    contract.schema("agent_result"), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)

_anything = st.none() | st.booleans() | st.integers() | st.just("") | st.just("x") | st.just({}) | st.just([])


@given(
    st.dictionaries(st.sampled_from([*_VALID, "unknown"]), _anything, max_size=3),
    st.sets(st.sampled_from(list(_VALID)), max_size=2),
)
def test_a_task_is_taken_exactly_when_the_schema_allows_it(changes: dict[str, Any], missing: set[str]) -> None:
    message = {name: value for name, value in {**_VALID, **changes}.items() if name not in missing}
    value = json.dumps(message).encode()
    # The schema leaves the form of the time to whoever checks formats.
    allowed = _SCHEMA.is_valid(message) and message["timestamp"] == _VALID["timestamp"]
    if allowed:
        task = decode_task(value)
        assert (task.run_id, task.task_id, task.agent_name) == (
            message["run_id"],
            message["task_id"],
            message["agent_name"],
        )
        assert (task.input_data, task.correlation_id) == (message["input_data"], message["correlation_id"])
    else:
        with pytest.raises(InvalidTaskError):
            decode_task(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "without a value"),
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[]", "found an array"),
        (b"1", "found a number"),
        (b"[" * 10_000, "no JSON"),
        (json.dumps({**_VALID, "run_id": ""}).encode(), "/run_id"),
        (json.dumps({**_VALID, "task_id": 7}).encode(), "/task_id: expected a text that is not empty, found a number"),
        (json.dumps({**_VALID, "agent_name": "a\0b"}).encode(), "/agent_name"),
        (json.dumps({**_VALID, "input_data": None}).encode(), "/input_data: expected an object, found null"),
        (json.dumps({**_VALID, "timestamp": "yesterday"}).encode(), "/timestamp"),
        (json.dumps({**_VALID, "correlation_id": "c" * 5000}).encode(), "4096 characters at most in all, found 50"),
        (
            json.dumps({k: v for k, v in _VALID.items() if k != "correlation_id"}).encode(),
            "/correlation_id: expected a text, found nothing",
        ),
    ],
)
def test_what_is_no_task_is_refused_with_the_place_and_what_was_found(value: bytes | None, reason: str) -> None:
    with pytest.raises(InvalidTaskError, match=reason):
        decode_task(value)


@pytest.mark.parametrize("time", ["2025-03-04T10:15:30Z", "2025-03-04T10:15:30.123456+00:00", "2025-03-04T10:15:30"])
def test_a_time_with_or_without_offset_is_valid(time: str) -> None:
    assert decode_task(json.dumps({**_VALID, "timestamp": time}).encode()).task_id == "task-1"


@given(st.none() | st.text(max_size=30), st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_every_result_fits_its_schema_and_repeats_what_identifies_the_task(
    error: str | None, output: dict[str, Any]
) -> None:
    task = decode_task(json.dumps(_VALID).encode())
    outcome = Outcome(output) if error is None else failure(error)
    result = json.loads(encode_result(task, outcome, _NOW))
    _RESULT_SCHEMA.validate(result)
    assert (result["run_id"], result["task_id"], result["correlation_id"]) == ("run-1", "task-1", "corr-1")
    assert result["timestamp"] == "2025-03-04T10:15:30.250Z"
    assert result["status"] == ("SUCCESS" if error is None else "FAILURE")
    assert result["output_data"] == (output if error is None else None)


def test_a_result_above_the_limit_becomes_a_failure_that_says_so() -> None:
    task = Task("run-1", "task-1", "big-agent", {}, "c")
    result = json.loads(bounded_result(task, Outcome({"a": "x" * 5000}), _NOW, 2000))
    assert result["status"] == "FAILURE"
    assert "2000 are allowed" in result["error_message"]
    assert "big-agent" in result["error_message"]


def test_a_result_too_deep_to_encode_becomes_a_failure_that_says_so() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    result = json.loads(bounded_result(Task("r", "t", "a", {}, "c"), Outcome({"a": deep}), _NOW, 10**6))
    assert "nested too deeply" in result["error_message"]


def test_a_failures_message_is_bounded_and_storable() -> None:
    message = failure("a\x00b\ud800" + "x" * 100_000).error_message
    assert message is not None
    assert len(message) <= 4000
    assert "\x00" not in message
    assert message.encode()


def test_a_dead_letter_has_the_original_bytes_and_says_where_it_came_from() -> None:
    received = Received("tasks", 3, 41, b"key", b"\xff\x00", (("trace", b"1"), ("reason", b"spoofed")))
    letter = dead_letters.dead_letter(received, "no JSON: ✗ " + "x" * 9000, NOW)
    assert (letter.topic, letter.key, letter.value) == ("tasks.dlq", b"key", b"\xff\x00")
    headers = dict(letter.headers)
    assert len(headers) == len(letter.headers)
    assert headers["reason"].decode().startswith("no JSON: ✗ x")
    assert len(headers["reason"]) < 2100
    assert (headers["source_topic"], headers["source_partition"], headers["source_offset"]) == (b"tasks", b"3", b"41")
    assert headers["timestamp"] == b"2026-01-02T03:04:05.678Z"
    assert headers["trace"] == b"1"


def test_a_dead_letter_without_its_value_still_says_where_it_came_from() -> None:
    letter = dead_letters.without_value(dead_letters.dead_letter(Received("t", 0, 9, None, b"x" * 99), "why", NOW))
    headers = dict(letter.headers)
    assert letter.value == b""
    assert (headers["source_offset"], headers["reason"]) == (b"9", b"why")
    assert b"99 bytes" in headers["value"]
