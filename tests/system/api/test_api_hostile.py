"""Whatever a client sends is answered with a problem below 500, and the API goes on serving."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.profiles import bounded

BOUNDED = bounded(80, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = "application/json"

texts = st.text(alphabet=st.characters(exclude_categories=()), max_size=20)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**320), 10**320),
    st.floats(),
    texts,
    st.just("\0"),
    st.just("\ud800"),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
PATHS = (
    "/api/v1/workflows",
    "/api/v1/agents",
    "/api/v1/workflows/{workflow}/execute",
    "/api/v1/workflows/{workflow}",
    "/api/v1/agents/00000000-0000-4000-8000-000000000000",
    "/api/v1/runs/{run}/cancel",
    "/api/v1/runs/{run}/retry",
)
QUERIES = (
    "page",
    "page_size",
    "status",
    "workflow_id",
    "created_after",
    "created_before",
    "sort_by",
    "sort_order",
    "as_of",
    "name",
)


def send(client: Any, workflow: dict[str, Any], path: str, body: bytes, **arguments: Any) -> Any:
    place = path.format(workflow=workflow["id"], run="run-00000000-0000-4000-8000-000000000000")
    method = "PUT" if path.endswith(("{workflow}", "000000")) else "POST"
    return client.open(place, method=method, data=body, content_type=JSON, **arguments)


def problem(answer: Any, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, answer.data
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = orjson.loads(answer.data)
    assert found["status"] == answer.status_code
    assert found["detail"]
    return found


@BOUNDED
@given(path=st.sampled_from(PATHS), value=values)
def test_any_json_is_taken_or_refused(client: Any, workflow: dict[str, Any], path: str, value: Any) -> None:
    answer = send(client, workflow, path, json.dumps(value).encode())
    assert answer.status_code < 500
    if answer.status_code >= 400:
        problem(answer, answer.status_code)


@BOUNDED
@given(
    path=st.sampled_from(PATHS), body=st.binary(max_size=60) | texts.map(lambda t: t.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_taken_or_refused(client: Any, workflow: dict[str, Any], path: str, body: bytes) -> None:
    assert send(client, workflow, path, body).status_code < 500


@BOUNDED
@given(value=st.dictionaries(texts, values, max_size=4))
def test_an_input_that_is_taken_is_given_back_unchanged(client: Any, workflow: dict[str, Any], value: Any) -> None:
    sent = json.dumps({"input_data": value})
    answer = send(client, workflow, "/api/v1/workflows/{workflow}/execute", sent.encode())
    if answer.status_code == 202:
        # jsonb writes the double 5e+16 as 50000000000000000, so that doubles are compared as such.
        run = json.loads(client.get(f"/api/v1/runs/{answer.json['run_id']}").data, parse_int=float)
        assert run["input_data"] == json.loads(sent, parse_int=float)["input_data"]
    else:
        problem(answer, 400, 422)


# Fields that look right, with values that do not, get further than noise does.
mappings = st.dictionaries(texts, st.sampled_from(["${a.output.x}", "$.workflow_input", "${"]) | values, max_size=2)
expressions = st.sampled_from(["1 == 1", "((((", "__import__('os')", "not"]) | texts
steps = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "c", "", "\0", 1, None])},
    optional={
        "type": st.sampled_from(["agent", "parallel", "conditional", "loop", "fork_join", "x", None]),
        "agent_name": texts | scalars,
        "next_step": st.sampled_from(["a", "b", "zz", None, 3]),
        "input_mapping": mappings,
        "parallel_steps": st.lists(st.sampled_from(["a", "b", "c", 1]), max_size=3) | values,
        "condition": st.fixed_dictionaries({"expression": expressions}),
        "if_true_step": st.sampled_from(["a", "b", None]),
        "loop_config": values
        | st.fixed_dictionaries({"collection": values, "loop_body": st.lists(st.sampled_from("abc"))}),
        "fork_join_config": values,
    },
)
definitions = st.fixed_dictionaries(
    {"name": texts, "start_step": st.sampled_from(["a", "b", "\ud800", None])},
    optional={
        "steps": st.dictionaries(st.sampled_from(["a", "b", "c", "\0"]), steps, max_size=3) | values,
        "description": scalars,
    },
)


@BOUNDED
@given(definition=definitions)
def test_any_definition_is_taken_or_refused_with_pointers(
    client: Any, workflow: dict[str, Any], definition: Any
) -> None:
    answer = send(client, workflow, "/api/v1/workflows", json.dumps(definition).encode())
    if answer.status_code == 422:
        assert problem(answer, 422)["errors"]
    else:
        assert answer.status_code in (201, 400, 409)


@BOUNDED
@given(
    query=st.dictionaries(
        st.sampled_from(QUERIES),
        st.text(max_size=30) | st.integers().map(str),
        max_size=3,
    ),
    path=st.sampled_from(["/api/v1/runs", "/api/v1/workflows", "/api/v1/agents"]),
)
def test_any_query_is_taken_or_refused(client: Any, path: str, query: dict[str, str]) -> None:
    assert client.get(path, query_string=query).status_code in (200, 422)


@BOUNDED
@given(
    segment=st.text(min_size=1, max_size=30), rest=st.sampled_from(["", "/steps", "/versions", "/health", "/execute"])
)
def test_any_path_is_answered(client: Any, segment: str, rest: str) -> None:
    for resource in ("workflows", "runs", "agents"):
        answer = client.get(f"/api/v1/{resource}/{segment}{rest}")
        assert answer.status_code < 500


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (rb'{"name": "a\u0000b"}', "/name"),
        (rb'{"x": {"a\u0000": [1]}}', r"/x/a\x00"),
        (rb'{"name": "\ud800"}', "/name"),
        (rb'{"\udc00": 1}', r"/\udc00"),
        (rb'{"x": [1, "\ud83d"]}', "/x/1"),
        (rb'{"n": 1e400}', "/n"),
        (b'{"n": ' + b"9" * 5000 + b"}", "/n"),
        (b'{"a": 1, "a": 2}', "/a"),
        (b'{"steps": {"a/b~c": {"id": 1, "id": 2}}}', "/steps/a~1b~0c/id"),
    ],
)
def test_what_the_database_cannot_hold_is_refused_with_its_place(
    client: Any, workflow: dict[str, Any], path: str, body: bytes, pointer: str
) -> None:
    found = problem(send(client, workflow, path, body), 422)
    assert [mistake["pointer"] for mistake in found["errors"]] == [pointer]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nul",
        b"{'a': 1}",
        b'{"n": NaN}',
        b'{"n": Infinity}',
        b'{"n": 01}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\n"}',
        b'{"a": 1}{',
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_no_json_or_too_deep_is_refused(client: Any, workflow: dict[str, Any], path: str, body: bytes) -> None:
    problem(send(client, workflow, path, body), 400)


def test_the_deepest_body_that_is_allowed_is_taken(client: Any, workflow: dict[str, Any]) -> None:
    body = b'{"input_data":' + b'{"a":' * 62 + b"{}" + b"}" * 63
    assert send(client, workflow, "/api/v1/workflows/{workflow}/execute", body).status_code == 202


def test_pairs_of_surrogates_and_escaped_backslashes_are_ordinary_text(client: Any, workflow: dict[str, Any]) -> None:
    body = rb'{"input_data": {"a": "\ud83d\ude00", "b": "\\u0000 \\ud800"}}'
    answer = send(client, workflow, "/api/v1/workflows/{workflow}/execute", body)
    assert answer.status_code == 202
    run = client.get(f"/api/v1/runs/{answer.json['run_id']}").json
    assert run["input_data"] == {"a": "\U0001f600", "b": r"\u0000 \ud800"}


@pytest.mark.parametrize("path", PATHS)
def test_a_body_beyond_the_limit_is_refused(client: Any, workflow: dict[str, Any], path: str) -> None:
    problem(send(client, workflow, path, b'{"x": "' + b"x" * 900_000 + b'"}'), 413)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_a_body_that_is_not_sent_as_json_is_refused(
    client: Any, workflow: dict[str, Any], path: str, content_type: str
) -> None:
    place = path.format(workflow=workflow["id"], run="run-0")
    method = "PUT" if path.endswith(("{workflow}", "000000")) else "POST"
    problem(client.open(place, method=method, data=b"{}", content_type=content_type), 415)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"]
)
def test_json_by_its_other_names_is_taken(client: Any, workflow: dict[str, Any], content_type: str) -> None:
    place = f"/api/v1/workflows/{workflow['id']}/execute"
    assert client.post(place, data=b"{}", content_type=content_type).status_code == 202


@pytest.mark.parametrize("user", ["x" * 201, "a\x01b", "\x7f", "a\u202eb"])
def test_a_name_in_x_user_that_cannot_be_shown_is_refused(
    client: Any, definition: Callable[..., Any], user: str
) -> None:
    header = user.encode().decode("latin-1")
    problem(client.post("/api/v1/workflows", json=definition(), headers={"X-User": header}), 400)


def test_unknown_routes_and_wrong_methods_are_problems(client: Any) -> None:
    problem(client.get("/api/v1/nothing"), 404)
    problem(client.get("/"), 404)
    problem(client.get("//api/v1/runs"), 404)
    wrong = client.delete("/api/v1/runs")
    problem(wrong, 405)
    assert "GET" in wrong.headers["Allow"]


def test_a_mistake_of_ours_is_told_without_its_insides_and_logged_with_them(
    plain: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("an inner secret")

    monkeypatch.setattr("system.api.store_runs.get", broken)
    found = problem(plain.get(f"/api/v1/runs/run-{uuid.uuid4()}"), 500)
    assert "inner" not in json.dumps(found)
    assert "an inner secret" in caplog.text
    assert "Traceback" in caplog.text
