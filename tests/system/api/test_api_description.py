"""The bodies that the API reads by hand are taken and refused as the OpenAPI document says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import contract
from tests.profiles import bounded

BOUNDED = bounded(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
RUN = "/api/v1/runs/run-00000000-0000-4000-8000-000000000000"

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
anything = st.one_of(st.none(), st.booleans(), st.integers(), words, st.just([]), st.just({}), st.just({"a": 1}))
lengths = st.sampled_from(["", "x", "x" * 200, "x" * 201, "x" * 2000, "x" * 2001])


@BOUNDED
@given(
    which=st.sampled_from(["ExecuteBody", "CancelBody", "RetryBody"]),
    body=st.dictionaries(
        st.sampled_from(["input_data", "triggered_by", "reason", "cancelled_by", "resume_from_step", "other"]),
        anything | lengths,
        max_size=3,
    ),
)
def test_small_bodies_are_judged_as_described(
    client: Any, workflow: dict[str, Any], checker: Any, which: str, body: dict[str, Any]
) -> None:
    place = {
        "ExecuteBody": f"/api/v1/workflows/{workflow['id']}/execute",
        "CancelBody": f"{RUN}/cancel",
        "RetryBody": f"{RUN}/retry",
    }[which]
    described = checker.validator(f"/components/schemas/{which}").is_valid(body)
    answer = client.post(place, json=body)
    assert (answer.status_code == 422) != described, answer.data


def test_every_described_operation_is_served(plain: Any) -> None:
    for path, item in contract.openapi()["paths"].items():
        for method in item.keys() & {"get", "post", "put", "delete"}:
            answer = plain.open(path.replace("{", "").replace("}", ""), method=method)
            assert answer.status_code != 405, f"{method} {path}"
            if "{" not in path:
                assert answer.status_code != 404, f"{method} {path}"


@pytest.mark.parametrize("path", ["/health", "/api/v1/health", "/ready", "/openapi.json"])
def test_the_state_of_the_api_is_described_and_served(client: Any, path: str) -> None:
    assert client.get(path).status_code == 200
