"""The request that every contender's steps send to the agent (contract, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def request_body(task_id: str, given: Mapping[str, Any]) -> bytes:
    """JSON-RPC `message/send` with the input as JSON in one text part, as the reference's bridge sends it."""
    part = {"kind": "text", "text": orjson.dumps(given).decode()}
    message = {"role": "user", "messageId": task_id, "parts": [part]}
    return orjson.dumps({"jsonrpc": "2.0", "id": task_id, "method": "message/send", "params": {"message": message}})
