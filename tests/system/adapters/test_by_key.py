"""Plans that were made when tables were small: they are kept for a minute or for good, and must do for large ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, TextClause, text

from system.adapters.postgres import connect
from system.consumer import store
from system.outbox import REMOVE

_STATEMENTS: Mapping[str, tuple[TextClause, dict[str, Any]]] = {
    "write": (store._WRITE, {"delivered": [1], "owner": 1, "messages": "[]", "runs": "[]", "steps": "[]"}),
    "runs": (store._LOAD_RUNS, {"run_ids": ["r"], "owner": 1}),
    "steps": (store._LOAD_STEPS, {"run_ids": ["r"]}),
    "remove": (REMOVE, {"ids": [1]}),
}
_ONCE_MORE_THAN_CUSTOM_PLANS = 6


@pytest.fixture
def engine(module_database: str, by_key: bool) -> Iterator[Engine]:
    engine = connect(module_database, pool_size=1, application_name="test-by-key", by_key=by_key)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM workflow_runs"))
        for number in range(20):
            connection.execute(
                text(
                    "INSERT INTO workflow_runs (run_id, workflow_id, workflow_name, status, input_data, created_at, updated_at) "
                    "VALUES (:id, 'w', 'w', 'PENDING', '{}', now(), now())"
                ),
                {"id": f"run-{number}"},
            )
    yield engine
    engine.dispose()


def _plan(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> str:
    """How PostgreSQL carries a prepared statement out that it has carried out a few times."""
    for _ in range(_ONCE_MORE_THAN_CUSTOM_PLANS):
        connection.execute(statement, values)
    known: Mapping[str, str] = connection.info["plumbline_prepared"]
    return "\n".join(connection.exec_driver_sql(f"EXPLAIN {list(known.values())[-1]}", values).scalars())


@pytest.mark.parametrize("by_key", [True, False])
@pytest.mark.parametrize("name", _STATEMENTS)
def test_rows_are_found_by_an_index_whatever_the_size_of_the_table(engine: Engine, name: str, by_key: bool) -> None:
    with engine.connect() as connection:
        plan = _plan(connection, *_STATEMENTS[name])
    if by_key:
        assert "Seq Scan" not in plan, plan
        assert "Hash Join" not in plan, plan
        assert "Index" in plan, plan
        # As long as nothing is known of the table, an index that many rows are equal in looks as good as that of the key.
        assert "status" not in " ".join(line for line in plan.splitlines() if "Index" in line), plan
    elif name == "write":
        assert "Seq Scan on workflow_runs" in plan, "what by_key is for happens no more"
