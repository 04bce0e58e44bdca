"""Migrations on a real PostgreSQL: from empty to what is declared, down and up again, and by two at once."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from system.tables import metadata

ROOT = Path(__file__).parents[2]

CATALOGUE = {
    "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity, identity_generation"
    " FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'",
    "options": "SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    " AND relname <> 'alembic_version'",
}


def alembic(url: str, *arguments: str) -> str:
    """Alembic's command as a user gives it; its output."""
    ended = subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def catalogue(url: str) -> dict[str, list[Any]]:
    """Everything about the schema that the database itself can tell."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {name: sorted(map(repr, connection.execute(text(query)))) for name, query in CATALOGUE.items()}
    engine.dispose()
    return found


def differences(url: str) -> list[Any]:
    """What Alembic finds different between a database and the declared tables."""
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = compare_metadata(context, metadata)
    engine.dispose()
    return found


def test_migrations_from_empty_give_exactly_the_declared_schema(empty_database: Callable[[], str]) -> None:
    migrated, declared = empty_database(), empty_database()
    alembic(migrated, "upgrade", "head")
    engine = create_engine(declared)
    metadata.create_all(engine)
    engine.dispose()
    assert catalogue(migrated) == catalogue(declared)
    assert differences(migrated) == []


def test_a_difference_would_be_found(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    alembic(url, "upgrade", "head")
    before = catalogue(url)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("ALTER TABLE workflow_runs ALTER COLUMN revision DROP DEFAULT"))
        connection.execute(text("DROP INDEX ix_timers_due_at"))
    engine.dispose()
    assert catalogue(url)["columns"] != before["columns"]
    assert catalogue(url)["indexes"] != before["indexes"]
    assert differences(url) != []


def test_down_and_up_again_works_on_data(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    alembic(url, "upgrade", "head")
    upgraded = catalogue(url)
    fill(url)
    alembic(url, "downgrade", "base")
    assert catalogue(url)["columns"] == []
    alembic(url, "upgrade", "head")
    assert catalogue(url) == upgraded
    fill(url)
    # A database that is at the head already is left as it is, data and all.
    alembic(url, "upgrade", "head")
    engine = create_engine(url)
    with engine.connect() as connection:
        for table in metadata.tables:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 1
    engine.dispose()


def test_each_step_down_can_be_undone(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    revisions = list(ScriptDirectory.from_config(Config(str(ROOT / "alembic.ini"))).walk_revisions())
    assert [len(revision.nextrev) <= 1 for revision in revisions] == [True] * len(revisions)
    alembic(url, "upgrade", "head")
    for revision in revisions:
        before = catalogue(url)
        fill(url)
        alembic(url, "downgrade", "-1")
        alembic(url, "upgrade", "+1")
        assert catalogue(url) == before
        alembic(url, "downgrade", str(revision.down_revision or "base"))


def test_two_that_migrate_at_once_both_succeed(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    ended = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    assert differences(url) == []


def test_migrations_can_be_written_out_as_a_script_without_a_database() -> None:
    script = alembic("postgresql://nobody:nothing@127.0.0.1:1/nowhere", "upgrade", "head", "--sql")
    for table in metadata.tables:
        assert f"CREATE TABLE {table} " in script


@pytest.mark.parametrize("setting", ["mysql://x/y", "postgresql://h:port/d"])
def test_a_wrong_database_url_is_told_by_its_name(setting: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT, env={**os.environ, "DATABASE_URL": setting}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "DATABASE_URL must be postgresql://" in ended.stderr


def fill(url: str) -> None:
    """One row in every table."""
    run, definition = f"run-{uuid.uuid4()}", uuid.uuid4()
    statements = [
        "INSERT INTO workflow_definitions (id, name, workflow_data) VALUES (:definition, :run, '{}')",
        "INSERT INTO workflow_definition_versions (definition_id, version, name, workflow_data)"
        " VALUES (:definition, 1, 'n', '{}')",
        "INSERT INTO workflow_plans (digest, plan) VALUES (:run, '{}')",
        "INSERT INTO workflow_runs (run_id, plan_digest) VALUES (:run, :run)",
        "INSERT INTO step_executions (run_id, step_id, status, path) VALUES (:run, 'a', 'RUNNING', 'a')",
        "INSERT INTO timers (run_id, kind, path) VALUES (:run, 'run', '')",
        "INSERT INTO early_cancellations (run_id) VALUES (:run)",
        "INSERT INTO outbox (owner, messages) VALUES (1, '[]')",
        "INSERT INTO execution_keys (definition_id, idempotency_key, body_digest, run_id)"
        " VALUES (:definition, 'k', 'd', :run)",
        "INSERT INTO agents (name, url) VALUES (:run, 'http://127.0.0.1:1')",
        "INSERT INTO audit_logs (entity_type, entity_id, action) VALUES ('run', :run, 'executed')",
    ]
    assert {statement.split()[2] for statement in statements} == set(metadata.tables)
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            values = {
                name: value for name, value in (("run", run), ("definition", definition)) if f":{name}" in statement
            }
            connection.execute(text(statement), values)
    engine.dispose()
