"""The executor that the harness plays beside an API or a bridge that has none: what is judged then is they, not it.

It keeps the contract as far as a scenario can see: rows in the contract's columns, tasks after the rows, results by their
task, no task after a cancellation. It has no memory beyond the process, and one process alone.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from harness.history import Event
from harness.observer import Scope
from harness.oracle.composites import Ended
from harness.oracle.plan import NotAPlan, Plan
from harness.runner.errors import SetUpBroke
from harness.runner.loop_thread import LoopThread
from harness.runner.played_rows import PlayedRows
from harness.runner.played_run import PlayedRun, Step
from harness.runner.publisher import Publisher

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_AWAY_SECONDS = 30.0
_AGAIN_SECONDS = 0.2
_STATUS = {"SUCCESS": "COMPLETED", "FAILURE": "FAILED"}


class PlayedExecutor:
    """Takes up every execution request that the observer sees and that belongs to a scenario under way."""

    def __init__(self, publisher: Publisher, rows: PlayedRows) -> None:
        self._publisher = publisher
        self._rows = rows
        self._thread = LoopThread("played-executor")
        self._runs: dict[str, PlayedRun] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, tuple[str, asyncio.Future[Ended]]] = {}
        self._cancelled_before: set[str] = set()
        self._taken_up: dict[str, str] = {}
        """The timestamp of the request that a run was last taken up for; of retries alone."""

    def start(self) -> None:
        """Begin to execute."""
        self._thread.start()

    def stop(self) -> None:
        """Let go of all runs."""
        self._thread.stop()

    def saw(self, scope: Scope, event: Event) -> None:
        """Take a message of the topics of requests, cancellations and results."""
        value = event["value"]
        if not isinstance(value, dict) or not isinstance(value.get("run_id"), str):
            return
        if event["topic"] == "requests" and isinstance(value.get("input_data"), dict):
            self._thread.call(self._thread.begin, self._start(scope, value))
        elif event["topic"] == "cancellations":
            self._thread.call(self._thread.begin, self._cancel(scope, value))
        elif event["topic"] == "results":
            self._thread.call(self._take, value)

    def _take(self, result: Mapping[str, Any]) -> None:
        run_id, waiting = self._waiting.get(str(result.get("task_id")), (None, None))
        status = _STATUS.get(str(result.get("status")))
        if waiting is None or waiting.done() or run_id != result["run_id"] or status is None:
            return
        told = result.get("error_message") or "the agent gave no reason"
        waiting.set_result(Ended(status, result.get("output_data") if status == "COMPLETED" else told))

    async def _start(self, scope: Scope, request: Mapping[str, Any]) -> None:
        run_id, plan = request["run_id"], request.get("workflow_plan")
        if run_id in self._runs:
            self._taken_up[run_id] = str(request.get("timestamp"))
        try:
            if run_id in self._cancelled_before or not await self._take_up(request):
                return
            working = asyncio.current_task()
            assert working is not None
            self._working[run_id] = working
            try:
                run = self._runs.get(run_id) or self._made(scope, run_id, Plan.of(plan), request["input_data"])
            except NotAPlan as wrong:
                await self._write(self._rows.end_run, run_id, f"the plan is not valid: {wrong}")
                return
            if isinstance(request.get("resume_from_step"), str):
                run.resume_from(request["resume_from_step"])
            await self._write(self._rows.end_run, run_id, await run.go_on())
        except SetUpBroke as error:
            log.warning("a run of the played executor was lost: %s", error)
            scope.writer.add("harness", "gap", of="played executor", reason=str(error))
            scope.broken = scope.broken or str(error)
        finally:
            if self._working.get(run_id) is asyncio.current_task():
                del self._working[run_id]

    async def _take_up(self, request: Mapping[str, Any]) -> bool:
        try:
            return await self._thread.blocking(self._rows.take_up, request)
        except SetUpBroke:
            return await self._write(functools.partial(self._rows.take_up, again=True), request)

    async def _write(self, change: Callable[..., _T], *arguments: Any) -> _T:
        """Change rows, again and again while a scenario keeps the database away. Raises :class:`SetUpBroke` at last."""
        until = time.monotonic() + _AWAY_SECONDS
        while True:
            try:
                return await self._thread.blocking(change, *arguments)
            except SetUpBroke:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _cancel(self, scope: Scope, request: Mapping[str, Any]) -> None:
        run_id, asked_at = request["run_id"], str(request.get("timestamp"))
        working = self._working.get(run_id)
        if working is not None and asked_at < self._taken_up.get(run_id, ""):
            # It is of before the retry that the run is at work for (CAN-11).
            return
        if working is not None:
            working.cancel()
        # A run that was at work and is not any more has ended, or waits to be taken up for a retry that came after.
        is_new = working is not None or run_id not in self._runs
        try:
            # A row that is PENDING again was retried, and the message is of before.
            from_statuses = ["PENDING", "RUNNING"] if working is None else ["RUNNING"]
            by = request.get("cancelled_by")
            if is_new and not await self._write(self._rows.cancel, run_id, by, from_statuses):
                self._cancelled_before.add(run_id)
        except SetUpBroke as error:
            scope.broken = scope.broken or str(error)

    def _made(self, scope: Scope, run_id: str, plan: Plan, input_data: Any) -> PlayedRun:
        async def ask(step: Step) -> Ended:
            return await self._ask(scope, run_id, step)

        run = self._runs[run_id] = PlayedRun(run_id, plan, input_data, ask)
        return run

    async def _ask(self, scope: Scope, run_id: str, step: Step) -> Ended:
        fresh: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        _, waiting = self._waiting.setdefault(step.task_id, (run_id, fresh))
        if not await self._write(self._rows.begin_step, run_id, step):
            raise asyncio.CancelledError
        await self._tell(scope, run_id, step, "RUNNING")
        task = {
            "run_id": run_id,
            "task_id": step.task_id,
            "agent_name": step.agent,
            "input_data": step.input,
            "correlation_id": run_id,
            "timestamp": _now(),
        }
        await self._thread.blocking(self._publisher.publish, scope, "tasks", run_id, task)
        # A step that is given up is asked for again under the same id, and its result counts then (RES-10).
        end = await asyncio.shield(waiting)
        await self._write(self._rows.end_step, step, end)
        await self._tell(scope, run_id, step, end.status)
        return end

    async def _tell(self, scope: Scope, run_id: str, step: Step, status: str) -> None:
        update = {
            "run_id": run_id,
            "step_id": step.id,
            "step_name": step.name,
            "status": status,
            "timestamp": _now(),
            "metadata": None,
        }
        await self._thread.blocking(self._publisher.publish, scope, "updates", run_id, update)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
