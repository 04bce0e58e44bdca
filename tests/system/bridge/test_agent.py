"""Agents' records: authentication, what cannot be used, and that no secret is shown (clauses AGT-18 and AGT-20)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from system.bridge.agent import Agent, AgentRecordError, agent_from, shown_url

_SECRET = 's3cret"\\token'


def _agent(**fields: Any) -> Agent:
    return agent_from({"name": "a", "url": "http://127.0.0.1:1/x", **fields})


@pytest.mark.parametrize(
    ("auth_type", "config", "header"),
    [
        ("bearer", {"token": _SECRET}, ("Authorization", f"Bearer {_SECRET}")),
        ("api_key", {"key": _SECRET}, ("X-API-Key", _SECRET)),
        ("api_key", {"key": _SECRET, "header_name": "X-Own"}, ("X-Own", _SECRET)),
        ("custom_header", {"header_name": "X-Tenant", "header_value": _SECRET}, ("X-Tenant", _SECRET)),
    ],
)
def test_the_call_carries_what_the_record_says(auth_type: str, config: dict[str, str], header: tuple[str, str]) -> None:
    agent = _agent(auth_type=auth_type, auth_config=config)
    assert agent.headers == (header,)
    assert agent.redacted(f"<{_SECRET}>") == "<***>"


@pytest.mark.parametrize("auth_type", [None, "none"])
def test_without_authentication_nothing_is_added(auth_type: str | None) -> None:
    assert _agent(auth_type=auth_type, auth_config={"token": "unused"}).headers == ()


def test_user_and_password_of_the_url_become_basic_authentication_and_are_not_shown() -> None:
    agent = _agent(url="http://user:p%40ssword@127.0.0.1:1/x?q=1")
    assert agent.url == "http://127.0.0.1:1/x?q=1"
    assert agent.headers == (("Authorization", "Basic " + base64.b64encode(b"user:p@ssword").decode()),)
    assert agent.redacted("p@ssword p%40ssword") == "*** ***"


def test_secrets_are_taken_out_of_a_value_wherever_they_stand() -> None:
    agent = _agent(auth_type="bearer", auth_config={"token": _SECRET})
    value = {"headers": {"Authorization": f"Bearer {_SECRET}"}, "list": [f"{_SECRET}{_SECRET}", 7], _SECRET: None}
    assert agent.redacted_value(value) == {
        "headers": {"Authorization": "Bearer ***"},
        "list": ["******", 7],
        "***": None,
    }


def test_a_secret_that_looks_like_json_does_not_take_the_value_apart() -> None:
    agent = _agent(auth_type="bearer", auth_config={"token": "null"})
    assert agent.redacted_value({"a": None, "b": "null", "c": [True]}) == {"a": None, "b": "***", "c": [True]}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "inactive"}, "inactive"),
        ({"url": "ftp://h/x"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://h:99999/"}, "url"),
        ({"url": f"http://u:{_SECRET}@h h/"}, "url"),
        ({"url": None}, "url"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"timeout_ms": "5"}, "timeout_ms"),
        ({"retry_config": []}, "retry_config"),
        ({"retry_config": {"max_retries": -1}}, "retry_config.max_retries"),
        ({"auth_type": "kerberos"}, "auth_type"),
        ({"auth_type": "bearer"}, "a registry over REST gives no secrets"),
        ({"auth_type": "bearer", "auth_config": {"token": _SECRET + "\n"}}, "auth_config.token"),
        ({"auth_type": "api_key", "auth_config": {"key": _SECRET, "header_name": "a b"}}, "header_name"),
        (
            {"auth_type": "custom_header", "auth_config": {"header_name": "Host", "header_value": _SECRET}},
            "header_name",
        ),
        ({"auth_type": "custom_header", "auth_config": {"header_value": _SECRET}}, "header_name"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused_by_name_and_without_its_secret(
    fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AgentRecordError, match=reason) as refused:
        _agent(**fields)
    assert "agent 'a'" in str(refused.value)
    assert _SECRET not in str(refused.value)


def test_a_shown_url_has_no_user_password_or_query() -> None:
    assert shown_url("https://u:p@host:8/path?key=secret#f") == "https://host:8/path"
