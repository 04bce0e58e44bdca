"""The bridge that the harness plays for a subject that has none: a consumer of tasks, calls to agents, results."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp

from harness.history import Event
from harness.observer import Scope
from harness.runner.agent_calls import Reply, ask
from harness.runner.errors import SetUpBroke
from harness.runner.loop_thread import LoopThread
from harness.runner.publisher import Publisher

log = logging.getLogger(__name__)


class PlayedBridge:
    """Answers every task that the observer sees and that belongs to a scenario under way. Each message is answered, so
    that a task that comes twice is asked twice, as the contract allows."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._records: dict[str, Mapping[str, Any]] = {}
        self._thread = LoopThread("played-bridge")
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start(self._open())

    def stop(self) -> None:
        """Let go of all calls."""
        self._thread.stop(self._close())

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
            self._thread.call(self._begin, scope, value)

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False)

    async def _close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _begin(self, scope: Scope, task: Mapping[str, Any]) -> None:
        self._thread.begin(self._answer(scope, task))

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
            await self._thread.blocking(self._publisher.publish, scope, "results", task["run_id"], result)
        except SetUpBroke as error:
            log.warning("a result of the played bridge was lost: %s", error)
            scope.writer.add("harness", "gap", of="played bridge", reason=str(error))
