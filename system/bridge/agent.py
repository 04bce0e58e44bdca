"""An agent's record, and what calling it needs of it: address, secrets, retry policy."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from system import json_values
from system.bridge.retry import RetryPolicy, policy

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# These belong to the connection or to the call itself.
_RESERVED_HEADERS = frozenset(
    ("connection", "content-length", "content-type", "host", "idempotency-key", "transfer-encoding", "x-correlation-id")
)
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")
# Shorter ones say nothing, and taking them out would take every message apart.
_SHORTEST_SECRET_CHARACTERS = 4
_DEFAULT_TIMEOUT_MS = 30_000


class AgentRecordError(ValueError):
    """A record that no call can be made from; says which field, and never a secret."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What the bridge knows of an agent. `headers` hold its secret; `url` has no user or password in it."""

    name: str
    url: str
    headers: tuple[tuple[str, str], ...]
    timeout_seconds: float
    retry: RetryPolicy
    secrets: tuple[str, ...]

    def redacted(self, text: str) -> str:
        """The text without the agent's secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def redacted_value(self, value: Any) -> Any:
        """The JSON value without the agent's secrets."""
        return json_values.replaced(value, self.secrets, "***") if self.secrets else value


def agent_from(record: Mapping[str, Any]) -> Agent:
    """The agent that a record (columns of `agents`, or the API's object with its auth_config) describes.

    Raises:
        AgentRecordError: the agent is inactive, or a field cannot be used.
    """
    name = str(record.get("name"))
    try:
        if record.get("status") not in (None, "active"):
            raise ValueError(f"status: it is {record['status']}, and only an active agent is called")
        address = _address(record.get("url"))
        headers, secrets = _auth(record.get("auth_type"), record.get("auth_config"))
        if address.password and not any(header.lower() == "authorization" for header, _ in headers):
            login = f"{unquote(address.username or '')}:{unquote(address.password)}"
            headers = (*headers, ("Authorization", "Basic " + base64.b64encode(login.encode()).decode()))
        if address.password:
            secrets = (*secrets, address.password, unquote(address.password))
        timeout_ms = record.get("timeout_ms")
        timeout_ms = _DEFAULT_TIMEOUT_MS if timeout_ms is None else timeout_ms
        if not isinstance(timeout_ms, int) or timeout_ms < 1:
            raise ValueError(f"timeout_ms: expected a whole number above 0, found {str(timeout_ms)[:40]}")
        config = record.get("retry_config")
        if config is not None and not isinstance(config, Mapping):
            raise ValueError("retry_config: expected an object")
        return Agent(
            name,
            urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2])),
            headers,
            timeout_ms / 1000,
            policy(config),
            tuple(sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET_CHARACTERS}, key=len, reverse=True)),
        )
    except ValueError as error:
        raise AgentRecordError(f"agent {name!r} cannot be called: {error}") from None


def _address(url: Any) -> SplitResult:
    try:
        address = urlsplit(url) if isinstance(url, str) else None
        usable = address is not None and address.scheme in ("http", "https") and bool(address.hostname)
        usable = usable and address is not None and address.port != 0
    except ValueError:
        usable = False
    if not usable or address is None or any(character.isspace() for character in url):
        # The URL may hold a password: it is not shown.
        raise ValueError("url: expected http:// or https:// with a host")
    return address


def _auth(auth_type: Any, config: Any) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The headers that authenticate a call, and the secrets in them."""
    if auth_type in (None, "none", ""):
        return (), ()
    if auth_type not in ("bearer", "api_key", "custom_header"):
        raise ValueError(f"auth_type: expected none, bearer, api_key or custom_header, found {str(auth_type)[:40]!r}")
    if not isinstance(config, Mapping):
        raise AgentRecordError(
            f"auth_config: {auth_type} needs one, and the record has none; a registry over REST gives no secrets,"
            " so that the bridge has to read agents with one from the database (unset AGENT_REGISTRY_URL)"
        )
    if auth_type == "bearer":
        token = _secret(config, "token")
        return (("Authorization", f"Bearer {token}"),), (token,)
    if auth_type == "api_key":
        key = _secret(config, "key")
        return ((_header_name(config, "X-API-Key"), key),), (key,)
    value = _secret(config, "header_value", "value")
    return ((_header_name(config, None), value),), (value,)


def _secret(config: Mapping[str, Any], *names: str) -> str:
    value = next((config[name] for name in names if name in config), None)
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"auth_config.{names[0]}: expected a text of printable ASCII (not shown: it is a secret)")
    return value


def _header_name(config: Mapping[str, Any], default: str | None) -> str:
    value = next((config[name] for name in ("header_name", "header", "name") if name in config), default)
    if not isinstance(value, str) or not _HEADER_NAME.fullmatch(value):
        raise ValueError("auth_config.header_name: expected the name of an HTTP header")
    if value.lower() in _RESERVED_HEADERS:
        raise ValueError(
            f"auth_config.header_name: expected a header that the call itself does not use, found {value!r}"
        )
    return value


def shown_url(url: str) -> str:
    """A URL for people: without user, password, query and fragment, which may hold secrets."""
    address = urlsplit(url)
    return urlunsplit((address.scheme, address.netloc.rpartition("@")[2], address.path, "", ""))
