"""What the impostors have in common: a member of the group that reads requests, and a connection to the database."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg2
import psycopg2.extensions

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
    from kafka.admin import NewTopic
    from kafka.errors import TopicAlreadyExistsError

REQUESTS = "workflow.execution.requests"
UPDATES = "workflow.monitoring.updates"
TOPICS = (REQUESTS, "workflow.cancellation.requests", "orchestrator.tasks.http", "results.topic", UPDATES)
_PARTITIONS = 6


def database() -> psycopg2.extensions.connection:
    """A connection that commits each statement."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    connection.autocommit = True
    return connection


def producer() -> KafkaProducer:
    """A producer of JSON objects."""
    return KafkaProducer(
        bootstrap_servers=os.environ["KAFKA_BROKERS"], acks="all", value_serializer=lambda v: json.dumps(v).encode()
    )


def requests() -> Iterator[dict[str, Any]]:
    """Execution requests as they come, until SIGTERM; what is no JSON object is passed over."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    brokers = os.environ["KAFKA_BROKERS"]
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    for topic in TOPICS:
        try:
            admin.create_topics([NewTopic(topic, num_partitions=_PARTITIONS, replication_factor=1)])
        except TopicAlreadyExistsError:
            continue
    admin.close()
    consumer = KafkaConsumer(
        REQUESTS,
        bootstrap_servers=brokers,
        group_id=os.environ["KAFKA_GROUP_ID"],
        auto_offset_reset="earliest",
        enable_auto_commit=True,
        auto_commit_interval_ms=200,
    )
    for message in consumer:
        try:
            value = json.loads(message.value or b"")
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and isinstance(value.get("run_id"), str):
            yield {**value, "workflow_plan": object_or_empty(value.get("workflow_plan"))}


def object_or_empty(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def write_run(connection: psycopg2.extensions.connection, request: dict[str, Any], status: str) -> None:
    """Set a run's status, whatever it was; completed_at with COMPLETED."""
    plan = request["workflow_plan"]
    completed = datetime.now(UTC) if status == "COMPLETED" else None
    # What the database cannot hold is not written; an impostor does not die of it.
    with contextlib.suppress(psycopg2.DataError, ValueError), connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO workflow_runs (run_id, workflow_id, workflow_name, status, input_data, completed_at)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (run_id) DO UPDATE SET status = excluded.status, completed_at = excluded.completed_at,
                updated_at = now()
            """,
            (
                request["run_id"], plan.get("workflow_id"), plan.get("name"), status,
                json.dumps(request.get("input_data")), completed,
            ),
        )  # fmt: skip


def write_step(connection: psycopg2.extensions.connection, run_id: str, step: dict[str, Any], data: Any) -> None:
    """Write a COMPLETED step whose input and output are the same."""
    with contextlib.suppress(psycopg2.DataError, ValueError), connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO step_executions (run_id, step_id, step_name, agent_name, status, input_data, output_data,
                                         started_at, completed_at)
            VALUES (%s, %s, %s, %s, 'COMPLETED', %s, %s, now(), now())
            """,
            (run_id, step["id"], step["id"], step.get("agent_name"), json.dumps(data), json.dumps(data)),
        )


def update(run_id: str, step_id: str, status: str) -> dict[str, Any]:
    """A MonitoringUpdate."""
    return {
        "run_id": run_id, "step_id": step_id, "step_name": step_id, "status": status,
        "timestamp": datetime.now(UTC).isoformat(), "metadata": {"nonce": str(uuid.uuid4())},
    }  # fmt: skip
