"""What scale costs, with a few runs: every question is asked and answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import create_engine, text

from benchmarks.filling import empty, fill, size_mib
from benchmarks.scale import Extent, scale_of_reference
from system.tables import metadata


def test_every_question_about_scale_is_answered_with_figures() -> None:
    said: list[str] = []
    extent = Extent(
        finished_runs=60, backlogs=(10, 20), iterations=(3,), waiting_runs=6, members=(1,), runs=10, repetitions=1
    )
    told = scale_of_reference(extent, said.append)
    rows = [line.strip("| ").split(" | ") for line in told.splitlines() if line.startswith("|") and "---" not in line]
    by_title = {row[0]: row[1:] for row in rows}
    assert {"none", "60", "none again", "10", "20", "1 and 1", "3", "at rest", "6 runs wait"} <= set(by_title)
    assert float(by_title["20"][0].replace(",", "")) > 1, "runs a second"
    assert float(by_title["3"][0]) > 0, "milliseconds an iteration"
    assert all(float(mib.replace(",", "")) > 10 for mib in by_title["6 runs wait"])
    assert "fsync on" in told
    assert any("60 of 60 finished runs" in line for line in said)


def test_a_database_is_filled_with_copies_and_emptied(empty_database: Callable[[], str]) -> None:
    of_sqlalchemy = empty_database()
    engine, url = create_engine(of_sqlalchemy), of_sqlalchemy.replace("+psycopg2", "", 1)
    metadata.create_all(engine)
    with pytest.raises(RuntimeError, match="no run has ended well yet"):
        fill(url, 10, lambda _: None)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO workflow_runs (run_id, status, input_data, created_at, updated_at, outbox_id) "
                "VALUES ('run-1', 'COMPLETED', '{}', now(), now(), 7); "
                "INSERT INTO step_executions (run_id, step_id, status, path, task_id) VALUES ('run-1', 'a', 'COMPLETED', 'a', 't')"
            )
        )
    before = size_mib(url)
    fill(url, 1000, lambda _: None)
    fill(url, 1500, lambda _: None)
    joined = "FROM workflow_runs r JOIN step_executions s USING (run_id) WHERE r.status = 'COMPLETED'"
    with engine.connect() as connection:
        counts = connection.execute(
            text(f"SELECT count(*), count(DISTINCT run_id), count(DISTINCT task_id), count(outbox_id) {joined}")
        )
        assert tuple(counts.one()) == (1501, 1501, 1501, 1), "no copy points at an entry of the outbox"
    assert size_mib(url) > before
    empty(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM workflow_runs, step_executions")).scalar_one() == 0
    engine.dispose()
