"""DBOS as a contender: a process of its own, a database of its own on the same server."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from benchmarks.contender import Ended, Place, Say, Submit
from benchmarks.databases import fresh_database
from benchmarks.rows import RowWatch
from benchmarks.worker_process import WorkerProcess, worker_process
from benchmarks.workload import Workload

# They stand in dbos_worker as well; that module cannot be imported without starting DBOS's registry here.
_WORKFLOW = "bench"
_QUEUE = "bench"
_BULK_THREADS = 4
_DIRECT_SECONDS = 60.0
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
            "steps": "synchronous, over a kept-alive urllib3 pool, JSON by orjson; parallel branches are asynchronous steps "
            "under asyncio.gather, with the same call in a thread",
            "asked for by": "DBOSClient.enqueue, and by calling the workflow in the worker's own process (direct)",
            "backlog": "DBOSClient.enqueue while the worker is stopped",
        }

    def missing(self, say: Say) -> str | None:
        """Whether the library is there."""
        del say
        return None if self._installed else "the package dbos is not installed here; `nox -s bench` installs it"

    @contextlib.contextmanager
    def start(self, place: Place, workload: Workload) -> Iterator[DbosEntrant]:
        """Raises RuntimeError, with what the worker said, when it does not come up."""
        with fresh_database(place.stack.database_url, "dbos") as database_url:
            settings = {
                **_SETTINGS,
                "database_url": database_url,
                "agent_url": place.agent_url,
                "workload": dataclasses.asdict(workload),
            }
            with (
                worker_process(self.name, "benchmarks.dbos_worker", settings, place.stack.warden) as worker,
                RowWatch(database_url) as watch,
            ):
                yield DbosEntrant(database_url, workload, worker, watch)


class DbosEntrant:
    """The running worker. The client that enqueues is in the benchmark's own process."""

    def __init__(self, database_url: str, workload: Workload, worker: WorkerProcess, watch: RowWatch) -> None:
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
        inputs = [self._workload.input_data(number) for number in range(runs)]
        seconds: list[float] = self._worker.ask({"direct": inputs}, _DIRECT_SECONDS + runs * self._workload.steps)
        return seconds

    def lay_backlog(self, first: int, runs: int) -> None:
        """Stop the worker, and enqueue."""
        self._worker.pause()
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
        self._worker.resume()

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

    def ended(self, limit: int) -> Sequence[Ended]:
        """Input and output as DBOS keeps them."""
        with self._client() as client:
            found = client.list_workflows(status="SUCCESS", queue_name=_QUEUE, limit=limit, sort_desc=True)
        return [Ended(workflow.input["args"][0], workflow.output) for workflow in found]

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        from dbos import DBOSClient

        client = DBOSClient(system_database_url=self._database_url)
        try:
            yield client
        finally:
            client.destroy()


def _enqueue(client: Any, given: Mapping[str, Any]) -> str:
    return str(client.enqueue({"workflow_name": _WORKFLOW, "queue_name": _QUEUE}, given).get_workflow_id())
