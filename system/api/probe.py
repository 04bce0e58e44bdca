"""Whether an agent can be reached: a GET of /health at its host, given up after two seconds whatever happens.

Any answer below 500 is a sign of life, 404 too, since no agent is obliged to have that page. The probe carries no
credentials and follows no redirects.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

_TIMEOUT_SECONDS = 1.8
_WAIT_SECONDS = 2.0
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found; `detail` says why an agent is not healthy."""

    healthy: bool
    latency_ms: float | None
    detail: str | None


class Prober:
    """Probes agents on an event loop of its own, so that no request's thread waits longer than two seconds."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = threading.BoundedSemaphore(_AT_ONCE)

    def probe(self, url: str) -> Finding:
        """Ask the host of an agent's URL for /health."""
        if not self._running.acquire(blocking=False):
            return Finding(False, None, f"not asked: {_AT_ONCE} other agents are being asked just now")
        future = asyncio.run_coroutine_threadsafe(self._released(_ask(url)), self._started())
        try:
            return future.result(_WAIT_SECONDS)
        except FutureTimeout:
            future.cancel()
            return Finding(False, None, f"no answer within {_WAIT_SECONDS} s")

    def close(self) -> None:
        """Stop the loop."""
        with self._guard:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    async def _released(self, asking: Coroutine[Any, Any, Finding]) -> Finding:
        try:
            return await asking
        finally:
            self._running.release()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._guard:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="agent-probe", daemon=True).start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


async def _ask(url: str) -> Finding:
    parts = urlsplit(url)
    target = urlunsplit((parts.scheme, parts.netloc, "/health", "", ""))
    begun = time.monotonic()
    try:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(target, allow_redirects=False) as answer,
        ):
            latency_ms = round((time.monotonic() - begun) * 1000, 3)
            if answer.status >= 500:
                return Finding(False, latency_ms, f"GET {target} was answered with {answer.status}")
            return Finding(True, latency_ms, None)
    except TimeoutError:
        return Finding(False, None, f"GET {target} had no answer within {_TIMEOUT_SECONDS} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Finding(False, None, f"GET {target} failed: {error or type(error).__name__}"[:500])
