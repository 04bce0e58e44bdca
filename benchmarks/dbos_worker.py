"""The process in which DBOS works: `python -m benchmarks.dbos_worker '{"database_url": …}'`, started by `dbos_peer`.

Reads commands from standard input, a JSON object on a line, and answers each with one line; ends with its input.
"""

from __future__ import annotations

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

WORKFLOW = "bench_sequence"
QUEUE = "bench"
_HEADERS = {"Content-Type": "application/json"}


def launch(settings: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
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

    @DBOS.step(name="bench_call")
    def call(given: dict[str, Any]) -> dict[str, Any]:
        task_id = str(uuid.uuid4())
        answer = connections.request("POST", agent_url, body=request_body(task_id, given), headers=_HEADERS)
        if answer.status != 200:
            raise RuntimeError(f"the agent answered {answer.status}; expected 200: {answer.data[:300]!r}")
        result: dict[str, Any] = orjson.loads(answer.data)["result"]
        return result

    @DBOS.workflow(name=WORKFLOW)
    def sequence(given: dict[str, Any]) -> dict[str, Any]:
        for _ in range(settings["steps"]):
            given = call(given)
        return given

    DBOS.launch()
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=settings["worker_concurrency"],
        polling_interval_sec=settings["polling_interval_seconds"],
    )
    return sequence


def direct(sequence: Callable[[dict[str, Any]], dict[str, Any]], inputs: list[dict[str, Any]]) -> list[float]:
    """Call the workflow, one after the other; the seconds of each. Raises RuntimeError for a wrong result."""
    seconds = []
    for given in inputs:
        begun = time.perf_counter()
        result = sequence(given)
        seconds.append(time.perf_counter() - begun)
        if result != given:
            raise RuntimeError(f"the workflow gave back {result}; expected {given}")
    return seconds


def main() -> None:
    """Say `ready`, then serve commands."""
    sequence = launch(json.loads(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(direct(sequence, json.loads(line)["direct"])), flush=True)
    DBOS.destroy(workflow_completion_timeout_sec=0)


if __name__ == "__main__":
    main()
