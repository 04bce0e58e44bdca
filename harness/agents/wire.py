"""What goes over the wire between a caller and an agent of the harness (contract, section 5)."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from harness.agents.envelope import Breach
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


def breach_response(call: Call, breach: Breach) -> web.Response:
    """The JSON-RPC error for a call that the contract does not allow."""
    error = {"code": breach.code, "message": breach.sentence}
    answer = {"jsonrpc": "2.0", "id": call.task_id, "error": error}
    return web.Response(body=json.dumps(answer).encode(), headers=JSON_HEADERS)


def lacking_credentials(demanded: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """Which of the headers that an agent demands a call does not bear, or bears with another value; None when all is
    there. Names count whatever their case, as in HTTP; `headers` must look them up so."""
    for name, value in demanded.items():
        found = headers.get(name)
        if found != value:
            shown = "none" if found is None else repr(found)
            return f"expected the header {name}: {value}, found {shown}"
    return None


def unauthorized(demanded: Mapping[str, str], sentence: str) -> web.Response:
    """401, with the challenge that HTTP wants beside it."""
    scheme = "Bearer" if any(name.lower() == "authorization" for name in demanded) else "Header"
    challenge = {"WWW-Authenticate": f'{scheme} realm="agent"'}
    # What is demanded stays unsaid: a caller may hand the answer on.
    text = "the credentials are missing or wrong: " + sentence.partition(":")[0]
    return web.Response(status=401, text=text, headers=challenge)


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Reset a connection instead of closing it."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    # With nothing to linger for, closing sends RST.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
