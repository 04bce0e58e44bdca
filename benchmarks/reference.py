"""The reference of this project as a contender: one API, one consumer and one bridge, as delivered."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg2
from confluent_kafka import Producer
from psycopg2.extras import execute_values

from benchmarks.contender import Ended, Place, Say, Submit
from benchmarks.rows import RowWatch
from benchmarks.workload import Workload
from harness.client import ApiClient
from harness.places import SUBJECTS_DIRECTORY
from harness.subject import RoleName, RunningSubject, Subject

_REQUESTS = "workflow.execution.requests"
_AGENT = "bench-echo"
_COUNTS: Final[Mapping[RoleName, int]] = {"api": 1, "consumer": 1, "bridge": 1}
# The workers are members of Kafka groups, which expel whoever is silent for longer than their session lasts (6 s).
_LONGEST_PAUSE_SECONDS = 4.0
_STATUS = "SELECT status FROM workflow_runs WHERE run_id = %s"
_UNENDED = "SELECT EXISTS (SELECT FROM workflow_runs WHERE status IN ('PENDING', 'RUNNING'))"
_COMPLETED = "SELECT count(*) FROM workflow_runs WHERE workflow_name = %s AND status = 'COMPLETED'"
_ENDED = """
    SELECT asked.input_data, step_executions.output_data
    FROM (
        SELECT run_id, input_data FROM workflow_runs WHERE workflow_name = %s AND status = 'COMPLETED'
        ORDER BY created_at DESC LIMIT %s
    ) AS asked JOIN step_executions USING (run_id)
    WHERE step_executions.step_id = %s
