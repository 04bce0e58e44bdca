"""The end of the proxies, whatever stands still behind them."""

from __future__ import annotations

import contextlib
import gc
import socket
import struct
import warnings
from collections.abc import Sequence

from harness.faults.proxy.gate import PASSED, Decision, Gate
from harness.faults.proxy.server import ProxyServer

_QUERY_BYTES = 100_000


class _Passing:
    """Lets everything pass."""

    async def before(self, process: str, boundary: str, names: Sequence[str]) -> Decision:
        return PASSED

    async def after(self, token: object) -> Decision:
        return PASSED

    def joined(self, process: str, session_timeout_ms: int) -> None:
        return None


def test_nothing_is_left_of_a_connection_to_a_server_that_reads_nothing() -> None:
    """What a stopped server was sent and has not taken keeps no connection open when the proxies end."""
    with warnings.catch_warnings(record=True) as told, socket.create_server(("127.0.0.1", 0)) as stopped:
        warnings.simplefilter("always")
        with ProxyServer() as server:

            async def gate() -> Gate:
                return Gate("consumer-1", _Passing(), stopped.getsockname())

            port = server.open_postgres(server.call(gate()))
            with (
                socket.create_connection(("127.0.0.1", port), timeout=0.5) as client,
                contextlib.suppress(TimeoutError),
            ):
                client.sendall(struct.pack(">ii", 12, 196608) + b"\0\0\0\0")
                while True:
                    client.sendall(b"Q" + struct.pack(">i", 5 + _QUERY_BYTES) + b"x" * _QUERY_BYTES + b"\0")
        del server
        gc.collect()
    assert [str(one.message) for one in told] == []
