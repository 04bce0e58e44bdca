"""Runs that ended long ago go, with all that is theirs; nothing else goes, and nothing goes unarchived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, Engine, create_engine, text

from system.api import store_runs
from system.retention import Archive, ArchiveError, delete
from system.retention_command import command
from system.settings import Settings
from tests.waiting import until

DEADLINE_SECONDS = 30
ROOT = Path(__file__).parents[2]
LONG_AGO = datetime.now(UTC) - timedelta(days=60)
LIMIT = datetime.now(UTC) - timedelta(days=30)
DEFINITION = "0b0e5ad2-6d4e-4bd9-8f3a-7a1f0e3a9c11"


@pytest.fixture
def engine(tables_database: Callable[[], str]) -> Iterator[Engine]:
    # A deletion that waits for a lock which its own test holds fails instead of standing still.
    engine = create_engine(tables_database(), pool_size=5, connect_args={"options": "-c lock_timeout=15s"})
    yield engine
    engine.dispose()


def add(engine: Engine, run_id: str, status: str = "COMPLETED", ended: datetime = LONG_AGO, **columns: Any) -> None:
    """A run with a row of everything that may belong to one."""
    values = {"run_id": run_id, "status": status, "ended": ended, "definition": DEFINITION, "outbox": None} | columns
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO workflow_runs (run_id, status, created_at, updated_at, workflow_definition_id, outbox_id, "
            "plan_digest) VALUES (:run_id, :status, :ended, :ended, :definition, "
            ":outbox, 'd')",
            "INSERT INTO step_executions (run_id, step_id, status, path, output_data) "
            "VALUES (:run_id, 'a', 'COMPLETED', 'a', '{\"text\": \"line\\nbreak\", \"n\": 1.50}')",
            "INSERT INTO timers (run_id, kind, path, due_at) VALUES (:run_id, 'step', 'a', now())",
            "INSERT INTO early_cancellations (run_id, received_at) VALUES (:run_id, now())",
            "INSERT INTO execution_keys (definition_id, idempotency_key, body_digest, run_id) "
            "VALUES (:definition, :run_id, 'x', :run_id)",
            "INSERT INTO audit_logs (entity_type, entity_id, action) VALUES ('run', :run_id, 'cancel')",
        ):
            connection.execute(text(statement.replace(":ended", "cast(:ended AS timestamptz)")), values)


def left(engine: Engine) -> dict[str, set[str]]:
    """The runs that each table still speaks of."""
    queries = {
        table: f"SELECT run_id FROM {table}"
        for table in ("workflow_runs", "step_executions", "timers", "early_cancellations", "execution_keys")
    } | {"audit_logs": "SELECT entity_id FROM audit_logs"}
    with engine.connect() as connection:
        return {table: set(connection.execute(text(query)).scalars()) for table, query in queries.items()}


@contextmanager
def holding_step_of(engine: Engine, run_id: str) -> Iterator[None]:
    """A batch with this run comes as far as its deletion, and waits there."""
    with engine.connect() as connection, connection.begin():
        connection.execute(text("SELECT 1 FROM step_executions WHERE run_id = :id FOR UPDATE"), {"id": run_id})
        yield


def waiting_for_locks(engine: Engine) -> int:
    with engine.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return int(connection.execute(text(query)).scalar_one())


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def run_command(engine: Engine, *arguments: str) -> Result:
    settings = Settings.from_environment({"DATABASE_URL": url_of(engine).replace("+psycopg2", "")})
    return CliRunner().invoke(command(lambda: settings), list(arguments))


def archived(path: Path) -> list[str]:
    return [json.loads(line)["run"]["run_id"] for line in path.read_text().splitlines()]


def test_ended_runs_go_with_all_that_is_theirs_and_no_other_run_does(engine: Engine) -> None:
    for number, status in enumerate(("COMPLETED", "FAILED", "CANCELLED", "COMPLETED")):
        add(engine, f"old-{number}", status)
    add(engine, "pending", "PENDING")
    add(engine, "running", "RUNNING")
    add(engine, "recent", "FAILED", datetime.now(UTC))
    with engine.begin() as connection:
        entry = connection.execute(
            text("INSERT INTO outbox (owner, messages) VALUES (1, '[]') RETURNING id")
        ).scalar_one()
    add(engine, "owes-a-message", outbox=entry)

    assert list(delete(engine, LIMIT, 3, None)) == [3, 1]

    kept = {"pending", "running", "recent", "owes-a-message"}
    assert left(engine) == dict.fromkeys(left(engine), kept)


def test_a_dry_run_counts_and_deletes_nothing(engine: Engine) -> None:
    add(engine, "old")
    add(engine, "running", "RUNNING")
    result = run_command(engine, "--older-than", "30d", "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("1 runs that ended before ")
    assert left(engine)["workflow_runs"] == {"old", "running"}


def test_the_archive_holds_each_run_with_its_rows_as_one_line(engine: Engine, tmp_path: Path) -> None:
    for number in range(3):
        add(engine, f"old-{number}")
    path = tmp_path / "runs.jsonl"
    result = run_command(engine, "--older-than", "30d", "--archive", str(path), "--batch", "2")
    assert result.exit_code == 0, result.output
    assert archived(path) == ["old-0", "old-1", "old-2"]
    line = json.loads(path.read_text().splitlines()[0])
    assert line["steps"][0]["output_data"] == {"text": "line\nbreak", "n": 1.5}
    assert [row["action"] for row in line["audit_logs"]] == ["cancel"]
    assert left(engine)["workflow_runs"] == set()


def test_a_retry_that_came_first_keeps_its_run(engine: Engine) -> None:
    add(engine, "retried", "FAILED")
    add(engine, "other", "FAILED")
    with engine.begin() as connection:
        assert store_runs.lock(connection, "retried") is not None
        assert store_runs.retry(connection, "retried", None, datetime.now(UTC)) is not None
        assert list(delete(engine, LIMIT, 10, None)) == [1]
    assert left(engine)["workflow_runs"] == {"retried"}
    assert list(delete(engine, LIMIT, 10, None)) == []


def test_a_retry_that_came_second_finds_no_run(engine: Engine) -> None:
    add(engine, "gone", "FAILED")
    found: list[object] = []

    def retry(connection: Connection) -> None:
        found.append(store_runs.lock(connection, "gone"))

    def retrying() -> None:
        with engine.begin() as connection:
            retry(connection)

    deleting = threading.Thread(target=lambda: list(delete(engine, LIMIT, 10, None)))
    asking = threading.Thread(target=retrying)
    with holding_step_of(engine, "gone"):
        deleting.start()
        until(lambda: waiting_for_locks(engine) == 1, "the batch at its deletion")
        asking.start()
        until(lambda: waiting_for_locks(engine) == 2, "the retry behind the batch")
    deleting.join(DEADLINE_SECONDS)
    asking.join(DEADLINE_SECONDS)
    assert found == [None]
    assert left(engine)["workflow_runs"] == set()


def test_a_process_killed_between_archive_and_commit_loses_no_run(engine: Engine, tmp_path: Path) -> None:
    for number in range(9):
        add(engine, f"old-{number}")
    path = tmp_path / "runs.jsonl"
    arguments = ["--older-than", "30d", "--archive", str(path), "--batch", "2"]
    environment = os.environ | {"DATABASE_URL": url_of(engine).replace("+psycopg2", "")}
    with holding_step_of(engine, "old-5"):
        process = subprocess.Popen(
            [sys.executable, "-m", "system", "retention", *arguments],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: waiting_for_locks(engine) == 1, "the third batch at its deletion")
        finally:
            process.kill()
            process.wait()
    until(lambda: waiting_for_locks(engine) == 0, "the end of the killed process's transaction")
    everything = {f"old-{number}" for number in range(9)}
    remaining = left(engine)["workflow_runs"]
    assert remaining == {f"old-{number}" for number in range(4, 9)}
    assert archived(path) == [f"old-{number}" for number in range(6)]

    with path.open("a") as file:
        file.write('{"run": {"run_id": "old-6", "torn')
    # PostgreSQL notices the dead client when it answers it; until then the runs of its batch stay locked.
    until(lambda: run_command(engine, *arguments).exit_code == 0 and not left(engine)["workflow_runs"], "the rest")
    assert set(archived(path)) == everything


@pytest.mark.parametrize("age", ["30", "0d", "-1d", "3x", "d", "999999999d", "٣d"])
def test_an_age_that_is_none_is_refused_with_an_example(engine: Engine, age: str) -> None:
    result = run_command(engine, f"--older-than={age}")
    assert result.exit_code == 2
    assert "such as 30d" in result.output


def test_an_archive_that_cannot_be_written_is_told_and_nothing_is_deleted(engine: Engine, tmp_path: Path) -> None:
    add(engine, "old")
    result = run_command(engine, "--older-than", "30d", "--archive", str(tmp_path / "absent" / "runs.jsonl"))
    assert result.exit_code == 1
    assert "cannot be opened for writing" in result.output
    with Archive(tmp_path / "runs.jsonl"), pytest.raises(ArchiveError, match="another process"):
        Archive(tmp_path / "runs.jsonl")
    assert left(engine)["workflow_runs"] == {"old"}
