"""The bridge's two messages: tasks are decoded and checked, results encoded (contract, section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from system import json_values, moments


class InvalidTaskError(ValueError):
    """A message that is no AgentTask; says which field, what was expected and what was found."""


@dataclass(slots=True)
class Task:
    """An AgentTask: one attempt of a step that an agent is asked for."""

    run_id: str
    task_id: str
    agent_name: str
    input_data: dict[str, Any]
    correlation_id: str


@dataclass(slots=True)
class Outcome:
    """How a task ended: with `error_message` None it succeeded, and `output_data` is the agent's output."""

    output_data: dict[str, Any] | None
    error_message: str | None = None


_ERROR_LIMIT_CHARACTERS = 4000
# A result repeats its task's ids, and the smallest topic must be able to take it.
_IDS_LIMIT_CHARACTERS = 4096


def failure(message: str) -> Outcome:
    """A FAILURE; the message is cut at 4,000 characters and made storable."""
    if len(message) > _ERROR_LIMIT_CHARACTERS:
        message = message[: _ERROR_LIMIT_CHARACTERS - 1] + "…"
    return Outcome(None, message.replace("\x00", "\ufffd").encode("utf-8", "replace").decode())


def decode_task(value: bytes | None) -> Task:
    """Decode and check an AgentTask; fields that the contract does not name are ignored.

    Raises:
        InvalidTaskError: the value is no JSON object, or a field is missing or of the wrong kind.
    """
    if value is None:
        raise InvalidTaskError("expected an AgentTask, found a message without a value")
    try:
        fields = json_values.loads(value)
    except ValueError as error:
        raise InvalidTaskError(f"expected a JSON object, found no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidTaskError(f"expected a JSON object, found {_kind(fields)}")
    input_data = fields.get("input_data")
    if not isinstance(input_data, dict):
        raise InvalidTaskError(f"/input_data: expected an object, found {_found(fields, 'input_data')}")
    _check_time(fields)
    task = Task(
        _text(fields, "run_id"),
        _text(fields, "task_id"),
        _text(fields, "agent_name"),
        input_data,
        _text(fields, "correlation_id", may_be_empty=True),
    )
    length = len(task.run_id) + len(task.task_id) + len(task.correlation_id)
    if length > _IDS_LIMIT_CHARACTERS:
        raise InvalidTaskError(
            f"/run_id, /task_id and /correlation_id: expected {_IDS_LIMIT_CHARACTERS} characters at most in all,"
            f" found {length}: a result that repeats them might not be published"
        )
    return task


def encode_result(task: Task, outcome: Outcome, now: datetime) -> bytes:
    """The AgentResult of a task, as its bytes on Kafka.

    Raises:
        ValueError: the output is nested too deeply to be encoded.
    """
    return json_values.dumps(
        {
            "run_id": task.run_id,
            "task_id": task.task_id,
            "status": "SUCCESS" if outcome.error_message is None else "FAILURE",
            "output_data": outcome.output_data,
            "correlation_id": task.correlation_id,
            "error_message": outcome.error_message,
            "timestamp": now.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z",
        }
    )


def bounded_result(task: Task, outcome: Outcome, now: datetime, limit_bytes: int) -> bytes:
    """The AgentResult of a task; a FAILURE that says why when the outcome cannot be published."""
    try:
        value = encode_result(task, outcome, now)
    except ValueError as error:
        return unpublishable(task, str(error), now)
    if len(value) > limit_bytes:
        return unpublishable(task, f"it takes {len(value)} bytes, and {limit_bytes} are allowed", now)
    return value


def unpublishable(task: Task, reason: str, now: datetime) -> bytes:
    """The AgentResult of a task whose outcome cannot be published."""
    said = failure(f"agent {task.agent_name!r} answered with a result that cannot be published: {reason}")
    return encode_result(task, said, now)


def _text(fields: dict[str, Any], name: str, *, may_be_empty: bool = False) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not (value or may_be_empty):
        wanted = "a text" if may_be_empty else "a text that is not empty"
        raise InvalidTaskError(f"/{name}: expected {wanted}, found {_found(fields, name)}")
    if "\x00" in value:
        raise InvalidTaskError(f"/{name}: expected a text that a row can hold, found the character U+0000 in it")
    return value


def _check_time(fields: dict[str, Any]) -> None:
    if moments.parse(fields.get("timestamp")) is None:
        raise InvalidTaskError(f"/timestamp: expected a time as in ISO 8601, found {_found(fields, 'timestamp')}")


def _found(fields: dict[str, Any], name: str) -> str:
    if name not in fields:
        return "nothing"
    value = fields[name]
    return f"{value[:60]!r}" if isinstance(value, str) else _kind(value)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
