"""`test_api_executor_integration.py` as a process of its own: with and without API, with and without bridge."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.agents import SAMPLES, Echo, always
from harness.stack.ports import HeldPort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Executor

SCRIPT = Path(__file__).parents[2] / "test_api_executor_integration.py"
TASKS = "orchestrator.tasks.http"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*"
PAGE = rf"""============================================================
API-Executor Integration Test
============================================================
Connecting to database...
✓ Database connected
Connecting to Kafka at BROKERS
✓ Kafka connected

Creating test workflow CREATED...
✓ Workflow created with ID: {UUID}

Triggering workflow execution...
✓ Execution request published for run_id: run-{UUID}

Monitoring execution \(timeout: 120s\)...
  Status: PENDING
(  Status: RUNNING
)?ANSWERED  Status: COMPLETED
  Completed at: {TIME}

✓ Workflow completed successfully

Verifying database records...
✓ Workflow run record found:
  - run_id: run-{UUID}
  - workflow_id: wf-integration-test-workflow-1
  - status: COMPLETED
  - created_at: {TIME}
  - completed_at: {TIME}

✓ Found 1 step execution records:
  - Step step1 \(test-agent\): COMPLETED
    Input keys: \['test_input'\]
    Output keys: \['result'(, 'text')?\]

✓ Database records verified

Cleaning up...
✓ Cleanup complete

============================================================
✓ INTEGRATION TEST PASSED
============================================================

