"""Looking agents up: once for many, believed for a while, patient while the registry is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from system.bridge.agent import Agent
from system.bridge.registry import Registry, RegistryAwayError, RestSource

_RECORD = {"name": "a", "url": "http://127.0.0.1:1/", "status": "active"}


class _Source:
    """Holds records; is away as often as it is told to."""

    def __init__(self, records: Mapping[str, Mapping[str, Any]], *, away_times: int = 0) -> None:
        self.records = dict(records)
        self.away_times = away_times
        self.asked: list[list[str]] = []

    async def load(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        self.asked.append(list(names))
        await asyncio.sleep(0)
        if self.away_times:
            self.away_times -= 1
            raise RegistryAwayError("away")
        return {name: self.records[name] for name in names if name in self.records}


class _Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def _run(source: _Source, use: Callable[[Registry, _Clock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = _Clock()
        registry = Registry(source, cache_ms=2000, clock=clock)
        await use(registry, clock)
        await registry.close()

    asyncio.run(run())


def test_a_hundred_tasks_at_once_ask_once() -> None:
    source = _Source({"a": _RECORD})

    async def use(registry: Registry, _: _Clock) -> None:
        answers = await asyncio.gather(*(registry.get("a") for _ in range(100)))
        assert all(isinstance(answer, Agent) for answer in answers)

    _run(source, use)
    assert source.asked == [["a"]]


def test_a_record_is_believed_for_the_cache_time_and_no_longer() -> None:
    async def use(registry: Registry, clock: _Clock) -> None:
        assert registry.fresh("a") is None
        agent = await registry.get("a")
        clock.seconds = 1.999
        assert registry.fresh("a") is agent
        clock.seconds = 2.0
        assert registry.fresh("a") is None

    _run(_Source({"a": _RECORD}), use)


def test_an_agent_that_is_not_there_is_named_and_found_once_it_is_registered() -> None:
    source = _Source({})

    async def use(registry: Registry, clock: _Clock) -> None:
        assert await registry.get("a") == "agent 'a' is not registered"
        source.records["a"] = _RECORD
        clock.seconds = 2.0
        assert registry.fresh("a") is None
        assert isinstance(await registry.get("a"), Agent)

    _run(source, use)


def test_tasks_wait_while_the_registry_is_away() -> None:
    source = _Source({"a": _RECORD}, away_times=2)

    async def use(registry: Registry, _: _Clock) -> None:
        assert isinstance(await registry.get("a"), Agent)

    _run(source, use)
    assert len(source.asked) == 3


def test_an_inactive_agent_is_a_reason_that_names_it() -> None:
    async def use(registry: Registry, _: _Clock) -> None:
        reason = await registry.get("a")
        assert isinstance(reason, str)
        assert "'a'" in reason
        assert "inactive" in reason

    _run(_Source({"a": {**_RECORD, "status": "inactive"}}), use)


def test_a_mistake_in_the_source_leaves_nobody_waiting() -> None:
    class Mistaken(_Source):
        async def load(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
            raise ZeroDivisionError(str(names))

    async def use(registry: Registry, _: _Clock) -> None:
        with pytest.raises(ZeroDivisionError):
            await registry.get("a")

    _run(Mistaken({}), use)


def _with_rest(answer: Callable[[web.BaseRequest], web.Response], use: Callable[[RestSource], Awaitable[None]]) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return answer(request)

    async def run() -> None:
        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            await use(RestSource(f"http://user:pa55word@127.0.0.1:{runner.addresses[0][1]}", session))
        await runner.cleanup()

    asyncio.run(run())


def test_rest_is_read_page_by_page_until_all_are_found() -> None:
    asked: list[str] = []

    def answer(request: web.BaseRequest) -> web.Response:
        assert request.path == "/api/v1/agents"
        page = int(request.query["page"])
        asked.append(request.query["page"])
        return web.json_response({"items": [{**_RECORD, "name": f"agent-{page}"}], "total_pages": 4})

    async def use(source: RestSource) -> None:
        assert set(await source.load(["agent-2"])) == {"agent-2"}
        assert asked == ["1", "2"]
        assert await source.load(["nobody"]) == {}
        assert asked == ["1", "2", "1", "2", "3", "4"]

    _with_rest(answer, use)


@pytest.mark.parametrize(
    "answer", [web.Response(status=503), web.Response(text="<html>"), web.json_response({"items": 3})]
)
def test_a_rest_registry_that_does_not_answer_as_it_should_is_away(answer: web.Response) -> None:
    async def use(source: RestSource) -> None:
        with pytest.raises(RegistryAwayError) as away:
            await source.load(["a"])
        assert "pa55word" not in str(away.value)

    _with_rest(lambda _: answer, use)
