"""What goes over the wire between a caller and an agent of the harness (contract, section 5)."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any, Final

from aiohttp import web

from harness.agents.ledger import Call
from harness.agents.script import Echo, Fail, Ok, RpcError

JSON_HEADERS: Final = {"Content-Type": "application/json"}


def rpc_response(call: Call, action: Ok | Echo | Fail | RpcError) -> web.Response:
    """The JSON-RPC response that an action stands for."""
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": call.task_id}
    match action:
        case RpcError(message=message, code=code):
            answer["error"] = {"code": code, "message": message}
        case Fail(message=message, state=state):
            parts = [{"kind": "text", "text": message}]
            answer["result"] = {"status": {"state": state, "message": {"role": "agent", "parts": parts}}}
        case Ok(output=output):
            answer["result"] = dict(output)
        case Echo():
            given = call.input_data if isinstance(call.input_data, dict) else {}
            text = json.dumps(call.input_data, ensure_ascii=False)
            answer["result"] = {
                **given,
                "artifacts": [{"artifactId": "echo", "parts": [{"kind": "text", "text": text}]}],
            }
    return web.Response(body=json.dumps(answer).encode(), headers=JSON_HEADERS)


def read_request(body: bytes) -> tuple[Any, Any]:
    """(id, input as parsed from the text part) of a JSON-RPC request; None for what cannot be read."""
    try:
        request = json.loads(body)
        return request["id"], json.loads(request["params"]["message"]["parts"][0]["text"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None, None


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Reset a connection instead of closing it."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    # With nothing to linger for, closing sends RST.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
