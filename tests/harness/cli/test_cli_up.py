"""`plumbline up` as a person starts it: a process of its own, on a real stack."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.client import ApiClient
from harness.stack.ports import HeldPort

pytestmark = pytest.mark.xdist_group("plumbline up")
COMMAND = (sys.executable, "-c", "from harness.cli import main; main()")
START_SECONDS = 90.0
END_SECONDS = 30.0


class Up:
    """The running command, with what it has printed."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "up", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=_read, args=(self.process.stdout, self.out)),
            threading.Thread(target=_read, args=(self.process.stderr, self.err)),
        ]
        for reader in self._readers:
            reader.start()

    def wait_for(self, holds: Callable[[], object], what: str, seconds: float) -> None:
        """Wait for a condition, for as long as the command runs."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not {what} within {seconds} s: {''.join(self.err)}{''.join(self.out)}"
            time.sleep(0.05)

    def wait_for_start(self) -> None:
        """Wait for the last line of what it prints at its start."""
        self.wait_for(
            lambda: any("Ctrl-C" in line for line in self.out) or self.process.poll() is not None, "up", START_SECONDS
        )
        assert self.process.poll() is None, "".join(self.err)

    def family(self) -> list[psutil.Process]:
        """All that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and give the exit code."""
        self.process.send_signal(number)
        return self.wait_for_end()

    def wait_for_end(self) -> int:
        """The exit code."""
        exit_code = self.process.wait(END_SECONDS)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return exit_code


def _read(stream: object, into: list[str]) -> None:
    into.extend(iter(stream.readline, ""))  # type: ignore[attr-defined]


def free_port() -> int:
    """A port that is free now."""
    held = HeldPort("a free one")
    held.close()
    return held.port


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """One that all tests here share, ended by SIGTERM."""
    started = Up("--api-port", str(free_port()), "--consumers", "2")
    started.wait_for_start()
    family = started.family()
    yield started
    if started.process.poll() is None:
        assert started.end(signal.SIGTERM) == 0, "".join(started.err)
        # A test has killed a process, so the logs are kept for a look.
        logs = Path(_printed(started, "logs"))
        assert started.err[-1] == f"Stopped. The logs are kept in {logs}.\n"
        shutil.rmtree(logs)
        assert [
            process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ] == []


@pytest.fixture
def api_url(up: Up) -> str:
    """Where its API is, as it prints it."""
    return _printed(up, "API").removesuffix("/api/v1")


def _printed(up: Up, name: str) -> str:
    return next(line.split(None, 1)[1].strip() for line in up.out if line.startswith(f"  {name} "))


def test_the_commands_of_the_quick_start_work_as_they_are_printed(up: Up, api_url: str) -> None:
    """In one shell, from the first to the last, and a second time."""
    lines = "".join(up.out).partition("Try it:\n")[2].partition("\nLook at it:")[0]
    for _ in range(2):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", lines], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
    run, steps, cancelled = done.stdout.splitlines()[-3:]
    assert '"workflow_name":"greeting"' in run
    assert '"step_id":"greet"' in steps or '"items":[]' in steps
    assert '"status":"CANCELLED"' in cancelled
    (run_id,) = re.findall(r'"run_id":"(run-[^"]*)"', run)
    with ApiClient(api_url) as api:
        up.wait_for(lambda: api.run(run_id)["status"] == "COMPLETED", "completed", 20)
        (step,) = api.steps(run_id)
        assert step["output_data"] is not None
        assert step["output_data"]["text"] == "hello"


def test_run_follows_a_run_to_its_end(api_url: str, tmp_path: Path) -> None:
    """Through both sample agents; its exit code tells how it went."""
    path = tmp_path / "both.yaml"
    path.write_text("""
name: both-agents
start_step: a
steps:
  a: {id: a, type: agent, agent_name: echo-agent, next_step: b, input_mapping: {m: $.workflow_input.message}}
  b: {id: b, type: agent, agent_name: test-agent, next_step: null, input_mapping: {m: "${a.output.m}"}}
""")
    command = [*COMMAND, "run", str(path), "--input", '{"message": "hi"}', "--api", api_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "  Step b (test-agent): COMPLETED" in done.stdout
    assert done.stdout.endswith("Status: COMPLETED\n")
    command[command.index('{"message": "hi"}')] = "{}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "message" in done.stdout.splitlines()[-1]


def test_a_process_that_dies_is_started_again_with_a_word_about_it(up: Up, api_url: str) -> None:
    """The executor goes on; the end of the dead one's log is shown."""
    consumer = next(process for process in up.family() if process.cmdline()[-2:] == ["system", "consumer"])
    consumer.kill()
    up.wait_for(lambda: any(line.startswith("Starting consumer-") for line in up.err), "started again", 10)
    told = "".join(up.err)
    assert re.search(r"consumer-\d was ended by signal 9\. The end of its log:", told)
    assert "main loop" in told
    up.wait_for(
        lambda: sum(process.cmdline()[-2:] == ["system", "consumer"] for process in up.family()) == 2,
        "two consumers",
        10,
    )
    with ApiClient(api_url) as api:
        workflow = api.workflow_named("greeting")
        if workflow is not None:
            run_id = api.execute(workflow["id"], {"message": "after", "delay_seconds": 0})["run_id"]
            up.wait_for(lambda: api.run(run_id)["status"] == "COMPLETED", "completed", 20)


def test_a_taken_api_port_is_told_before_anything_is_started() -> None:
    """Exit code 1, and the message says which port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        started = Up("--api-port", str(port))
        assert started.wait_for_end() == 1
    (line,) = started.err
    assert line.startswith(
        f"Error: Port {port} on 127.0.0.1, wanted for the API (--api-port), is held by another process."
    )
    assert started.out == []


def test_data_are_found_again_and_agents_registered_anew(tmp_path: Path) -> None:
    """Twice on one directory, ended by Ctrl-C: the runs of the first are there, and each agent has one record."""
    data, port = tmp_path / "data", str(free_port())
    if os.geteuid() == 0:
        # PostgreSQL does not run as root, and its user must get at the data.
        for folder in (tmp_path, *tmp_path.parents):
            folder.chmod(folder.stat().st_mode | 0o011)
    run_ids = []
    for round_number in range(2):
        started = Up("--data", str(data), "--api-port", port)
        started.wait_for_start()
        with ApiClient(f"http://127.0.0.1:{port}") as api:
            assert len(api.runs()["items"]) == round_number
            for name in ("echo-agent", "test-agent"):
                agent = api.agent_named(name)
                assert agent is not None
                assert agent["url"] == _printed(started, name)
                assert api.agent_health(agent["id"])["status"] == "healthy"
            definition = {
                "name": f"again-{round_number}",
                "start_step": "a",
                "steps": {"a": {"id": "a", "type": "agent", "agent_name": "echo-agent", "next_step": None}},
            }
            run_ids.append(api.execute(api.create_workflow(definition)["id"], {})["run_id"])
            started.wait_for(lambda: api.run(run_ids[-1])["status"] == "COMPLETED", "completed", 20)
        assert started.end(signal.SIGINT) == 0, "".join(started.err)
    assert (data / "logs" / "consumer-1.log").read_text().count("Starting ExecutionConsumer main loop") == 2
