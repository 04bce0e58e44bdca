"""The bridge that the harness plays for a subject that has none: a consumer of tasks, calls to agents, results."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import aiohttp

from harness.history import Event
from harness.observer import Scope
from harness.runner.agent_calls import Reply, ask
from harness.runner.errors import SetUpBroke
from harness.runner.publisher import Publisher

log = logging.getLogger(__name__)

_STOP_SECONDS = 10.0
_PUBLISHERS = 4


class PlayedBridge:
    """Answers every task that the observer sees and that belongs to a scenario under way. Each message is answered, so
    that a task that comes twice is asked twice, as the contract allows."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._records: dict[str, Mapping[str, Any]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="played-bridge", daemon=True)
        self._pool = ThreadPoolExecutor(_PUBLISHERS, thread_name_prefix="played-bridge-results")
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(_STOP_SECONDS)

    def stop(self) -> None:
        """Let go of all calls."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._loop.close()

    def register(self, record: Mapping[str, Any]) -> None:
        """Know an agent."""
        self._records[record["name"]] = record

    def forget(self, name: str) -> None:
        """Know an agent no more."""
        self._records.pop(name, None)

    def saw(self, scope: Scope, event: Event) -> None:
        """Take a message of the topic of tasks."""
        value = event["value"]
        if (
            isinstance(value, dict)
            and {"run_id", "task_id", "agent_name", "input_data", "correlation_id"} <= value.keys()
        ):
            self._loop.call_soon_threadsafe(self._begin, scope, value)

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False)

    async def _close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _begin(self, scope: Scope, task: Mapping[str, Any]) -> None:
        running = self._loop.create_task(self._answer(scope, task))
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)

    async def _answer(self, scope: Scope, task: Mapping[str, Any]) -> None:
        record = self._records.get(task["agent_name"])
        if record is None or record.get("status", "active") != "active":
            reply = Reply(error=f"no active agent is called {task['agent_name']}")
        else:
            assert self._session is not None
            reply = await ask(self._session, record, task)
        result = {
            "run_id": task["run_id"],
            "task_id": task["task_id"],
            "status": "SUCCESS" if reply.error is None else "FAILURE",
            "output_data": reply.output,
            "correlation_id": task["correlation_id"],
            "error_message": reply.error,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        try:
            await self._loop.run_in_executor(
                self._pool, self._publisher.publish, scope, "results", task["run_id"], result
            )
        except SetUpBroke as error:
            log.warning("a result of the played bridge was lost: %s", error)
            scope.writer.add("harness", "gap", of="played bridge", reason=str(error))