"""
_BAD = frozenset(("FAILED", "CANCELLED"))


class Reference:
    """The executor of this checkout."""

    name = "reference"

    def __init__(self, counts: Mapping[RoleName, int] = _COUNTS) -> None:
        self._counts = counts
        self.version = version("plumbline")
        self.configuration: Mapping[str, str] = {
            "processes": ", ".join(f"{count} {role}" for role, count in counts.items()),
            "settings": "as delivered: no environment but the addresses; producers acks=all and idempotent",
            "steps": "aiohttp in the bridge, kept-alive connections, JSON by orjson",
            "asked for by": "POST /api/v1/workflows/{id}/execute on a kept-alive connection",
            "backlog": "rows PENDING and requests on Kafka, written by the benchmark in the API's place",
        }

    def missing(self, say: Say) -> str | None:
        """The contender that is always there."""
        del say
        return None

    @contextlib.contextmanager
    def start(self, place: Place, workload: Workload) -> Iterator[ReferenceEntrant]:
        """Raises what the subject raises when it does not come up."""
        subject = Subject.load(SUBJECTS_DIRECTORY / "reference.yaml")
        with (
            subject.start(place.stack, counts=self._counts) as running,
            ApiClient(running.api_url) as client,
            RowWatch(place.stack.database_url) as watch,
        ):
            client.register_agent({"name": _AGENT, "url": place.agent_url, "timeout_ms": 60_000})
            definition = workload.definition(f"bench-{uuid.uuid4().hex[:12]}", _AGENT)
            workflow_id = client.create_workflow(definition)["id"]
            yield ReferenceEntrant(place, workload, running, definition, workflow_id, watch)


class ReferenceEntrant:
    """The running reference, with a workflow of its own for each start."""

    def __init__(
        self,
        place: Place,
        workload: Workload,
        running: RunningSubject,
        definition: Mapping[str, Any],
        workflow_id: str,
        watch: RowWatch,
    ) -> None:
        self._place = place
        self._workload = workload
        self._running = running
        self._definition = definition
        self._workflow_id = workflow_id
        self._watch = watch

    @property
    def roles(self) -> Mapping[str, Sequence[int]]:
        """api, consumer and bridge."""
        found: dict[str, list[int]] = {}
        for process in self._running.processes:
            if process.pid is not None:
                found.setdefault(process.role, []).append(process.pid)
        return found

    def ways(self) -> Mapping[str, Callable[[int], list[float]]]:
        """Over REST; the row tells of the end."""
        return {"front door": self._one_by_one}

    def _one_by_one(self, runs: int) -> list[float]:
        seconds = []
        with contextlib.closing(_RestCaller(self._running.api_url, self._workflow_id)) as caller:
            for number in range(runs):
                begun = time.perf_counter()
                run_id = caller.execute(self._workload.input_data(number))
                self._watch.wait_for(_STATUS, run_id, "COMPLETED", _BAD)
                seconds.append(time.perf_counter() - begun)
        return seconds

    def lay_backlog(self, first: int, runs: int) -> None:
        """Write the rows, stop the workers, publish the requests."""
        now = datetime.now(UTC)
        name = self._definition["name"]
        plan = {**self._definition, "workflow_id": f"wf-{name}-1", "version": "1"}
        inputs = {f"run-{uuid.uuid4()}": self._workload.input_data(first + number) for number in range(runs)}
        rows = [
            (run_id, plan["workflow_id"], name, self._workflow_id, "PENDING", json.dumps(given), now, now)
            for run_id, given in inputs.items()
        ]
        with contextlib.closing(psycopg2.connect(self._place.stack.database_url)) as connection, connection:
            execute_values(
                connection.cursor(),
                "INSERT INTO workflow_runs (run_id, workflow_id, workflow_name, workflow_definition_id, status, "
                "input_data, created_at, updated_at) VALUES %s",
                rows,
                page_size=1000,
            )
        values = {run_id: _request(run_id, plan, given, now) for run_id, given in inputs.items()}
        kafka = Producer(
            {
                "bootstrap.servers": self._place.stack.kafka_brokers,
                "acks": "all",
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": max(100_000, runs),
            }
        )
        # Known before the workers stop, so that the pause is no longer than it must be.
        kafka.list_topics(_REQUESTS, timeout=10)
        for role in ("consumer", "bridge"):
            for process in self._running.role(role):
                process.pause()
        paused = time.monotonic()
        for run_id, value in values.items():
            kafka.produce(_REQUESTS, value, run_id.encode())
        if left := kafka.flush(30):
            self.release()
            raise TimeoutError(f"Kafka did not take {left} of {runs} requests within 30 s")
        if time.monotonic() - paused > _LONGEST_PAUSE_SECONDS:
            self.release()
            raise TimeoutError(
                f"publishing {runs} requests took longer than {_LONGEST_PAUSE_SECONDS} s, in which Kafka may have expelled "
                "the paused workers: ask for fewer --runs, or for an idle machine"
            )

    def release(self) -> None:
        """SIGCONT to consumer and bridge."""
        for role in ("bridge", "consumer"):
            for process in self._running.role(role):
                process.resume()

    @contextlib.contextmanager
    def submitter(self) -> Iterator[Submit]:
        """A kept-alive connection to the API."""
        with contextlib.closing(_RestCaller(self._running.api_url, self._workflow_id)) as caller:

            def submit(number: int) -> None:
                caller.execute(self._workload.input_data(number))

            yield submit

    def is_drained(self) -> bool:
        """No row is PENDING or RUNNING, of whatever workflow."""
        return not self._watch.one(_UNENDED)

    def completed(self) -> int:
        """Runs of this start's workflow."""
        return int(self._watch.one(_COMPLETED, self._definition["name"]))

    def ended(self, limit: int) -> Sequence[Ended]:
        """Input and output as the rows have them; the output of a run is that of its last step."""
        rows = self._watch.all(_ENDED, self._definition["name"], limit, self._workload.last_step)
        return [Ended(given, self._workload.output_of(output)) for given, output in rows]


class _RestCaller:
    """Executes one workflow over one connection, with the least that Python can do for it."""

    def __init__(self, api_url: str, workflow_id: str) -> None:
        address = urlsplit(api_url)
        assert address.hostname is not None
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        self._path = f"/api/v1/workflows/{workflow_id}/execute"

    def execute(self, input_data: Mapping[str, Any]) -> str:
        """The run's id. Raises RuntimeError for anything but 202."""
        body = json.dumps({"input_data": input_data})
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 202:
            raise RuntimeError(f"POST {self._path} answered {response.status}; expected 202: {answer[:300]!r}")
        return str(json.loads(answer)["run_id"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _request(run_id: str, plan: Mapping[str, Any], input_data: Mapping[str, Any], now: datetime) -> bytes:
    """An ExecutionRequest (contract, section 1)."""
    return json.dumps(
        {
            "run_id": run_id,
            "workflow_plan": plan,
            "input_data": input_data,
            "timestamp": now.isoformat(),
            "message_type": "execution_request",
        }
    ).encode()
