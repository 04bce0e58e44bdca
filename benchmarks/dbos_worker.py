"""The process in which DBOS works: `python -m benchmarks.dbos_worker '{"database_url": …}'`, started by `dbos_peer`.

Reads commands from standard input, a JSON object on a line, and answers each with one line; ends with its input.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import urllib3
from dbos import DBOS

from benchmarks.agent_requests import request_body
from benchmarks.workload import Workload

WORKFLOW = "bench"
QUEUE = "bench"
_HEADERS = {"Content-Type": "application/json"}
Run = Callable[[dict[str, Any]], Any]


def launch(settings: Mapping[str, Any], workload: Workload) -> Run:
    """Register workflow and step, start DBOS; gives the workflow."""
    threads = settings["worker_concurrency"] + 8
    DBOS(
        config={
            "name": "bench-peer",
            "system_database_url": settings["database_url"],
            "sys_db_pool_size": settings["pool_size"],
            "max_executor_threads": threads,
            "log_level": "WARNING",
        }
    )
    connections = urllib3.PoolManager(maxsize=threads, retries=False, timeout=60.0)
    agent_url = settings["agent_url"]

    def post(given: dict[str, Any]) -> dict[str, Any]:
        task_id = str(uuid.uuid4())
        answer = connections.request("POST", agent_url, body=request_body(task_id, given), headers=_HEADERS)
        if answer.status != 200:
            raise RuntimeError(f"the agent answered {answer.status}; expected 200: {answer.data[:300]!r}")
        result: dict[str, Any] = orjson.loads(answer.data)["result"]
        return result

    run = workflow_of(workload, post)
    DBOS.launch()
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=settings["worker_concurrency"],
        polling_interval_sec=settings["polling_interval_seconds"],
    )
    return run


def workflow_of(workload: Workload, post: Callable[[dict[str, Any]], dict[str, Any]]) -> Run:
    """The workload as a workflow of DBOS; of branches an asynchronous one, since only these run side by side in it."""

    @DBOS.step(name="bench_call")
    def call(given: dict[str, Any]) -> dict[str, Any]:
        return post(given)

    @DBOS.step(name="bench_call_beside")
    async def call_beside(given: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(post, given)

    if workload.shape == "parallel":

        @DBOS.workflow(name=WORKFLOW)
        async def parallel(given: dict[str, Any]) -> list[dict[str, Any]]:
            return list(await asyncio.gather(*(call_beside(each) for each in workload.inputs_of_calls(given))))

        return parallel

    if workload.shape == "loop":

        @DBOS.workflow(name=WORKFLOW)
        def loop(given: dict[str, Any]) -> list[dict[str, Any]]:
            return [call(each) for each in workload.inputs_of_calls(given)]

        return loop

    @DBOS.workflow(name=WORKFLOW)
    def sequence(given: dict[str, Any]) -> dict[str, Any]:
        for _ in range(workload.steps):
            given = call(given)
        return given

    return sequence


def direct(run: Run, workload: Workload, inputs: list[dict[str, Any]]) -> list[float]:
    """Call the workflow, one after the other; the seconds of each. Raises RuntimeError for a wrong result."""
    seconds = []
    with asyncio.Runner() as runner:
        for given in inputs:
            begun = time.perf_counter()
            result = run(given)
            if inspect.iscoroutine(result):
                result = runner.run(result)
            seconds.append(time.perf_counter() - begun)
            if result != workload.expected_output(given):
                raise RuntimeError(f"the workflow gave back {result}; expected {workload.expected_output(given)}")
    return seconds


def main() -> None:
    """Say `ready`, then serve commands."""
    settings = json.loads(sys.argv[1])
    workload = Workload(**settings["workload"])
    run = launch(settings, workload)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(direct(run, workload, json.loads(line)["direct"])), flush=True)
    DBOS.destroy(workflow_completion_timeout_sec=0)


if __name__ == "__main__":
    main()
