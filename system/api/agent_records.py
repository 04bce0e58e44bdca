"""An agent's record as it is sent: held to the contract's schema, with messages that repeat no value of it.

jsonschema's own messages quote what they found, and what they found may be a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from jsonschema.exceptions import ValidationError

from system.api.json_body import pointer_step
from system.api.problems import Mistake, Problem
from system.definitions import validator

_MISTAKES_SHOWN = 20

_TOLD: dict[str, Callable[[Any], str]] = {
    "type": lambda wanted: f"must be of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}",
    "enum": lambda wanted: f"must be one of {', '.join(str(word) for word in wanted)}",
    "pattern": lambda wanted: f"must match {wanted}",
    "format": lambda wanted: f"must be a {wanted}",
    "minLength": lambda wanted: f"must have at least {wanted} characters",
    "maxLength": lambda wanted: f"must have at most {wanted} characters",
    "minimum": lambda wanted: f"must be {wanted} or more",
    "maximum": lambda wanted: f"must be {wanted} or less",
}


def agent_record(data: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the columns of `agents` from the body of a request.

    Raises:
        Problem: 422 with every mistake found.
    """
    mistakes = _schema_mistakes(data) or _url_mistakes(data["url"])
    if mistakes:
        raise Problem(422, "the agent's record has fields that cannot be used; see errors", errors=mistakes)
    auth_type = data.get("auth_type") or "none"
    return {
        "name": data["name"],
        "url": data["url"],
        "description": data.get("description"),
        "auth_type": auth_type,
        "auth_config": data.get("auth_config") if auth_type != "none" else None,
        "timeout_ms": data.get("timeout_ms") or 30_000,
        "retry_config": data.get("retry_config"),
        "status": data.get("status", "active"),
    }


def _schema_mistakes(data: Mapping[str, Any]) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for error in validator("agent").iter_errors(data):
        mistakes.extend(_told(error))
        if len(mistakes) >= _MISTAKES_SHOWN:
            break
    return sorted(mistakes[:_MISTAKES_SHOWN], key=lambda mistake: mistake.pointer)


def _told(error: ValidationError) -> list[Mistake]:
    if error.context:
        # Of an anyOf the branch for null tells nothing that helps.
        deeper = [part for part in error.context if part.validator_value != "null"]
        return [mistake for part in deeper for mistake in _told(part)]
    pointer = "".join(pointer_step(part) for part in error.absolute_path)
    if error.validator == "required":
        required: Any = error.validator_value
        present: Any = error.instance
        missing = [name for name in required if name not in present]
        return [Mistake(f"{pointer}/{name}", "must be given") for name in missing]
    told = _TOLD.get(str(error.validator))
    return [Mistake(pointer, told(error.validator_value) if told else "is not what the schema of an agent allows")]


def _url_mistakes(url: str) -> list[Mistake]:
    wanted = "must be an http:// or https:// URL with a host"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return [Mistake("/url", wanted)]
    if not parts.hostname or port == 0:
        return [Mistake("/url", wanted)]
    if "@" in parts.netloc:
        return [Mistake("/url", "must hold no user or password: answers show the URL; use auth_type and auth_config")]
    return []
