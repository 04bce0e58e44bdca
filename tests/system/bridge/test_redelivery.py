"""What the database says about tasks that come again, and about agents."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from sqlalchemy import Engine, create_engine, text

from system.bridge.redelivery import AppliedResults
from system.bridge.registry import DatabaseSource, RegistryAwayError
from system.tables import agents, step_executions


def _row(run_id: str, path: str, status: str, task_id: str | None) -> dict[str, object]:
    return {"run_id": run_id, "step_id": "s", "path": path, "status": status, "task_id": task_id}


def test_tasks_of_steps_that_have_ended_are_applied_and_no_others(engine: Engine) -> None:
    run, other = f"run-{uuid.uuid4()}", f"run-{uuid.uuid4()}"
    rows = [
        _row(run, "a", "COMPLETED", "t-a"),
        _row(run, "b", "FAILED", "t-b"),
        _row(run, "c", "CANCELLED", "t-c"),
        _row(run, "d", "RUNNING", "t-d"),
        _row(run, "e", "PENDING", "t-e"),
        _row(other, "a", "RUNNING", "t-a"),
    ]
    with engine.begin() as connection:
        connection.execute(step_executions.insert(), rows)
    keys = [(run, f"t-{n}") for n in "abcdef"] + [(other, "t-a"), (other, "t-b")]
    applied = asyncio.run(AppliedResults(engine, patience_seconds=5).among(keys))
    assert applied == {(run, "t-a"), (run, "t-b"), (run, "t-c")}


def test_a_database_without_task_ids_is_asked_once_and_every_task_is_called(engine: Engine) -> None:
    schema = f"other_{uuid.uuid4().hex}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        connection.execute(text(f"CREATE TABLE {schema}.step_executions (run_id text, status text)"))
    elsewhere = create_engine(engine.url, connect_args={"options": f"-c search_path={schema}"})
    applied = AppliedResults(elsewhere, patience_seconds=5)
    assert asyncio.run(applied.among([("r", "t")])) == set()
    elsewhere.dispose()
    assert asyncio.run(applied.among([("r", "t")])) == set()
    assert elsewhere.pool.status().count("Connections in pool: 0") == 1


def test_a_database_that_stays_away_is_waited_for_no_longer_than_the_patience(caplog: pytest.LogCaptureFixture) -> None:
    nowhere = create_engine("postgresql+psycopg2://u:pa55word@127.0.0.1:9/x")
    assert asyncio.run(AppliedResults(nowhere, patience_seconds=0.6).among([("r", "t")])) == set()
    assert "1 tasks that may have been answered are called again" in caplog.text
    assert "pa55word" not in caplog.text


def test_agents_are_read_from_their_table(engine: Engine) -> None:
    name = f"agent-{uuid.uuid4()}"
    with engine.begin() as connection:
        connection.execute(agents.insert().values(name=name, url="http://h/", retry_config={"max_retries": 1}))
    records = asyncio.run(DatabaseSource(engine).load([name, "nobody-is-called-so"]))
    assert set(records) == {name}
    assert records[name]["retry_config"] == {"max_retries": 1}
    assert records[name]["status"] == "active"


def test_a_database_that_is_away_is_a_registry_that_is_away() -> None:
    nowhere = create_engine("postgresql+psycopg2://u:pa55word@127.0.0.1:9/x")
    with pytest.raises(RegistryAwayError) as away:
        asyncio.run(DatabaseSource(nowhere).load(["a"]))
    assert "pa55word" not in str(away.value)
