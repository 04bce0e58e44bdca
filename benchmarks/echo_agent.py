"""The agent that all contenders call, as fast as Python can be: `python -m benchmarks.echo_agent [SECONDS]`.

Speaks the JSON-RPC of the contract's section 5 over HTTP/1.1 with keep-alive, and answers with the input itself, after
SECONDS where that is given. It parses no more of HTTP than its callers use. Writes its port on standard output, and ends
with its standard input.
"""

from __future__ import annotations

import asyncio
import sys

import orjson

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_LENGTH = b"content-length:"
_LARGEST_BYTES = 16 * 1024 * 1024


class _Connection(asyncio.Protocol):
    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        self._pending = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._pending += data
        if len(self._pending) > _LARGEST_BYTES:
            self._transport.abort()
            return
        while (body := self._next_body()) is not None:
            answer = answer_to(body)
            head = _HEAD % len(answer)
            if self._delay_seconds:
                asyncio.get_running_loop().call_later(self._delay_seconds, self._transport.write, head + answer)
            else:
                self._transport.write(head + answer)

    def _next_body(self) -> bytes | None:
        """The body of the first request that has arrived whole, which is then done with."""
        end = self._pending.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._pending[:end]).lower()
        at = head.find(_LENGTH)
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._pending) < end + 4 + length:
            return None
        body = bytes(self._pending[end + 4 : end + 4 + length])
        del self._pending[: end + 4 + length]
        return body


def answer_to(body: bytes) -> bytes:
    """The JSON-RPC answer whose result is the input of the request."""
    request = orjson.loads(body)
    text = request["params"]["message"]["parts"][0]["text"]
    return orjson.dumps({"jsonrpc": "2.0", "id": request["id"], "result": orjson.loads(text)})


async def _serve(delay_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(delay_seconds), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Whoever started this holds the other end: it is closed when they end, however they end.
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