The API-Executor integration is working correctly:
- Execution requests are consumed from Kafka
- Executor processes workflows
- Run status is written back to database
"""
NOTHING = "http://127.0.0.1:1"


def run_script(executor: Executor, *arguments: str, api_url: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script against the stack, with its addresses in the environment."""
    stack = executor.running.stack
    environment = {
        "PATH": "/usr/bin:/bin",
        "DATABASE_URL": stack.database_url,
        "KAFKA_BROKERS": stack.kafka_brokers,
        "API_URL": api_url or executor.running.api_url,
    }
    return subprocess.run(
        [sys.executable, "-P", str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, timeout=150
    )


def page(executor: Executor, *, created: str = "via API", answered: str = "") -> str:
    """The page that the script prints, as a pattern."""
    return (
        PAGE.replace("BROKERS", re.escape(executor.running.stack.kafka_brokers))
        .replace("CREATED", created)
        .replace("ANSWERED", answered)
    )


@pytest.fixture
def sample_url(executor: Executor) -> str:
    """Where the sample agent `test-agent` is served."""
    executor.agents.play("test-agent", SAMPLES["test-agent"])
    return executor.agents.url("test-agent")


@pytest.fixture
def without_bridge(executor: Executor) -> Iterator[None]:
    """The bridge is stopped meanwhile."""
    (bridge,) = executor.running.role("bridge")
    bridge.stop()
    yield
    bridge.start()


@pytest.fixture(autouse=True)
def _nothing_is_left(executor: Executor) -> Iterator[None]:
    """The script removes what it makes; what it finds, it leaves alone."""
    yield
    assert executor.rows("SELECT name FROM workflow_definitions WHERE name LIKE 'integration-test-workflow%%'") == []
    assert executor.rows("SELECT name FROM agents WHERE name = 'test-agent'") == []
    assert (
        executor.rows("SELECT run_id FROM workflow_runs WHERE workflow_name LIKE 'integration-test-workflow%%'") == []
    )
    assert (
        executor.rows(
            "SELECT s.run_id FROM step_executions s LEFT JOIN workflow_runs r USING (run_id) WHERE r.run_id IS NULL"
        )
        == []
    )


def test_with_api_and_bridge_it_prints_the_page(executor: Executor, sample_url: str) -> None:
    """The bridge calls the sample agent, which the script registers."""
    done = run_script(executor, "--agent-url", sample_url)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert re.fullmatch(page(executor), done.stdout), done.stdout


@pytest.mark.usefixtures("without_bridge")
def test_without_a_bridge_it_answers_its_own_task_and_no_other(executor: Executor) -> None:
    """The task of another run waits for the bridge."""
    agent = executor.agent(always(Echo()))
    other = executor.start(executor.chain(agent), message="not yours")
    executor.messages.wait_for(other, TASKS, lambda seen: len(seen) == 1, "its task")
    done = run_script(executor)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    answered = "  No bridge runs: answered the task of test-agent in its place\n"
    assert re.fullmatch(page(executor, answered=answered), done.stdout), done.stdout
    assert executor.api.run(other)["status"] == "RUNNING"
    (bridge,) = executor.running.role("bridge")
    bridge.start()
    assert executor.ended(other)["status"] == "COMPLETED"


def test_without_an_api_it_writes_the_rows_and_publishes_the_request(executor: Executor, sample_url: str) -> None:
    """The bridge and the executor do not notice the difference."""
    done = run_script(executor, "--agent-url", sample_url, api_url=NOTHING)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    created = rf"as a row \(no API at {NOTHING}\)"
    assert re.fullmatch(page(executor, created=created), done.stdout), done.stdout


@pytest.mark.usefixtures("without_bridge")
def test_an_executor_alone_is_enough(executor: Executor) -> None:
    """Neither API nor bridge."""
    done = run_script(executor, api_url=NOTHING)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No bridge runs" in done.stdout


def test_a_step_that_fails_is_told_with_its_cause_and_exit_code_1(executor: Executor) -> None:
    """The agent that the script registers does not exist at its URL; the rows of the run stay for a look."""
    done = run_script(executor, "--agent-url", executor.agents.url(executor.name("nobody")))
    assert done.returncode == 1
    assert re.search(r"^✗ The run is FAILED: .*404", done.stdout, re.MULTILINE), done.stdout
    assert "Look at: SELECT * FROM step_executions WHERE run_id = 'run-" in done.stdout
    run_ids = [
        row["run_id"] for row in executor.rows("SELECT run_id FROM workflow_runs WHERE workflow_name LIKE 'integr%%'")
    ]
    assert len(run_ids) == 1
    assert run_ids[0] in done.stdout
    for run_id in run_ids:
        for table in ("step_executions", "workflow_runs"):
            executor.rows(f"DELETE FROM {table} WHERE run_id = %s RETURNING 1", run_id)
    executor.rows("DELETE FROM workflow_definitions WHERE name = 'integration-test-workflow' RETURNING 1")


def test_without_a_consumer_it_says_that_none_is_running(executor: Executor) -> None:
    """The run stays PENDING; at the time-out, when the stopped consumers' sessions are over, the missing part is named."""
    consumers = list(executor.running.role("consumer"))
    for consumer in consumers:
        consumer.stop()
    done = run_script(executor, "--timeout", "6", api_url=NOTHING)
    for consumer in consumers:
        consumer.start(wait=False)
    assert done.returncode == 1
    assert "✗ The run is PENDING after 6 s" in done.stdout
    assert "no consumer group reads workflow.execution.requests" in done.stdout
    # The row stays for a look. So it does here, under another name: the consumers still have to read of it.
    (row,) = executor.rows(
        "UPDATE workflow_runs SET workflow_name = 'seen' WHERE workflow_name LIKE 'integration-test-%%' RETURNING status"
    )
    assert row["status"] == "CANCELLED"
    executor.rows("DELETE FROM workflow_definitions WHERE name = 'integration-test-workflow' RETURNING 1")


def test_addresses_that_lead_nowhere_are_told_as_such(executor: Executor) -> None:
    """Database, Kafka, and an address where something else answers than the API."""
    free = HeldPort("nothing")
    free.close()
    for option, value, told in (
        ("--database-url", f"postgresql://u:p@127.0.0.1:{free.port}/d", "✗ No connection to the database"),
        ("--kafka-brokers", f"127.0.0.1:{free.port}", "✗ No connection to Kafka"),
        ("--api-url", f"http://127.0.0.1:{executor.agents.port}", "✗ http://127.0.0.1"),
    ):
        done = run_script(executor, option, value)
        assert done.returncode == 1, done.stdout
        assert told in done.stdout, done.stdout
        assert "Look at:" in done.stdout
        assert done.stderr == ""
