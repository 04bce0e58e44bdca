"""JSON-RPC 2.0 as agents speak it: the request's body, and what an answer means (contract, section 5). Pure.

The clauses AGT-01 to AGT-10 and AGT-23 say what is what. Beyond them, an `error` of null beside a result counts as
absent, since many servers write both.
"""

from __future__ import annotations

from typing import Any

from system import json_values
from system.bridge.messages import Outcome, Task, failure


def request_body(task: Task) -> bytes:
    """The body of `message/send` for a task: its input_data as JSON in one text part.

    Raises:
        ValueError: the input is nested too deeply to be encoded.
    """
    return json_values.dumps(
        {
            "jsonrpc": "2.0",
            "id": task.task_id,
            "method": "message/send",
            "params": {
                "message": {
                    "role": "user",
                    "messageId": task.task_id,
                    "parts": [{"kind": "text", "text": json_values.dumps(task.input_data).decode()}],
                }
            },
        }
    )


def interpret(agent_name: str, task_id: str, body: bytes) -> Outcome:
    """The outcome that an agent's answer (HTTP status 2xx) stands for; never raises."""
    agent = f"agent {agent_name!r}"
    try:
        answer = json_values.loads(body)
    except ValueError as error:
        return failure(f"{agent} did not answer with JSON-RPC: no JSON ({error}): {_excerpt(body)}")
    if not isinstance(answer, dict) or answer.get("jsonrpc") != "2.0":
        return failure(f'{agent} did not answer with JSON-RPC: no object with "jsonrpc": "2.0": {_excerpt(body)}')
    fault = answer.get("error")
    if fault is None and "result" not in answer:
        return failure(f"{agent} did not answer with JSON-RPC: neither result nor error: {_excerpt(body)}")
    # JSON-RPC gives the id null to an error about a request that could not be read.
    if answer.get("id") != task_id and not (fault is not None and answer.get("id") is None):
        return failure(f"{agent} answered for another request: expected id {task_id!r}, found {answer.get('id')!r}")
    if fault is not None:
        return failure(f"{agent} answered with an error: {_error_text(fault)}")
    result = answer["result"]
    if not isinstance(result, dict):
        return failure(f"{agent} answered with a result that is no object: {_excerpt(json_values.dumps(result))}")
    refused = _refusal(result)
    if refused is not None:
        return failure(f"{agent} {refused}")
    unstorable = json_values.unstorable(result) if json_values.is_suspicious(body) else None
    if unstorable is not None:
        return failure(f"{agent} answered with a result that PostgreSQL cannot hold: {unstorable}")
    return Outcome(_output(result))


def error_in(body: bytes) -> str | None:
    """The JSON-RPC error's text in the body of an answer with an HTTP error status, if there is one."""
    try:
        answer = json_values.loads(body)
    except ValueError:
        return None
    if not isinstance(answer, dict) or answer.get("error") is None:
        return None
    return _error_text(answer["error"])


def _output(result: dict[str, Any]) -> dict[str, Any]:
    """The result with the text of its artifacts, if it has any; a `text` of its own stays (AGT-06)."""
    artifacts = result.get("artifacts")
    if "text" in result or not isinstance(artifacts, list):
        return result
    texts = [text for artifact in artifacts if isinstance(artifact, dict) for text in _texts(artifact.get("parts"))]
    return {**result, "text": "\n".join(texts)}


def _texts(parts: Any) -> list[str]:
    """The texts of A2A parts; `type` is how earlier versions of the protocol named `kind`."""
    if not isinstance(parts, list):
        return []
    return [
        part["text"]
        for part in parts
        if isinstance(part, dict) and part.get("kind", part.get("type")) == "text" and isinstance(part.get("text"), str)
    ]


def _refusal(result: dict[str, Any]) -> str | None:
    """What a result in a state that is no success says about it (AGT-09, AGT-23); None for any other result."""
    status = result.get("status")
    state = status.get("state") if isinstance(status, dict) else None
    if not isinstance(status, dict) or state not in ("failed", "canceled", "rejected"):
        return None
    message = status.get("message")
    texts = _texts(message.get("parts")) if isinstance(message, dict) else []
    said = message if isinstance(message, str) else "\n".join(texts)
    return f"ended in the state {state}: {said or 'it gave no message'}"


def _error_text(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    code, message = error.get("code"), error.get("message")
    if not isinstance(message, str):
        message = _excerpt(json_values.dumps(error))
    return f"{message} (code {code})" if code is not None else message


def _excerpt(body: bytes) -> str:
    """The beginning of a body, for people."""
    text = body[:200].decode("utf-8", "replace")
    return f"{text!r}" if len(body) <= 200 else f"{text!r}… ({len(body)} bytes)"
