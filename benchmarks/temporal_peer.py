"""Temporal as a contender, twice: its server on the shared PostgreSQL, a worker with its Python SDK beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from benchmarks import temporal_build
from benchmarks.contender import Ended, Place, Say, Submit
from benchmarks.rows import RowWatch
from benchmarks.temporal_server import CONNECTIONS, HISTORY_SHARDS, TemporalServer, temporal_server
from benchmarks.worker_process import WorkerProcess, worker_process
from benchmarks.workload import Workload

if TYPE_CHECKING:
    from benchmarks.temporal_client import TemporalClient

_BULK_AT_ONCE = 16
_DIRECT_SECONDS = 60.0
_DIRECT_SECONDS_PER_CALL = 1.0
_SETTINGS: Final[Mapping[str, Any]] = {
    "pollers": 8,
    "concurrent_tasks": 100,
    "eager_activities": 10,
    "cached_workflows": 5000,
}
# The server's own words: 1 is created and 2 running of a state, 2 is completed of a status.
_STATUS = f"""
    SELECT status::text FROM current_executions
    WHERE shard_id BETWEEN 1 AND {HISTORY_SHARDS} AND namespace_id = '\\x{{namespace}}' AND workflow_id = %s
"""
_OPEN = "SELECT workflow_id FROM current_executions WHERE state IN (1, 2) AND starts_with(workflow_id, 'run-') LIMIT 1"
_COMPLETED = "SELECT count(*) FROM current_executions WHERE status = 2 AND starts_with(workflow_id, 'run-')"
_LATEST = """
    SELECT workflow_id FROM current_executions WHERE status = 2 AND starts_with(workflow_id, 'run-')
    ORDER BY start_time DESC LIMIT %s
