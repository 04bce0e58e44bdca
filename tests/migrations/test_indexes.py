"""Every query that the system makes while it works finds its rows by an index, on tables that are full.

The queries are not written down here: the system's own stores are called, and each statement that they send is explained
by PostgreSQL with the very parameters that it was sent with.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text

from system.adapters.postgres import connect
from system.api import listing, store_agents, store_runs, store_workflows
from system.consumer.messages import CancellationRequest
from system.consumer.rows import HeldRun, RunChange
from system.consumer.store import ConsumerStore
from system.definitions import load_plan
from system.engine.state import RunState, StepRecord
from system.outbox import Outbox
from system.ports import Message
from system.tables import metadata

# The tables are filled once, by one worker.
pytestmark = pytest.mark.xdist_group("indexes")

RUNS, STEPS = 40_000, 80_000
NOW = datetime.now(UTC)

FILL = (
    f"""INSERT INTO workflow_runs (run_id, workflow_id, workflow_name, workflow_definition_id, status, input_data,
            created_at, updated_at, started_at, plan_digest)
        SELECT 'run-' || n, 'wf-' || n % 500, 'name ' || n % 500,
            ('00000000-0000-0000-0000-' || lpad((n % 500)::text, 12, '0'))::uuid,
            CASE WHEN n % 100 < 96 THEN 'COMPLETED' WHEN n % 100 < 98 THEN 'FAILED' WHEN n % 100 = 98 THEN 'RUNNING'
                 ELSE 'PENDING' END,
            jsonb_build_object('x', repeat('y', 200)), now() - make_interval(secs => {RUNS} - n),
            now() - make_interval(secs => {RUNS} - n), now(), 'digest ' || n % 500
        FROM generate_series(1, {RUNS}) AS n""",
    f"""INSERT INTO step_executions (run_id, step_id, status, path, started_at, task_id)
        SELECT 'run-' || n / 2, 'step ' || n % 2, 'COMPLETED', 'step ' || n % 2, now(), gen_random_uuid()::text
        FROM generate_series(1, {STEPS}) AS n""",
    """INSERT INTO timers (run_id, kind, path, due_at)
        SELECT 'run-' || n, 'run', '', now() + make_interval(secs => n) FROM generate_series(1, 20000) AS n""",
    "INSERT INTO outbox (owner, messages) SELECT n % 7 + 1, repeat('m', 500) FROM generate_series(1, 20000) AS n",
    "INSERT INTO early_cancellations (run_id) SELECT 'early-' || n FROM generate_series(1, 20000) AS n",
    "INSERT INTO workflow_plans (digest, plan) SELECT 'digest ' || n, '{}' FROM generate_series(1, 20000) AS n",
    """INSERT INTO workflow_definitions (name, workflow_data, created_at)
        SELECT 'name ' || n, '{}', now() - make_interval(secs => n) FROM generate_series(1, 20000) AS n""",
    """INSERT INTO workflow_definition_versions (definition_id, version, name, workflow_data)
        SELECT id, 1, name, workflow_data FROM workflow_definitions""",
    """INSERT INTO execution_keys (definition_id, idempotency_key, body_digest, run_id)
        SELECT gen_random_uuid(), 'key ' || n, '', 'run-' || n FROM generate_series(1, 20000) AS n""",
    "INSERT INTO agents (name, url) SELECT 'agent ' || n, 'http://127.0.0.1:1' FROM generate_series(1, 20000) AS n",
    """INSERT INTO audit_logs (entity_type, entity_id, action)
        SELECT 'run', 'run-' || n, 'executed' FROM generate_series(1, 20000) AS n""",
)


@pytest.fixture(scope="module")
def full_database(empty_database: Callable[[], str]) -> str:
    url = empty_database()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    metadata.create_all(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("SET synchronous_commit = off")
        for statement in FILL:
            connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return url


@dataclass
class Explainer:
    """An engine whose statements are explained before they run; `scanned` collects tables that are read whole."""

    engine: Engine
    explained: int = 0

    def __post_init__(self) -> None:
        self.scanned: list[tuple[str, str]] = []
        event.listen(self.engine, "before_cursor_execute", self._explain)

    def _explain(self, _connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.split()[0].upper() not in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
            return
        self.explained += 1
        with cursor.connection.cursor() as explaining:
            read_whole = tables_read_whole(explaining, statement, parameters)
            if read_whole:
                # For many ids at once, reading a small table whole is cheaper. That there is an index for when it has
                # grown shows when the planner is told to avoid the rest.
                explaining.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
                read_whole = tables_read_whole(explaining, statement, parameters)
                explaining.execute("RESET enable_seqscan; RESET enable_hashjoin; RESET enable_mergejoin")
        self.scanned.extend((table, statement) for table in read_whole)


def tables_read_whole(cursor: Any, statement: str, parameters: Any) -> list[str]:
    """Tables of which a statement reads all rows, by the table itself or by all of an index."""
    cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    (found,) = cursor.fetchone()
    plan = found if isinstance(found, list) else json.loads(found)
    return [node["Relation Name"] for node in nodes(plan[0]["Plan"], within_limit=False)]


def nodes(plan: dict[str, Any], *, within_limit: bool) -> Iterator[dict[str, Any]]:
    """Nodes of a plan that read everything. Going along an index in its order until a limit is reached does not."""
    kind = plan["Node Type"]
    by_index = kind in ("Index Scan", "Index Only Scan")
    if kind == "Seq Scan" or (by_index and "Index Cond" not in plan and not within_limit):
        yield plan
    for part in plan.get("Plans", ()):
        # Whatever sorts or collects needs all of what is below it, limit or not.
        passes_on = kind not in ("Sort", "Incremental Sort", "Aggregate", "Hash", "Materialize")
        yield from nodes(part, within_limit=kind == "Limit" or (within_limit and passes_on))


@pytest.fixture
def explainer(full_database: str) -> Iterator[Explainer]:
    engine = connect(full_database, pool_size=4, application_name="test-explain")
    explainer = Explainer(engine)
    yield explainer
    engine.dispose()


@pytest.fixture
def by_index(explainer: Explainer) -> Iterator[Engine]:
    """The engine; at the end of the test, no statement may have read a table whole."""
    yield explainer.engine
    assert explainer.explained > 0
    assert explainer.scanned == []


@contextmanager
def rolled_back(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection
        connection.rollback()


def test_a_table_that_is_read_whole_would_be_found(explainer: Explainer) -> None:
    with explainer.engine.connect() as connection:
        connection.execute(text("SELECT * FROM workflow_runs WHERE error_message = 'x'"))
    assert [table for table, _ in explainer.scanned] == ["workflow_runs"]


class Silent:
    """Publisher port of a Kafka that never answers."""

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None: ...

    def poll(self, timeout_seconds: float = 0.0) -> None: ...

    def flush(self, timeout_seconds: float) -> int:
        return 0


def outbox_on(engine: Engine) -> Outbox:
    outbox = Outbox(engine, Silent(), takeover_ms=600_000)
    outbox.owner = 99
    return outbox


@pytest.mark.parametrize("count", [1, 100, 500])
def test_the_consumers_reads(by_index: Engine, count: int) -> None:
    store = ConsumerStore(by_index, outbox_on(by_index), runs_have_deadlines=True)
    run_ids = [f"run-{number * 7}" for number in range(1, count + 1)]
    assert len(store.load_runs(run_ids)) == count
    assert len(store.load_steps(run_ids)) == count
    assert store.load_plans([f"digest {number}" for number in range(1, count + 1)])
    assert store.early_cancellations(run_ids) == {}
    assert store.due_timers(NOW + timedelta(hours=1), 500)
    assert store.unanswered_runs(NOW - timedelta(seconds=900), 500)


def test_the_consumers_early_cancellation(by_index: Engine) -> None:
    store = ConsumerStore(by_index, outbox_on(by_index), runs_have_deadlines=True)
    request = CancellationRequest(f"run-{uuid.uuid4()}", None, None, NOW)
    assert store.keep_early_cancellation(request, NOW)


@pytest.mark.parametrize("count", [1, 100])
def test_the_consumers_writes(by_index: Engine, count: int) -> None:
    """One transaction with everything in it that a batch can hold."""
    store = ConsumerStore(by_index, outbox_on(by_index), runs_have_deadlines=True)
    plan = {"workflow_id": "w", "name": "n", "version": "1", "start_step": "a",
            "steps": {"a": {"id": "a", "type": "agent", "agent_name": "x", "next_step": None}}}  # fmt: skip
    definition = load_plan(plan)
    changes = []
    for number in range(1, count + 1):
        run_id = f"run-{number * 100 - (1 if count == 1 else 2)}"
        state = RunState(run_id, "RUNNING", definition, {}, NOW, clock=NOW)
        held = HeldRun(state, 0, store.load_runs([run_id])[0]["status"], None)
        record = StepRecord(f"a{count}", "a", "COMPLETED", {}, NOW, output_data={}, completed_at=NOW, task_id="t")
        changes.append(
            RunChange(
                held, replace(state, status="FAILED"), steps={(record.path, 0): record}, superseded=[("step 0", 0)],
                timers_set={("branch", "f:b"): NOW}, timers_cleared=[("run", "")], ended_at=NOW, was_cancelled_early=True,
                plan=plan, plan_digest="digest new",
            )
        )  # fmt: skip
    assert store.write(changes, [Message("t", b"k", b"v")], [("run-1", "run", "")]) is not None


def test_the_outboxs_statements(by_index: Engine) -> None:
    outbox = outbox_on(by_index)
    with by_index.begin() as connection:
        entry = outbox.write(connection, [Message("t", b"k", b"v")])
    outbox.send(entry, [])
    assert outbox.still_owed_by_others([1, 2, 3]) == [1, 2, 3]
    outbox.give_back([entry])
    outbox.settle()


@pytest.mark.parametrize("only", [None, [19_999, 20_000]], ids=["all", "named"])
def test_the_outboxs_sweep(by_index: Engine, only: list[int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = outbox_on(by_index)
    monkeypatch.setattr("system.outbox.decode", lambda _: [])
    assert outbox.sweep(only) != []


LISTING = listing.Listing(None, None, None, None, None, "created_at", True, 1, 20, None)


@pytest.mark.parametrize(
    "which",
    [
        LISTING,
        replace(LISTING, descending=False),
        replace(LISTING, page=5),
        replace(LISTING, status="RUNNING"),
        replace(LISTING, workflow_id="wf-7"),
        replace(LISTING, created_after=NOW - timedelta(seconds=500)),
        replace(LISTING, created_before=NOW - timedelta(seconds=RUNS - 500)),
        replace(LISTING, status="FAILED", created_after=NOW - timedelta(seconds=5000)),
    ],
    ids=["newest", "oldest", "fifth page", "by status", "by workflow", "after", "before", "status and after"],
)
def test_the_apis_listing_of_runs(explainer: Explainer, which: listing.Listing) -> None:
    with explainer.engine.connect() as connection:
        rows, total, _ = listing.runs(connection, which)
    assert len(rows) > 0
    assert total >= len(rows)
    # Counting all rows reads all rows: the only statement that may, and only where nothing narrows it down.
    is_narrowed = which.status or which.workflow_id or which.created_after or which.created_before
    allowed = [] if is_narrowed else [entry for entry in explainer.scanned if "count(" in entry[1].lower()]
    assert [entry for entry in explainer.scanned if entry not in allowed] == []


def test_the_apis_other_reads_of_runs(by_index: Engine) -> None:
    with by_index.connect() as connection:
        assert store_runs.get(connection, "run-77") is not None
        assert store_runs.outbox_entry_of(connection, "run-77") is None
        assert store_runs.keyed_run(connection, uuid.uuid4(), "key 7") is None
        assert store_runs.plan_of(connection, "digest 7") == {}
        assert store_runs.reached(connection, "run-77", "step 0")
        assert len(listing.steps(connection, "run-77")) == 2


def test_the_apis_changes_of_runs(by_index: Engine) -> None:
    with rolled_back(by_index) as connection:
        assert store_runs.lock(connection, "run-77") is not None
        assert store_runs.cancel(connection, "run-199", None, NOW) is not None
        assert store_runs.retry(connection, "run-199", None, NOW) is not None
        store_runs.point_at_entry(connection, "run-199", 1)


def test_the_apis_reads_of_definitions_and_agents(by_index: Engine) -> None:
    with by_index.connect() as connection:
        held = store_workflows.holder_of(connection, "name 7")
        assert held is not None
        assert store_workflows.get(connection, held) is not None
        assert len(store_workflows.versions(connection, held)) == 1
        assert store_workflows.version(connection, held, 1) == {}
        assert store_agents.get(connection, uuid.uuid4()) is None
