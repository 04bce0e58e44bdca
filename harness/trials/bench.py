"""What every trial needs: stack, subject and agents up, a workflow of three agent steps, many runs, and their rows."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from kafka import KafkaConsumer, TopicPartition
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_exponential,
)

from harness.agents import AgentServer, Echo, Slow, always
from harness.client import ApiClient, ApiError
from harness.stack import EmbeddedStack
from harness.subject import RoleName, RunningSubject, Subject

TERMINAL = ("COMPLETED", "FAILED", "CANCELLED")
_STEPS = ("first", "second", "third")
_SUBMITTERS = 4


@dataclass(frozen=True)
class Bench:
    """A subject on a stack of its own, with agents that echo, and the id of the workflow that calls them in turn."""

    stack: EmbeddedStack
    subject: RunningSubject
    agents: AgentServer
    workflow_id: str


@contextlib.contextmanager
def bench(
    subject_file: Path, counts: Mapping[RoleName, int], environment: Mapping[str, str], agent_delay_seconds: float = 0.0
) -> Iterator[Bench]:
    """Everything up, and down again afterwards."""
    action = Slow(agent_delay_seconds, Echo()) if agent_delay_seconds else Echo()
    names = [f"trial-{step}" for step in _STEPS]
    with (
        EmbeddedStack() as stack,
        AgentServer({name: always(action) for name in names}) as agents,
        Subject.load(subject_file).start(stack, counts=counts, environment=environment) as running,
        ApiClient(running.api_url) as client,
    ):
        for name in names:
            client.register_agent({"name": name, "url": agents.url(name), "timeout_ms": 20_000})
        workflow = client.create_workflow(three_steps(f"trial-{uuid.uuid4().hex[:8]}"))
        yield Bench(stack, running, agents, workflow["id"])


def three_steps(name: str) -> dict[str, Any]:
    """A workflow of three agent steps in a row, each fed with the output of the one before."""
    steps: dict[str, Any] = {}
    for index, step in enumerate(_STEPS):
        before = _STEPS[index - 1]
        steps[step] = {
            "id": step,
            "agent_name": f"trial-{step}",
            "input_mapping": {"n": "${workflow.input.n}", "before": f"${{{before}.output.text}}" if index else ""},
            "next_step": _STEPS[index + 1] if index + 1 < len(_STEPS) else None,
        }
    return {"name": name, "start_step": _STEPS[0], "steps": steps}


def submit(bench: Bench, runs: int, rate_per_second: float, submitted: list[str], stop: threading.Event) -> None:
    """Execute the workflow over REST at a steady rate; ids go to `submitted` as they are accepted.

    A request whose answer is lost is sent again under the same Idempotency-Key, so that it makes one run.
    """
    begun = time.monotonic()
    local = threading.local()

    def one(number: int) -> None:
        stop.wait(max(0.0, begun + number / rate_per_second - time.monotonic()))
        if stop.is_set():
            return
        if not hasattr(local, "client"):
            local.client = ApiClient(bench.subject.api_url)
        key = f"trial-{number}-{uuid.uuid4()}"
        for attempt in Retrying(
            retry=retry_if_exception_type(ApiError), stop=stop_after_delay(60), wait=wait_exponential(0.05, max=1)
        ):
            with attempt:
                accepted = local.client.execute(bench.workflow_id, {"n": number}, idempotency_key=key)
        submitted.append(accepted["run_id"])

    with ThreadPoolExecutor(_SUBMITTERS) as pool:
        for outcome in pool.map(one, range(runs)):
            assert outcome is None


def query(bench: Bench, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of the subject's database, waiting up to a minute for a database that is away."""
    for attempt in Retrying(
        retry=retry_if_exception_type(psycopg2.OperationalError),
        stop=stop_after_delay(60),
        wait=wait_exponential(0.1, max=1),
    ):
        with attempt, contextlib.closing(psycopg2.connect(bench.stack.database_url)) as connection:
            cursor = connection.cursor()
            cursor.execute(sql, values)
            return cursor.fetchall()
    raise AssertionError("unreachable: the last attempt returns or raises")


def statuses(bench: Bench, run_ids: Sequence[str]) -> dict[str, int]:
    """Status → how many of these runs have it; `missing` for those without a row."""
    rows = query(
        bench, "SELECT status, count(*) FROM workflow_runs WHERE run_id = ANY(%s) GROUP BY status", list(run_ids)
    )
    counts = {status: int(count) for status, count in rows}
    missing = len(run_ids) - sum(counts.values())
    return {**counts, "missing": missing} if missing else counts


def await_ends(bench: Bench, run_ids: Sequence[str], deadline_seconds: float) -> bool:
    """Wait until all of these runs have ended; whether they have by the deadline."""
    try:
        Retrying(
            retry=retry_if_result(lambda ended: not ended),
            stop=stop_after_delay(deadline_seconds),
            wait=wait_exponential(0.02, max=0.2),
        )(lambda: sum(statuses(bench, run_ids).get(status, 0) for status in TERMINAL) == len(run_ids))
    except RetryError:
        return False
    return True


def read_all(place: Bench, topic: str) -> list[tuple[dict[str, Any], float]]:
    """Every message of a topic that holds an object, as (object, seconds of the epoch when it was made), by time."""
    found = [
        (json.loads(message.value), message.timestamp / 1000) for message in read_all_raw(place, topic) if message.value
    ]
    return sorted(found, key=lambda pair: pair[1])


def read_all_raw(place: Bench, topic: str) -> list[Any]:
    """Every message of a topic up to its present end, as kafka-python gives them."""
    consumer = KafkaConsumer(
        bootstrap_servers=place.stack.kafka_brokers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for messages in consumer.poll(timeout_ms=500).values():
                found += messages
        return found
    finally:
        consumer.close()
