"""The credentials that the call of an agent bears (AGT-18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

AUTH_KINDS: Final = ("bearer", "api_key", "custom_header")


def auth_headers(kind: str, config: Mapping[str, Any]) -> dict[str, str]:
    """The headers for an agent whose record has this `auth_type` and `auth_config`.

    Raises:
        ValueError: there is no such kind.
    """
    match kind:
        case "bearer":
            return {"Authorization": f"Bearer {config['token']}"}
        case "api_key":
            return {config.get("header_name", "X-API-Key"): config["key"]}
        case "custom_header":
            return {config["header_name"]: config["header_value"]}
    raise ValueError(f"no agent can demand {kind!r}; expected one of {', '.join(AUTH_KINDS)}")
