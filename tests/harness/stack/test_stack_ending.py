"""Nothing outlives the process that started a stack, however it ends. Needs real stacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2
import pytest

from harness.stack import DataDirectoryUnusable, EmbeddedStack
from harness.stack.warden_process import is_gone
from tests.waiting import until

REPOSITORY = Path(__file__).parents[3]
START_SECONDS = 120.0
END_SECONDS = 30.0


def shared_memory_creators() -> set[int]:
    """The processes that have made a block of System V shared memory that is still there (Linux only)."""
    listing = Path("/proc/sysvipc/shm")
    lines = listing.read_text().splitlines()[1:] if listing.exists() else []
    return {int(line.split()[4]) for line in lines}


@dataclass
class CommandLine:
    """``python -m harness.stack up`` as a process of its own, once it is ready."""

    process: subprocess.Popen[str]
    database_url: str
    kafka_brokers: str
    descendants: list[psutil.Process]
    directories: set[Path]

    def assert_nothing_is_left(self) -> None:
        until(lambda: all(is_gone(one) for one in self.descendants), "every process was gone")
        until(lambda: not any(directory.exists() for directory in self.directories), "the directory was gone")
        assert shared_memory_creators().isdisjoint(one.pid for one in self.descendants)


def start_command_line(*arguments: str) -> CommandLine:
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.stack", "up", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
    )
    assert process.stdout is not None
    addresses = dict(process.stdout.readline().strip().split("=", 1) for _ in range(2))
    descendants = psutil.Process(process.pid).children(recursive=True)
    names = " ".join(one.name() for one in descendants)
    assert "postgres" in names
    assert "java" in names
    temporary = Path(tempfile.gettempdir())
    directories = {
        directory
        for one in descendants
        for argument in one.cmdline()
        for directory in (temporary, *temporary.iterdir())
        if directory.name.startswith("plumbline-") and str(directory) in argument
    }
    assert directories
    return CommandLine(process, addresses["DATABASE_URL"], addresses["KAFKA_BROKERS"], descendants, directories)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_told_end_leaves_nothing(number: signal.Signals) -> None:
    """Ctrl-C, which reaches the whole group, and SIGTERM end it in good order, with exit code 0."""
    started = start_command_line()
    if number == signal.SIGINT:
        os.killpg(started.process.pid, number)
    else:
        started.process.send_signal(number)
    _, _ = started.process.communicate(timeout=END_SECONDS)
    assert started.process.returncode == 0
    started.assert_nothing_is_left()


def test_kill_9_of_the_parent_leaves_nothing_but_the_data_to_keep() -> None:
    """The warden ends both servers; a next stack on the same directory finds what was committed."""
    with tempfile.TemporaryDirectory() as parent:
        # A folder that the database's user can enter, also when the tests run as root.
        Path(parent).chmod(0o755)
        data = Path(parent) / "data"
        # What a start that was killed half way may have left: it is made anew.
        for cut_short in ("postgres.unfinished/base", "kafka/__cluster_metadata-0"):
            (data / cut_short).mkdir(parents=True)
        started = start_command_line("--data", str(data))
        connection = psycopg2.connect(started.database_url)
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 'kept' AS word")
        connection.close()
        with pytest.raises(DataDirectoryUnusable, match="in use by another stack"):
            EmbeddedStack(data_directory=data).start()
        started.process.kill()
        started.process.communicate(timeout=END_SECONDS)
        # At once, while the servers of the killed stack may still be ending.
        with EmbeddedStack(data_directory=data) as again:
            connection = psycopg2.connect(again.database_url)
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT word FROM kept")
                assert cursor.fetchone() == ("kept",)
            connection.close()
        started.assert_nothing_is_left()


def test_an_exception_in_the_body_leaves_nothing() -> None:
    """The context manager ends both servers and lets the exception through."""
    processes: list[psutil.Process] = []
    logs: list[Path] = []

    def use_and_fail() -> None:
        with EmbeddedStack() as stack:
            processes.extend(psutil.Process(pid) for pid in (stack.database.pid, stack.broker.pid, stack.warden.pid))
            logs.extend(log for log in (stack.database.log_path, stack.broker.log_path) if log.exists())
            # A paused server must not hold up the end.
            stack.broker.pause()
            raise RuntimeError("from the body")

    with pytest.raises(RuntimeError, match="from the body"):
        use_and_fail()
    assert [one for one in processes if not is_gone(one)] == []
    assert len(logs) == 2
    assert not any(log.exists() for log in logs)
