"""The consumer as a process of its own: what it logs, how it ends, and the command for dead letters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.engine import make_url

if TYPE_CHECKING:
    from tests.system.consumer.conftest import Lab

ROOT = Path(__file__).parents[3]
LINES = (
    "Starting Execution Consumer Service",
    "Initializing Kafka consumer",
    "Kafka consumer initialized successfully",
    "Starting ExecutionConsumer main loop",
)


@contextmanager
def consumer_process(lab: Lab, log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **lab.environment, **settings}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "system", "consumer"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def run(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the system, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "system", *arguments],
        cwd=ROOT, env={**os.environ, **lab.environment, "LOG_LEVEL": "ERROR"}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_it_says_how_it_starts_drains_at_sigterm_and_commits_what_it_did(
    lab: Lab, say: SimpleNamespace, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    run_ids = [say.new_run_id() for _ in range(5)]
    with consumer_process(lab, log, KAFKA_SESSION_TIMEOUT_MS="30000") as process:
        for run_id in run_ids:
            lab.publish(lab.requests, say.request(run_id))
            lab.tasks(run_id, 1)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 8
    text = log.read_text()
    positions = [text.index(line) for line in LINES]
    assert positions == sorted(positions)
    assert "Execution Consumer Service stopped" in text
    assert make_url(lab.environment["DATABASE_URL"]).password not in text
    lab.await_all_read()
    assert lab.rows.owed() == 0
    # The next process takes the place over in the group, and does not wait for the session of 30 s to end.
    with consumer_process(lab, log, KAFKA_SESSION_TIMEOUT_MS="30000"):
        for run_id in run_ids:
            lab.publish(lab.results, say.result(lab.tasks(run_id, 1)[0]))
            lab.await_status(run_id, "COMPLETED")


def test_it_ends_at_sigterm_also_while_it_waits_for_kafka_to_come(
    lab: Lab, say: SimpleNamespace, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with consumer_process(lab, log, KAFKA_BROKERS="127.0.0.1:1") as process:
        say.until(lambda: "Initializing Kafka consumer" in log.read_text(), "the start")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert "stopped before Kafka answered" in log.read_text()


def test_json_lines_name_the_run(lab: Lab, say: SimpleNamespace, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_id = say.new_run_id()
    with consumer_process(lab, log, LOG_FORMAT="json") as process:
        lab.publish(lab.requests, say.request(run_id))
        lab.publish(lab.results, say.result(lab.tasks(run_id, 1)[0], error="no"))
        lab.await_status(run_id, "FAILED")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (failed,) = [line for line in lines if line["message"].startswith("run is FAILED")]
    assert failed["run_id"] == run_id
    assert {line["level"] for line in lines} <= {"INFO", "WARNING"}


def test_after_kill_9_another_process_goes_on_with_the_same_task(
    lab: Lab, say: SimpleNamespace, tmp_path: Path
) -> None:
    run_id = say.new_run_id()
    with consumer_process(lab, tmp_path / "first", KAFKA_SESSION_TIMEOUT_MS="1500") as process:
        lab.publish(lab.requests, say.request(run_id, say.plan("a", "b")))
        lab.publish(lab.results, say.result(lab.tasks(run_id, 1)[0]))
        task = lab.tasks(run_id, 2)[1]
        process.kill()
        process.wait(10)
        lab.publish(lab.results, say.result(task))
    with consumer_process(lab, tmp_path / "second", KAFKA_SESSION_TIMEOUT_MS="1500"):
        lab.await_status(run_id, "COMPLETED")
    assert {task["task_id"] for task in lab.values(lab.tasks_topic, run_id)} == {
        row["task_id"] for row in lab.rows.execute("SELECT task_id FROM step_executions WHERE run_id = :r", r=run_id)
    }


@pytest.fixture
def lab_with_letters(lab: Lab, say: SimpleNamespace) -> Lab:
    """A lab with three requests set aside; the plan of each would be good had its envelope been."""
    with lab.looping():
        for number in range(3):
            broken = {**say.request(say.new_run_id()), "timestamp": f"day {number}"}
            lab.publish(lab.requests, broken, key=f"key {number}".encode(), partition=0)
        lab.letters(lab.requests, 3)
        lab.await_all_read()
    return lab


def test_dead_letters_are_listed_and_replayed_each_once(lab_with_letters: Lab) -> None:
    lab = lab_with_letters
    originals = {letter.value for letter in lab.letters(lab.requests, 3)}
    listed = run(lab, "dead-letters", "list", "--topic", lab.requests)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("timestamp") >= 3
    assert "3 letters" in listed.stdout
    assert f"from {lab.requests}[0]@2" in listed.stdout
    dry = run(lab, "dead-letters", "replay", "--topic", lab.requests, "--dry-run")
    assert "3 letters" in dry.stdout
    first = run(lab, "dead-letters", "replay", "--topic", lab.requests, "--limit", "2")
    assert first.returncode == 0, first.stderr
    assert first.stdout.endswith("2 letters done\n")
    second = run(lab, "dead-letters", "replay", "--topic", lab.requests)
    assert second.stdout.endswith("1 letters done\n")
    assert run(lab, "dead-letters", "replay", "--topic", lab.requests).stdout == "0 letters done\n"
    assert "0 letters" in run(lab, "dead-letters", "list", "--topic", lab.requests).stdout
    # What was sent again is read again, and, still being broken, set aside again, byte for byte.
    with lab.looping():
        letters = lab.letters(lab.requests, 6)
    assert {letter.value for letter in letters[3:]} == originals
    assert sorted(letter.key for letter in letters[3:]) == [b"key 0", b"key 1", b"key 2"]
    assert all([name for name, _ in letter.headers].count("reason") == 1 for letter in letters)


def test_dead_letters_of_a_topic_that_has_none_say_so(lab: Lab) -> None:
    missing = run(lab, "dead-letters", "list", "--topic", f"{lab.requests}.missing")
    assert missing.returncode == 0
    assert f"no topic {lab.requests}.missing.dlq" in missing.stderr
    assert run(lab, "dead-letters", "list", "--topic", lab.results).stdout == "0 letters\n"