"""
_GOOD = "2"
# Failed, cancelled, terminated, continued as new, timed out.
_BAD = frozenset("34567")


class Temporal:
    """The server of that name, built here, and its SDK from the bench's own environment.

    With `local` the steps are local activities: they run within one workflow task, and what they gave is durable only
    when that task ends.
    """

    def __init__(self, *, local: bool = False, may_build: bool = True) -> None:
        """Without `may_build` it takes part only where its server has been built before."""
        self._local = local
        self._may_build = may_build
        self._programs: temporal_build.Programs | None = None
        self._installed = importlib.util.find_spec("temporalio") is not None
        sdk = importlib.metadata.version("temporalio") if self._installed else "absent"
        self.name = "Temporal, local activities" if local else "Temporal"
        self.version = f"{temporal_build.VERSION.lstrip('v')} (SDK {sdk})"
        eager = f"ordinary activities, up to {_SETTINGS['eager_activities']} of a workflow task begun eagerly (sent back with it)"
        kind = "local activities" if local else eager
        self.configuration: Mapping[str, str] = {
            "processes": "1 server with all four services, 1 worker",
            "settings": f"numHistoryShards={HISTORY_SHARDS}; maxConns={CONNECTIONS} for each service; one partition for each "
            "task queue, so that tasks are matched at once; eager activities and eager start on; limits of requests and "
            "queries a second raised out of the way; log level error; no metrics. Visibility on PostgreSQL without its GIN "
            "indexes, which need an extension that the embedded server lacks",
            "worker": f"no sandbox; {_SETTINGS['pollers']} pollers of each kind; {_SETTINGS['concurrent_tasks']} workflow tasks "
            f"and activities at once; {_SETTINGS['cached_workflows']} cached workflows; gRPC without compression",
            "steps": f"{kind}; asynchronous over one kept-alive aiohttp session, JSON by orjson; parallel branches under "
            "asyncio.gather",
            "asked for by": "Client.start_workflow, and eagerly from the worker's own process, awaited by its result (direct)",
            "backlog": "Client.start_workflow while the worker is shut down; it begins anew when the clock does",
        }

    def missing(self, say: Say) -> str | None:
        """Whether SDK and server are there; builds the server."""
        if not self._installed:
            return "the package temporalio is not installed here; `nox -s bench` installs it"
        try:
            self._programs = temporal_build.programs(say, may_build=self._may_build)
        except temporal_build.CannotBuild as error:
            return str(error)
        return None

    @contextlib.contextmanager
    def start(self, place: Place, workload: Workload) -> Iterator[TemporalEntrant]:
        """Raises RuntimeError, StackError or TimeoutError, with what was said, when server or worker does not come up."""
        from benchmarks.temporal_client import TemporalClient, make_namespace

        assert self._programs is not None, "missing() is asked first"
        plan = {"workload": dataclasses.asdict(workload), "local": self._local}
        with temporal_server(self._programs, place.stack) as server:
            namespace = make_namespace(server)
            settings = {**_SETTINGS, "address": server.address, "agent_url": place.agent_url, "plan": plan}
            with (
                worker_process(self.name, "benchmarks.temporal_worker", settings, place.stack.warden) as worker,
                RowWatch(server.database_url) as watch,
                TemporalClient(server.address, plan) as client,
            ):
                client.try_out(workload.input_data(0))
                yield TemporalEntrant(server, namespace, workload, worker, watch, client, plan)


class TemporalEntrant:
    """The running server and worker. The clients that start runs are in the benchmark's own process."""

    def __init__(
        self,
        server: TemporalServer,
        namespace: uuid.UUID,
        workload: Workload,
        worker: WorkerProcess,
        watch: RowWatch,
        client: TemporalClient,
        plan: Mapping[str, Any],
    ) -> None:
        self._server = server
        self._status = _STATUS.format(namespace=namespace.hex)
        self._workload = workload
        self._worker = worker
        self._watch = watch
        self._client = client
        self._plan = plan
        self._seen_open: str | None = None

    @property
    def roles(self) -> Mapping[str, Sequence[int]]:
        """Server and worker."""
        return {"server": [self._server.pid], "worker": [self._worker.pid]}

    def ways(self) -> Mapping[str, Callable[[int], list[float]]]:
        """Through the frontend with the row telling of the end, and from the worker's own process."""
        return {"front door": self._one_by_one, "direct": self._direct}

    def _one_by_one(self, runs: int) -> list[float]:
        seconds = []
        for number in range(runs):
            begun = time.perf_counter()
            run_id = _run_id(number)
            self._client.start(run_id, self._workload.input_data(number))
            self._watch.wait_for(self._status, run_id, _GOOD, _BAD)
            seconds.append(time.perf_counter() - begun)
        return seconds

    def _direct(self, runs: int) -> list[float]:
        inputs = [self._workload.input_data(number) for number in range(runs)]
        limit = _DIRECT_SECONDS + runs * self._workload.steps * _DIRECT_SECONDS_PER_CALL
        seconds: list[float] = self._worker.ask({"direct": inputs}, limit)
        return seconds

    def lay_backlog(self, first: int, runs: int) -> None:
        """Shut the worker down, and start the runs. A worker that is only stopped would keep the tasks that its polls got,
        until they time out."""
        self._worker.ask({"pause": True})
        given = {_run_id(number): self._workload.input_data(number) for number in range(first, first + runs)}
        self._client.start_many(given, _BULK_AT_ONCE)

    def release(self) -> None:
        """Have the process begin a worker."""
        self._worker.ask({"resume": True})

    @contextlib.contextmanager
    def submitter(self) -> Iterator[Submit]:
        """A client with its own connection."""
        from benchmarks.temporal_client import TemporalClient

        with TemporalClient(self._server.address, self._plan) as client:

            def submit(number: int) -> None:
                client.start(_run_id(number), self._workload.input_data(number))

            yield submit

    def is_drained(self) -> bool:
        """No run is open. Looks first whether the one that was open the last time still is: that needs no scan."""
        if self._seen_open is not None and self._watch.one(self._status, self._seen_open) == "1":
            return False
        self._seen_open = self._watch.one(_OPEN)
        return self._seen_open is None

    def completed(self) -> int:
        """Runs that were asked for at the frontend; the database is this start's own."""
        return int(self._watch.one(_COMPLETED))

    def ended(self, limit: int) -> Sequence[Ended]:
        """What the runs gave back, as the client has it; their inputs follow from their numbers."""
        run_ids = [row[0] for row in self._watch.all(_LATEST, limit)]
        results = self._client.results(run_ids)
        return [
            Ended(self._workload.input_data(int(run_id.split("-")[1])), result)
            for run_id, result in zip(run_ids, results, strict=True)
        ]


def _run_id(number: int) -> str:
    return f"run-{number}-{uuid.uuid4().hex}"
