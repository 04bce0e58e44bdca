"""One call to an agent as section 5 of the contract says it, for the bridge that the harness plays."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from harness.runner.auth import AUTH_KINDS, auth_headers

_RETRIES = {"max_retries": 3, "initial_delay_ms": 1000, "max_delay_ms": 30_000, "backoff_multiplier": 2.0}
_TIMEOUT_MS = 30_000
_FAILED_STATES = ("failed", "canceled", "rejected")


@dataclass(frozen=True)
class Reply:
    """`output` on success, `error` on failure; `again` tells that asking once more may help, after so many seconds."""

    output: Any = None
    error: str | None = None
    again: bool = False
    after_seconds: float = 0.0


async def ask(session: aiohttp.ClientSession, record: Mapping[str, Any], task: Mapping[str, Any]) -> Reply:
    """Call the agent of a record for a task, and again as its retry_config says."""
    config = {**_RETRIES, **(record.get("retry_config") or {})}
    reply = Reply(error="the agent was not called")
    for retry in range(int(config["max_retries"]) + 1):
        if retry:
            longest_ms = min(
                config["initial_delay_ms"] * config["backoff_multiplier"] ** (retry - 1), config["max_delay_ms"]
            )
            await asyncio.sleep(max(reply.after_seconds, random.uniform(longest_ms / 2, longest_ms) / 1000))
        reply = await _ask_once(session, record, task)
        if not reply.again:
            break
    return reply


async def _ask_once(session: aiohttp.ClientSession, record: Mapping[str, Any], task: Mapping[str, Any]) -> Reply:
    text = json.dumps(task["input_data"], ensure_ascii=False)
    message = {"role": "user", "messageId": str(uuid.uuid4()), "parts": [{"kind": "text", "text": text}]}
    request = {"jsonrpc": "2.0", "id": task["task_id"], "method": "message/send", "params": {"message": message}}
    headers = {
        "X-Correlation-ID": str(task["correlation_id"]),
        "Idempotency-Key": task["task_id"],
        **_credentials(record),
    }
    timeout_ms = record.get("timeout_ms") or _TIMEOUT_MS
    try:
        timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        async with session.post(record["url"], json=request, headers=headers, timeout=timeout) as response:
            return _read(response.status, response.headers.get("Retry-After"), await response.read(), task["task_id"])
    except TimeoutError:
        return Reply(error=f"the agent timed out after {timeout_ms} ms", again=True)
    except aiohttp.ClientError as error:
        return Reply(error=f"the agent cannot be reached: {error}", again=True)


def _credentials(record: Mapping[str, Any]) -> dict[str, str]:
    kind = record.get("auth_type")
    return auth_headers(kind, record.get("auth_config") or {}) if kind in AUTH_KINDS else {}


def _read(status: int, retry_after: str | None, body: bytes, task_id: str) -> Reply:
    if status == 429 or status >= 500:
        after = float(retry_after) if retry_after is not None and retry_after.replace(".", "", 1).isdigit() else 0.0
        return Reply(error=f"the agent answered {status}", again=True, after_seconds=after)
    if not 200 <= status < 300:
        return Reply(error=f"the agent answered {status}")
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or answer.get("jsonrpc") != "2.0" or not ("result" in answer or "error" in answer):
        return Reply(error="the agent's response is no JSON-RPC 2.0 response")
    if answer.get("error") is not None:
        error = answer["error"]
        told = error.get("message") if isinstance(error, dict) else error
        return Reply(error=f"the agent answered with an error: {told}")
    if answer.get("id") != task_id:
        return Reply(error=f"the agent's response is to another request, {answer.get('id')!r}")
    result = answer["result"]
    if not isinstance(result, dict):
        return Reply(error="the agent's result is not an object")
    state = _state(result)
    if state in _FAILED_STATES:
        return Reply(error=f"the agent says the task is {state}: {_told(result)}")
    # Nothing is added where no artifact is, and nothing of the object is overwritten (AGT-06).
    return Reply(output={"text": _text(result), **result} if result.get("artifacts") else result)


def _state(result: Mapping[str, Any]) -> Any:
    status = result.get("status")
    return status.get("state") if isinstance(status, dict) else None


def _told(result: Mapping[str, Any]) -> str:
    message = result["status"].get("message")
    return _joined(message.get("parts")) if isinstance(message, dict) else str(message or "")


def _text(result: Mapping[str, Any]) -> str:
    artifacts = result.get("artifacts")
    parts = (
        [artifact.get("parts") for artifact in artifacts if isinstance(artifact, dict)]
        if isinstance(artifacts, list)
        else []
    )
    return "\n".join(text for part in parts if (text := _joined(part)))


def _joined(parts: Any) -> str:
    if not isinstance(parts, list):
        return ""
    return "\n".join(
        str(part.get("text", "")) for part in parts if isinstance(part, dict) and part.get("kind") == "text"
    )
