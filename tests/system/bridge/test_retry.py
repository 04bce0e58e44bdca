"""Pauses between tries, as an agent's retry_config says (clause AGT-14)."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import contract
from system.bridge.retry import RetryPolicy, policy, retry_after_seconds

_configs = st.fixed_dictionaries(
    {},
    optional={
        "max_retries": st.integers(0, 100),
        "initial_delay_ms": st.integers(0, 2**31 - 1),
        "max_delay_ms": st.integers(0, 2**31 - 1),
        "backoff_multiplier": st.integers(1, 1000) | st.floats(1, 1000),
    },
)


@given(_configs, st.integers(1, 100), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_a_pause_is_never_longer_than_the_contract_allows(
    config: dict[str, Any], retry: int, fraction: float, retry_after: float | None
) -> None:
    rules = policy(config)
    longest = min(rules.max_delay_ms, rules.initial_delay_ms * rules.backoff_multiplier ** (retry - 1)) / 1000
    pause = rules.pause_seconds(retry, fraction, retry_after)
    assert 0 <= pause <= rules.max_delay_ms / 1000
    if retry_after is None:
        assert pause <= longest
        assert math.isclose(pause, longest * fraction)
    else:
        assert pause >= min(retry_after, rules.max_delay_ms / 1000)


def test_pauses_grow_by_the_multiplier_up_to_the_longest() -> None:
    rules = RetryPolicy(5, 200, 1000, 2.0)
    assert [rules.longest_pause_seconds(n) for n in range(1, 6)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    assert rules.budget_seconds == pytest.approx(3.4)


@pytest.mark.parametrize("config", [None, {}, {"max_retries": None, "unknown": 1}])
def test_what_is_left_out_has_the_schemas_default(config: dict[str, Any] | None) -> None:
    about = contract.schema("retry_config")["properties"]
    rules = policy(config)
    assert (rules.max_retries, rules.initial_delay_ms) == (
        about["max_retries"]["default"],
        about["initial_delay_ms"]["default"],
    )
    assert (rules.max_delay_ms, rules.backoff_multiplier) == (
        about["max_delay_ms"]["default"],
        about["backoff_multiplier"]["default"],
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_retries", -1),
        ("max_retries", 101),
        ("max_retries", 1.5),
        ("max_retries", "3"),
        ("max_retries", True),
        ("initial_delay_ms", -1),
        ("max_delay_ms", 2**31),
        ("backoff_multiplier", 0.5),
        ("backoff_multiplier", math.nan),
        ("max_retries", math.inf),
    ],
)
def test_a_field_that_the_contract_does_not_allow_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        policy({name: value})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("9" * 400, 9_999_999_999.0),
        ("Tue, 04 Mar 2025 10:15:40 GMT", 10.0),
        ("Tue, 04 Mar 2025 10:15:20 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, datetime(2025, 3, 4, 10, 15, 30, tzinfo=UTC)) == seconds
