"""What the bridge sends to an agent, and what it makes of the answer (clauses AGT-01 to AGT-10 and AGT-23)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from system.bridge import rpc
from system.bridge.messages import Outcome, Task

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _task(input_data: dict[str, Any]) -> Task:
    return Task("run-1", "task-1", "agent-a", input_data, "corr-1")


def _interpret(**members: Any) -> Outcome:
    return rpc.interpret("agent-a", "task-1", json.dumps({"jsonrpc": "2.0", "id": "task-1", **members}).encode())


def _reason(outcome: Outcome) -> str:
    assert outcome.output_data is None
    assert outcome.error_message is not None
    return outcome.error_message


@given(st.dictionaries(st.text(), _JSON, max_size=5))
def test_the_text_part_is_the_input_as_json_whatever_it_holds(input_data: dict[str, Any]) -> None:
    request = json.loads(rpc.request_body(_task(input_data)))
    assert request["jsonrpc"] == "2.0"
    assert request["id"] == "task-1"
    assert request["method"] == "message/send"
    message = request["params"]["message"]
    assert message["role"] == "user"
    assert message["messageId"]
    [part] = message["parts"]
    assert part["kind"] == "text"
    assert json.loads(part["text"]) == input_data


def test_whole_numbers_of_any_size_stay_exact_on_their_way() -> None:
    big = 12345678901234567890123456789
    assert json.loads(json.loads(rpc.request_body(_task({"n": big})))["params"]["message"]["parts"][0]["text"]) == {
        "n": big
    }
    outcome = _interpret(result={"n": big, "m": -(2**70)})
    assert outcome.output_data == {"n": big, "m": -(2**70)}


@given(st.dictionaries(st.text().filter(lambda key: key not in ("status", "text", "artifacts")), _JSON, max_size=5))
def test_a_result_becomes_the_output_with_every_member_as_it_was(result: dict[str, Any]) -> None:
    outcome = _interpret(result=result)
    if any("\\u0000" in json.dumps(part) for part in (result,)) and _holds_nul(result):
        assert "U+0000" in _reason(outcome)
    else:
        assert outcome == Outcome(result)


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_holds_nul(part) for part in value)


@pytest.mark.parametrize(
    ("artifacts", "text"),
    [
        (
            [
                {"parts": [{"kind": "text", "text": "a"}, {"kind": "text", "text": "b"}]},
                {"parts": [{"kind": "text", "text": "c"}]},
            ],
            "a\nb\nc",
        ),
        ([{"parts": [{"type": "text", "text": "older"}]}], "older"),
        ([{"parts": [{"kind": "data", "data": {}}, {"kind": "text", "text": ""}]}], ""),
        ([], ""),
        ([None, 7, {"parts": None}, {"parts": [None, "x", {"kind": "text", "text": 7}]}], ""),
    ],
)
def test_text_is_what_the_artifacts_say(artifacts: Any, text: str) -> None:
    outcome = _interpret(result={"artifacts": artifacts})
    assert outcome.output_data == {"artifacts": artifacts, "text": text}


@pytest.mark.parametrize("artifacts", [None, "no list", {}])
def test_nothing_is_added_to_a_result_without_artifacts(artifacts: Any) -> None:
    assert _interpret(result={"artifacts": artifacts}).output_data == {"artifacts": artifacts}


def test_a_text_of_the_result_itself_is_not_overwritten() -> None:
    result = {"text": 42, "artifacts": [{"parts": [{"kind": "text", "text": "other"}]}]}
    assert _interpret(result=result).output_data == result


@pytest.mark.parametrize("result", [None, 3, "text", True, [1, 2]])
def test_a_result_that_is_no_object_is_a_failure_that_says_so(result: Any) -> None:
    assert "a result that is no object" in _reason(_interpret(result=result))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"code": -32603, "message": "disk full"}, "disk full (code -32603)"),
        ({"message": "disk full"}, "disk full"),
        ({"code": 5}, "(code 5)"),
        ("only a text", "only a text"),
    ],
)
def test_an_error_is_a_failure_with_the_agents_message(error: Any, said: str) -> None:
    reason = _reason(_interpret(error=error))
    assert "agent 'agent-a' answered with an error" in reason
    assert said in reason


def test_an_error_counts_even_beside_a_result_and_with_the_id_null() -> None:
    assert "broken" in _reason(_interpret(result={}, error={"message": "broken"}))
    assert "unreadable" in _reason(_interpret(id=None, error={"message": "unreadable"}))


def test_an_error_of_null_beside_a_result_counts_as_absent() -> None:
    assert _interpret(result={"a": 1}, error=None).output_data == {"a": 1}


@pytest.mark.parametrize("state", ["failed", "canceled", "rejected"])
@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"parts": [{"kind": "text", "text": "no such"}, {"kind": "text", "text": "city"}]}, "no such\ncity"),
        ("a plain text", "a plain text"),
        (None, "no message"),
    ],
)
def test_a_state_that_is_no_success_is_a_failure_with_its_message(state: str, message: Any, said: str) -> None:
    reason = _reason(_interpret(result={"status": {"state": state, "message": message}}))
    assert state in reason
    assert said in reason


@pytest.mark.parametrize(
    "status", [{"state": "completed"}, {"state": "working"}, "failed", None, {"state": ["failed"]}]
)
def test_any_other_status_is_part_of_a_success(status: Any) -> None:
    assert _interpret(result={"status": status}).output_data == {"status": status}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"id": "task-1", "result": {}}',
        b'{"jsonrpc": "1.0", "id": "task-1", "result": {}}',
        b'{"jsonrpc": "2.0", "id": "task-1"}',
        b'{"jsonrpc": "2.0", "id": "task-1", "result": {"a": NaN}}',
        b'{"jsonrpc": "2.0", "id": "task-1", "result": {"a": 1e999}}',
        b'{"jsonrpc": "2.0", "id": "task-1", "result": {"a": "\\ud800"}}',
        b'{"jsonrpc": "2.0", "id": "task-1", "result": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_what_is_no_json_rpc_is_a_failure_that_says_so(body: bytes) -> None:
    assert "did not answer with JSON-RPC" in _reason(rpc.interpret("agent-a", "task-1", body))


@pytest.mark.parametrize("other", ["task-2", None, 1, ["task-1"]])
def test_an_answer_to_another_request_is_a_failure(other: Any) -> None:
    assert "another request" in _reason(_interpret(id=other, result={"a": 1}))


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize("result", [{"a": "\x00"}, {"\x00": 1}, {"a": [{"b": ["x\x00y"]}]}, _deep(201), _deep(900)])
def test_what_postgresql_cannot_hold_is_a_failure_that_says_so(result: dict[str, Any]) -> None:
    assert "PostgreSQL cannot hold" in _reason(_interpret(result=result))


def test_a_result_as_deep_as_is_allowed_is_a_success() -> None:
    assert _interpret(result=_deep(200)).output_data == {**_deep(200)}


def test_an_escaped_backslash_before_u0000_is_no_such_character() -> None:
    assert _interpret(result={"a": "\\u0000"}).output_data == {"a": "\\u0000"}


@given(st.binary(max_size=200))
def test_no_body_whatsoever_makes_the_interpretation_raise(body: bytes) -> None:
    reason = _reason(rpc.interpret("agent-a", "task-1", body))
    assert "\x00" not in reason


@given(_JSON)
def test_no_error_whatsoever_makes_the_interpretation_raise(error: Any) -> None:
    outcome = _interpret(error=error)
    assert outcome.error_message
    assert "\x00" not in outcome.error_message
