"""Where agents are looked up: records are believed for a short time, and asked for once by however many tasks wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import aiohttp
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from system.bridge.agent import Agent, AgentRecordError, agent_from, shown_url
from system.tables import agents

log = logging.getLogger(__name__)

_NAMES_AT_ONCE = 500
_CACHED_AGENTS = 10_000
_PAGE_SIZE = 100
_PAGES = 1000
_REST_TIMEOUT_SECONDS = 5.0


class RegistryAwayError(Exception):
    """The registry cannot be asked now; it is asked again."""


class Source(Protocol):
    """Gives agents' records by name."""

    async def load(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """The records of those names that are registered.

        Raises:
            RegistryAwayError: it cannot be asked now.
        """


class DatabaseSource:
    """Agents as they stand in the table `agents`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def load(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        return await asyncio.to_thread(self._load, list(names))

    def _load(self, names: list[str]) -> Mapping[str, Mapping[str, Any]]:
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(select(agents).where(agents.c.name.in_(names))).mappings().all()
        except SQLAlchemyError as error:
            raise RegistryAwayError(f"the database cannot be asked for agents: {_first_line(error)}") from error
        return {row["name"]: dict(row) for row in rows}


class RestSource:
    """Agents as the API lists them: `GET <url>/api/v1/agents`, page by page."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url if url.endswith("/agents") else url.removesuffix("/api/v1") + "/api/v1/agents"
        self._session = session

    async def load(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        wanted = set(names)
        found: dict[str, Mapping[str, Any]] = {}
        for page in range(1, _PAGES + 1):
            items, pages = await self._page(page)
            found.update({item["name"]: item for item in items if item.get("name") in wanted})
            if page >= pages or len(found) == len(wanted):
                break
        return found

    async def _page(self, page: int) -> tuple[list[dict[str, Any]], int]:
        shown = shown_url(self._url)
        try:
            async with self._session.get(
                self._url,
                params={"page": str(page), "page_size": str(_PAGE_SIZE)},
                timeout=aiohttp.ClientTimeout(total=_REST_TIMEOUT_SECONDS),
            ) as response:
                if response.status != 200:
                    raise RegistryAwayError(f"GET {shown} answered HTTP {response.status}, expected 200")
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise RegistryAwayError(f"GET {shown} failed: {type(error).__name__}: {error}") from error
        items = answer.get("items") if isinstance(answer, dict) else answer
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise RegistryAwayError(f"GET {shown} answered without a list of agents under `items`")
        pages = answer.get("total_pages", 1) if isinstance(answer, dict) else 1
        return items, pages if isinstance(pages, int) else 1


class Registry:
    """Agents by name, from a source. Belongs to one event loop."""

    def __init__(self, source: Source, *, cache_ms: int, clock: Callable[[], float]) -> None:
        self._source = source
        self._cache_seconds = cache_ms / 1000
        self._clock = clock
        self._known: dict[str, tuple[float, Agent | str]] = {}
        self._asked: dict[str, asyncio.Future[Agent | str]] = {}
        self._loader: asyncio.Task[None] | None = None

    def fresh(self, name: str) -> Agent | str | None:
        """What is known and still believed: the agent, or why it cannot be called; else None."""
        entry = self._known.get(name)
        if entry is None or self._clock() >= entry[0]:
            return None
        return entry[1]

    async def get(self, name: str) -> Agent | str:
        """The agent, or why it cannot be called. Waits for as long as the registry is away."""
        future = self._asked.get(name)
        if future is None:
            future = self._asked[name] = asyncio.get_running_loop().create_future()
            if self._loader is None:
                self._loader = asyncio.create_task(self._load_asked())
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Stop asking; whoever waits goes on waiting, and is to be cancelled."""
        if self._loader is not None:
            self._loader.cancel()
            await asyncio.gather(self._loader, return_exceptions=True)

    async def _load_asked(self) -> None:
        try:
            while self._asked:
                names = list(self._asked)[:_NAMES_AT_ONCE]
                records = await self._patiently(names)
                until = self._clock() + self._cache_seconds
                for name in names:
                    answer = _agent_or_reason(name, records.get(name))
                    self._known.pop(name, None)
                    # That an agent is missing is never believed: it may be registered a moment later.
                    if name in records:
                        self._known[name] = (until, answer)
                    self._asked.pop(name).set_result(answer)
                while len(self._known) > _CACHED_AGENTS:
                    del self._known[next(iter(self._known))]
        except Exception as error:
            # A mistake in the source is not to leave tasks waiting for ever: each of them fails with it, loudly.
            for future in self._asked.values():
                future.set_exception(error)
            self._asked.clear()
        finally:
            self._loader = None

    async def _patiently(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(RegistryAwayError),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            before_sleep=_log_away,
        ):
            with attempt:
                return await self._source.load(names)
        raise AssertionError("the retrying has no end of its own")


def _agent_or_reason(name: str, record: Mapping[str, Any] | None) -> Agent | str:
    if record is None:
        return f"agent {name!r} is not registered"
    try:
        return agent_from(record)
    except AgentRecordError as error:
        return str(error)


def _log_away(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    log.warning("tasks wait for the agent registry (try %d): %s", state.attempt_number, error)


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
