"""The loop of the proxies, in a thread of its own, and the doors on which processes come in."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from harness.faults.proxy import kafka, postgres
from harness.faults.proxy.gate import Closed, Gate

log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_START_SECONDS = 10.0
_BUFFER = 1 << 20
_T = TypeVar("_T")
_Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class ProxyServer:
    """A context manager: an event loop in a thread, with servers on ports of the loopback."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-proxies", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._carrying: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and the thread."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(concurrent.futures.TimeoutError):
            self.call(self._end(), _START_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)

    def call(self, work: Coroutine[Any, Any, _T], seconds: float | None = _START_SECONDS) -> _T:
        """Do work in the loop, from another thread, and give what it gives. Raises TimeoutError, and what the work raises."""
        return self.submit(work).result(seconds)

    def submit(self, work: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """Begin work in the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def open_kafka(self, gate: Gate, name_of: kafka.NameOf, port: int) -> None:
        """Listen in front of the broker, on the port that the broker advertises. Raises OSError."""
        self.call(self._listen(lambda reader, writer: kafka.serve(gate, name_of, reader, writer), port))

    def open_postgres(self, gate: Gate, name_of: postgres.NameOf = lambda table: table) -> int:
        """Listen in front of the database on a free port, which is given back. Raises OSError."""
        return self.call(self._listen(lambda reader, writer: postgres.serve(gate, reader, writer, name_of), 0))

    async def _listen(self, serve: _Serve, port: int) -> int:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._carrying.add(task)
            try:
                await serve(reader, writer)
            except (OSError, EOFError, Closed):
                log.debug("a connection ended", exc_info=True)
            except asyncio.CancelledError:
                pass
            except Exception:
                # What is not understood may not be passed on as if it were: the client finds its connection lost.
                log.exception("a connection through a proxy could not be carried on")
            finally:
                self._carrying.discard(task)
                writer.close()

        server = await asyncio.start_server(accepted, _HOST, port, reuse_address=True, limit=_BUFFER, backlog=256)
        self._servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
