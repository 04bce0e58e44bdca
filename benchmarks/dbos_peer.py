"""DBOS as a contender: a process of its own, a database of its own on the same server."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final

import psycopg2

from benchmarks.contender import Place, Submit
from benchmarks.rows import RowWatch
from benchmarks.workload import Workload

_ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 60.0
_END_SECONDS = 15.0
_BULK_THREADS = 4
_STATUS = "SELECT status FROM dbos.workflow_status WHERE workflow_uuid = %s"
_UNENDED = "SELECT EXISTS (SELECT FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING'))"
_COMPLETED = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS' AND queue_name IS NOT NULL"
_BAD = frozenset(("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"))
_SETTINGS: Final[Mapping[str, Any]] = {"pool_size": 20, "worker_concurrency": 32, "polling_interval_seconds": 0.01}


class Dbos:
    """The library of that name, from the bench's own environment."""

    name = "DBOS"

    def __init__(self) -> None:
        self._installed = importlib.util.find_spec("dbos") is not None
        self.version = importlib.metadata.version("dbos") if self._installed else "absent"
        self.configuration: Mapping[str, str] = {
            "processes": "1 worker",
            "settings": f"queue with worker_concurrency={_SETTINGS['worker_concurrency']} and polling_interval_sec="
            f"{_SETTINGS['polling_interval_seconds']} (default 1.0); sys_db_pool_size={_SETTINGS['pool_size']}; "
            "log_level=WARNING; the rest default",
            "steps": "synchronous, over a kept-alive urllib3 pool, JSON by orjson",
            "asked for by": "DBOSClient.enqueue, and by calling the workflow in the worker's own process (direct)",
            "backlog": "DBOSClient.enqueue while the worker is stopped",
        }

    def missing(self, workload: Workload) -> str | None:
        """Whether the library is there."""
        del workload
        return None if self._installed else "the package dbos is not installed here; `nox -s bench` installs it"

    @contextlib.contextmanager
    def start(self, place: Place, workload: Workload) -> Iterator[DbosEntrant]:
        """Raises RuntimeError, with what the worker said, when it does not come up."""
        database_url = _create_database(place.stack.database_url)
        settings = {
            **_SETTINGS,
            "database_url": database_url,
            "agent_url": place.agent_url,
            "steps": workload.steps,
        }
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.dbos_worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env={**os.environ, **place.stack.warden.environment()},
        )
        place.stack.warden.adopt(worker.pid)
        try:
            assert worker.stdin is not None
            assert worker.stdout is not None
            _line(worker.stdout, worker, "ready")
            with RowWatch(database_url) as watch:
                yield DbosEntrant(database_url, workload, worker, watch)
            worker.send_signal(signal.SIGCONT)
            worker.stdin.close()
            worker.wait(_END_SECONDS)
        finally:
            worker.kill()
            with worker:
                worker.wait()
            place.stack.warden.release(worker.pid)


class DbosEntrant:
    """The running worker. The client that enqueues is in the benchmark's own process."""

    def __init__(self, database_url: str, workload: Workload, worker: subprocess.Popen[str], watch: RowWatch) -> None:
        self._database_url = database_url
        self._workload = workload
        self._worker = worker
        self._watch = watch

    @property
    def roles(self) -> Mapping[str, Sequence[int]]:
        """The worker."""
        return {"worker": [self._worker.pid]}

    def ways(self) -> Mapping[str, Callable[[int], list[float]]]:
        """Through the queue, and called directly."""
        return {"front door": self._one_by_one, "direct": self._direct}

    def _one_by_one(self, runs: int) -> list[float]:
        seconds = []
        with self._client() as client:
            for number in range(runs):
                begun = time.perf_counter()
                run_id = _enqueue(client, self._workload.input_data(number))
                self._watch.wait_for(_STATUS, run_id, "SUCCESS", _BAD)
                seconds.append(time.perf_counter() - begun)
        return seconds

    def _direct(self, runs: int) -> list[float]:
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        inputs = [self._workload.input_data(number) for number in range(runs)]
        self._worker.stdin.write(json.dumps({"direct": inputs}) + "\n")
        self._worker.stdin.flush()
        seconds: list[float] = json.loads(_line(self._worker.stdout, self._worker, "[", _START_SECONDS + runs))
        return seconds

    def lay_backlog(self, first: int, runs: int) -> None:
        """Stop the worker, and enqueue."""
        self._worker.send_signal(signal.SIGSTOP)
        numbers = range(first, first + runs)

        def enqueue_some(offset: int) -> None:
            with self.submitter() as submit:
                for number in numbers[offset::_BULK_THREADS]:
                    submit(number)

        with ThreadPoolExecutor(_BULK_THREADS) as pool:
            for outcome in pool.map(enqueue_some, range(_BULK_THREADS)):
                assert outcome is None

    def release(self) -> None:
        """SIGCONT to the worker."""
        self._worker.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def submitter(self) -> Iterator[Submit]:
        """A client with its own connections."""
        with self._client() as client:

            def submit(number: int) -> None:
                _enqueue(client, self._workload.input_data(number))

            yield submit

    def is_drained(self) -> bool:
        """No workflow is ENQUEUED or PENDING."""
        return not self._watch.one(_UNENDED)

    def completed(self) -> int:
        """Workflows that came through the queue; the database is this start's own."""
        return int(self._watch.one(_COMPLETED))

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        from dbos import DBOSClient

        client = DBOSClient(system_database_url=self._database_url)
        try:
            yield client
        finally:
            client.destroy()


def _enqueue(client: Any, given: Mapping[str, Any]) -> str:
    # The names stand in dbos_worker as well; that module cannot be imported without starting DBOS's registry here.
    return str(client.enqueue({"workflow_name": "bench_sequence", "queue_name": "bench"}, given).get_workflow_id())


def _create_database(server_url: str) -> str:
    name = f"bench_dbos_{uuid.uuid4().hex[:12]}"
    with contextlib.closing(psycopg2.connect(server_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return f"{server_url.rpartition('/')[0]}/{name}"


def _line(
    stream: IO[str], worker: subprocess.Popen[str], beginning: str, timeout_seconds: float = _START_SECONDS
) -> str:
    """The worker's next line. Ends a worker that is silent for too long; raises RuntimeError for anything unexpected."""
    watchdog = threading.Timer(timeout_seconds, worker.kill)
    watchdog.start()
    try:
        line = stream.readline()
    finally:
        watchdog.cancel()
    if not line.startswith(beginning):
        raise RuntimeError(
            f"the worker of DBOS wrote {line!r}; expected a line that begins with {beginning!r} within "
            f"{timeout_seconds:.0f} s (exit code {worker.poll()}). Its messages stand above."
        )
    return line
