"""The process in which Temporal's workflows and activities run: `python -m benchmarks.temporal_worker '{…}'`.

Started by `temporal_peer`. Reads commands from standard input, a JSON object on a line, and answers each with one line;
ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import aiohttp
import orjson
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

from benchmarks.agent_requests import request_body
from benchmarks.temporal_client import TASK_QUEUE, WORKFLOW, connect
from benchmarks.workload import Workload

_CALL = "bench_call"
_CALL_TIMEOUT = timedelta(seconds=60)
_HEADERS = {"Content-Type": "application/json"}


@workflow.defn(name=WORKFLOW)
class BenchRun:
    """The workload as a workflow. The plan says which one, and whether its calls are local activities."""

    @workflow.run
    async def run(self, plan: dict[str, Any], given: dict[str, Any]) -> Any:
        """The output of the run, in the form of `Workload.expected_output`."""
        workload = Workload(**plan["workload"])
        call = _local_activity if plan["local"] else _activity
        if workload.shape == "parallel":
            return await asyncio.gather(*(call(each) for each in workload.inputs_of_calls(given)))
        if workload.shape == "loop":
            return [await call(each) for each in workload.inputs_of_calls(given)]
        for _ in range(workload.steps):
            given = await call(given)
        return given


async def _activity(given: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = await workflow.execute_activity(
        _CALL, given, result_type=dict, start_to_close_timeout=_CALL_TIMEOUT
    )
    return result


async def _local_activity(given: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = await workflow.execute_local_activity(
        _CALL, given, result_type=dict, start_to_close_timeout=_CALL_TIMEOUT
    )
    return result


class AgentCaller:
    """The activity: one call of the agent over kept-alive connections."""

    def __init__(self, session: aiohttp.ClientSession, agent_url: str) -> None:
        self._session = session
        self._agent_url = agent_url

    @activity.defn(name=_CALL)
    async def call(self, given: dict[str, Any]) -> dict[str, Any]:
        """What the agent gives back. Raises RuntimeError for anything but 200."""
        body = request_body(str(uuid.uuid4()), given)
        async with self._session.post(self._agent_url, data=body, headers=_HEADERS) as answer:
            text = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the agent answered {answer.status}; expected 200: {text[:300]!r}")
        result: dict[str, Any] = orjson.loads(text)["result"]
        return result


def worker_of(client: Client, caller: AgentCaller, settings: Mapping[str, Any]) -> Worker:
    """A worker that has not begun yet."""
    pollers = PollerBehaviorSimpleMaximum(settings["pollers"])
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[BenchRun],
        activities=[caller.call],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=settings["cached_workflows"],
        max_concurrent_workflow_tasks=settings["concurrent_tasks"],
        max_concurrent_activities=settings["concurrent_tasks"],
        max_concurrent_local_activities=settings["concurrent_tasks"],
        max_eager_activity_reservations_per_workflow_task=settings["eager_activities"],
        workflow_task_poller_behavior=pollers,
        activity_task_poller_behavior=pollers,
    )


async def direct(client: Client, plan: Mapping[str, Any], inputs: list[dict[str, Any]]) -> list[float]:
    """Start runs eagerly, in the process that does them, and wait for each; the seconds of each.

    Raises RuntimeError for a wrong result.
    """
    workload = Workload(**plan["workload"])
    seconds = []
    for given in inputs:
        begun = time.perf_counter()
        handle = await client.start_workflow(
            WORKFLOW, args=[plan, given], id=f"direct-{uuid.uuid4()}", task_queue=TASK_QUEUE, request_eager_start=True
        )
        result = await handle.result()
        seconds.append(time.perf_counter() - begun)
        if result != workload.expected_output(given):
            raise RuntimeError(f"the workflow gave back {result}; expected {workload.expected_output(given)}")
    return seconds


async def serve(settings: Mapping[str, Any]) -> None:
    """Work, and do what is asked: `{"pause": true}`, `{"resume": true}`, `{"direct": [inputs]}`."""
    client = await connect(settings["address"])
    connector = aiohttp.TCPConnector(limit=settings["concurrent_tasks"])
    timeout = aiohttp.ClientTimeout(total=_CALL_TIMEOUT.total_seconds())
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        contextlib.AsyncExitStack() as turn,
    ):
        caller = AgentCaller(session, settings["agent_url"])
        await turn.enter_async_context(worker_of(client, caller, settings))
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            answer: Any = None
            if "pause" in command:
                await turn.aclose()
            elif "resume" in command:
                await turn.enter_async_context(worker_of(client, caller, settings))
            else:
                answer = await direct(client, settings["plan"], command["direct"])
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
