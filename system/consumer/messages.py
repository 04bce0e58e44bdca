"""The consumer's messages: requests, cancellations and results are read and checked, tasks and updates written.

A message is looked at twice only when it does not pass at once: the ordinary shape is recognised by a few type checks,
and whatever fails those is judged by the contract's schema, which words the reason.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from system import json_values, moments
from system.definitions import schema_problems
from system.engine.decisions import PublishTask, RunChanged, StepChanged

_RUN_ID = re.compile(r"run-[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_LONGEST_ID = 1000
# An update tells that a step failed and why; a message that many failures make up stands whole in the row alone.
_LONGEST_ERROR = 4000


class InvalidMessage(ValueError):
    """A message that cannot be taken; says what was expected and what was found."""


@dataclass(frozen=True, slots=True)
class ExecutionRequest:
    """A valid envelope around a plan that has not been judged. `flaw` tells why the content cannot be stored, if so."""

    run_id: str
    plan: dict[str, Any]
    input_data: dict[str, Any]
    timestamp: datetime
    resume_from_step: str | None
    flaw: str | None


@dataclass(frozen=True, slots=True)
class CancellationRequest:
    """Somebody wants a run to end."""

    run_id: str
    cancelled_by: str | None
    reason: str | None
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class AgentResult:
    """The outcome of a task. `flaw` tells why its output cannot be stored, if so."""

    run_id: str
    task_id: str
    succeeded: bool
    output_data: dict[str, Any] | None
    error_message: str | None
    flaw: str | None


def read_execution_request(value: bytes | None) -> ExecutionRequest:
    """Raises InvalidMessage when the envelope is not that of an ExecutionRequest."""
    data, is_doubtful = _object(value)
    run_id, plan, input_data = data.get("run_id"), data.get("workflow_plan"), data.get("input_data")
    resume = data.get("resume_from_step")
    if not (
        isinstance(run_id, str)
        and _RUN_ID.fullmatch(run_id)
        and isinstance(plan, dict)
        and isinstance(input_data, dict)
        and data.get("message_type") == "execution_request"
        and (resume is None or isinstance(resume, str))
    ):
        raise _invalid(data, "execution_request")
    flaw = json_values.unstorable([plan, input_data, resume]) if is_doubtful else None
    return ExecutionRequest(run_id, plan, input_data, _timestamp(data, "execution_request"), resume or None, flaw)


def read_cancellation_request(value: bytes | None) -> CancellationRequest:
    """Raises InvalidMessage when it is no CancellationRequest."""
    data, _ = _object(value)
    run_id, cancelled_by, reason = data.get("run_id"), data.get("cancelled_by"), data.get("reason")
    if not (
        isinstance(run_id, str)
        and _RUN_ID.fullmatch(run_id)
        and isinstance(cancelled_by, str | None)
        and isinstance(reason, str | None)
        and data.get("message_type") == "cancellation_request"
    ):
        raise _invalid(data, "cancellation_request")
    timestamp = _timestamp(data, "cancellation_request")
    return CancellationRequest(run_id, storable_text(cancelled_by), storable_text(reason), timestamp)


def read_agent_result(value: bytes | None) -> AgentResult:
    """Raises InvalidMessage when it is no AgentResult."""
    data, is_doubtful = _object(value)
    run_id, task_id, status = data.get("run_id"), data.get("task_id"), data.get("status")
    output, error = data.get("output_data"), data.get("error_message")
    if not (
        isinstance(run_id, str)
        and 0 < len(run_id) <= _LONGEST_ID
        and json_values.unstorable(run_id) is None
        and isinstance(task_id, str)
        and 0 < len(task_id) <= _LONGEST_ID
        and status in ("SUCCESS", "FAILURE")
        and isinstance(output, dict | None)
        and isinstance(error, str | None)
        and isinstance(data.get("correlation_id"), str)
    ):
        raise _invalid(data, "agent_result")
    _timestamp(data, "agent_result")
    flaw = json_values.unstorable(output) if is_doubtful else None
    return AgentResult(run_id, task_id, status == "SUCCESS", output, storable_text(error), flaw)


def _object(value: bytes | None) -> tuple[dict[str, Any], bool]:
    """The JSON object that a message holds, and whether some of it may be of the kind that cannot be stored."""
    value = value or b""
    is_doubtful = json_values.is_suspicious(value)
    try:
        data = json_values.loads(value)
    except ValueError as error:
        # Half of a surrogate pair, or a number that no double holds, is JSON all the same: its envelope may be good.
        data = _lenient(value, error)
        is_doubtful = True
    if not isinstance(data, dict):
        raise InvalidMessage(f"the value must be a JSON object in UTF-8, found a {type(data).__name__}")
    return data, is_doubtful


def _lenient(value: bytes, error: ValueError) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        # Decoded here, since the parser would take UTF-16 and UTF-32 as well.
        return json.loads(value.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError):
        raise InvalidMessage(f"the value must be a JSON object in UTF-8: {error}") from None


def _timestamp(data: dict[str, Any], schema_name: str) -> datetime:
    """Any ISO 8601 date and time; one without an offset is taken as UTC, as the contract's are (MSG-08)."""
    moment = moments.parse(data.get("timestamp"))
    if moment is None:
        raise _invalid(data, schema_name)
    return moment


def _invalid(data: dict[str, Any], schema_name: str) -> InvalidMessage:
    problems = schema_problems(data, schema_name)
    if problems:
        return InvalidMessage("; ".join(str(problem) for problem in problems[:5]))
    return InvalidMessage(f"the value does not fit the contract's schema {schema_name}")


def storable_text(text: str | None) -> str | None:
    """A text as PostgreSQL can hold it: what it cannot hold is shown as an escape."""
    if text is None:
        return None
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


def task_message(run_id: str, task: PublishTask, now: datetime) -> bytes:
    """An AgentTask. The correlation id is the run's own, so that all calls of a run can be found together."""
    return json_values.dumps(
        {
            "run_id": run_id,
            "task_id": task.task_id,
            "agent_name": task.agent_name,
            "input_data": task.input_data,
            "correlation_id": run_id,
            "timestamp": now.isoformat(),
        }
    )


def step_update(run_id: str, step_name: str, change: StepChanged, now: datetime) -> bytes:
    """A MonitoringUpdate of a step's transition."""
    record = change.record
    metadata: dict[str, Any] = {"path": record.path, "attempt": record.attempt}
    if record.error_message is not None:
        metadata["error_message"] = record.error_message[:_LONGEST_ERROR]
    if record.status == "CANCELLED":
        metadata["scope"] = "run"
    return _update(run_id, record.step_id, step_name, record.status, now, metadata)


def run_update(run_id: str, workflow_name: str, change: RunChanged, now: datetime) -> bytes:
    """A MonitoringUpdate of the run's own transition (extension)."""
    metadata: dict[str, Any] = {"scope": "run"}
    if change.error_message is not None:
        metadata["error_message"] = change.error_message[:_LONGEST_ERROR]
    return _update(run_id, run_id, workflow_name, change.status, now, metadata)


def _update(run_id: str, step_id: str, step_name: str, status: str, now: datetime, metadata: dict[str, Any]) -> bytes:
    return json_values.dumps(
        {
            "run_id": run_id,
            "step_id": step_id,
            "step_name": step_name,
            "status": status,
            "timestamp": now.isoformat(),
            "metadata": metadata,
        }
    )
