"""An event loop in a thread of its own, for the roles that the harness plays."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")
_STOP_SECONDS = 10.0
_WORKERS = 4


class LoopThread:
    """Coroutines that other threads begin, and a few threads for what blocks."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix=f"{name}-blocking")
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, opening: Coroutine[Any, Any, None] | None = None) -> None:
        """Begin; returns once `opening` is done."""
        self._thread.start()
        if opening is not None:
            asyncio.run_coroutine_threadsafe(opening, self._loop).result(_STOP_SECONDS)

    def stop(self, closing: Coroutine[Any, Any, None] | None = None) -> None:
        """Give up what is under way, do `closing`, and end."""
        asyncio.run_coroutine_threadsafe(self._close(closing), self._loop).result(_STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._loop.close()

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the loop's thread, after what was asked for before; from any thread."""
        # Whoever hears of something may hear of it a last time while we end.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a coroutine; in the loop's thread."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def blocking(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Call what blocks in another thread."""
        return await self._loop.run_in_executor(self._pool, function, *arguments)

    async def _close(self, closing: Coroutine[Any, Any, None] | None) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if closing is not None:
            await closing
