"""Processes of a subject: started, known to be ready, killed, paused, stopped, and never left behind.

The subjects here are a few lines of shell, so that nothing depends on what they are written in.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.stack import ExternalStack, PortTaken, Warden
from harness.stack.errors import NotRunning
from harness.stack.ports import HeldPort
from harness.subject import NoSuchRole, NotReady, ProcessDied, RunningSubject, Subject, SubjectError
from tests.waiting import until

STACK = ExternalStack("postgresql://user:password@127.0.0.1:1/db", "127.0.0.1:2")
LOYAL = "echo up; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.05; done"
WITH_CHILD = "sleep 1000 & echo child $!; echo up; wait"
WAIT_SECONDS = 10.0


@pytest.fixture
def warden() -> Iterator[Warden]:
    """Ends what a failed test leaves."""
    with Warden() as watching:
        yield watching


@pytest.fixture
def subject(tmp_path: Path) -> Callable[..., Subject]:
    """Makes a subject with one role, the consumer, that runs a shell script."""

    def make(script: str, **more: Any) -> Subject:
        role = {
            "command": ["/bin/sh", "-c", script],
            "ready": {"log": "up", "timeout_seconds": 5},
            "stop": {"timeout_seconds": 0.5},
            **more.pop("role", {}),
        }
        # JSON is YAML.
        path = tmp_path / "subject.yaml"
        path.write_text(json.dumps({"name": "shell", "roles": {"consumer": role, **more.pop("roles", {})}, **more}))
        return Subject.load(path)

    return make


def is_gone(pid: int) -> bool:
    """Whether a process has ended; it may still wait to be reaped by whoever has inherited it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def child_of(log: str) -> int:
    """The pid that WITH_CHILD has told."""
    return int(next(line.split()[1] for line in log.splitlines() if line.startswith("child")))


def test_as_many_processes_run_as_are_asked_for_and_one_more_after_add(
    subject: Callable[..., Subject], warden: Warden
) -> None:
    """They are numbered from 1, each has its own log, and all are gone at the end."""
    with subject(LOYAL).start(STACK, counts={"consumer": 2}, warden=warden) as running:
        consumers = running.role("consumer")
        added = consumers.add()
        assert [process.name for process in consumers] == ["consumer-1", "consumer-2", "consumer-3"]
        assert consumers[-1] is added
        assert len({process.log_path for process in consumers}) == 3
        pids = [process.pid for process in running.processes]
        assert all(pid is not None and psutil.pid_exists(pid) for pid in pids)
    assert not any(psutil.pid_exists(pid) for pid in pids if pid is not None)
    assert not running.log_directory.exists()


def test_a_killed_process_takes_its_children_along_and_can_be_started_again(
    subject: Callable[..., Subject], warden: Warden
) -> None:
    """A death that was asked for is not counted as one by itself."""
    with subject(WITH_CHILD).start(STACK, warden=warden) as running:
        (process,) = running.role("consumer")
        child, first = child_of(process.log()), process.pid
        process.kill()
        assert (process.is_running, process.exit_code, running.died()) == (False, -signal.SIGKILL, [])
        assert is_gone(child)
        with pytest.raises(NotRunning):
            process.kill()
        process.start()
        assert process.is_running
        assert process.pid != first
        assert process.log().count("up") == 1
        assert process.log_path.read_text().count("up") == 2


def test_a_paused_process_stands_still_and_goes_on(subject: Callable[..., Subject], warden: Warden) -> None:
    """It counts as running meanwhile."""
    # No shell loop: a shell that is stopped while it starts a child never shows as stopped.
    ticking = "import itertools, time; [(print('tick'), time.sleep(0.02)) for _ in itertools.count()]"
    with subject(f'echo up; exec {sys.executable} -uc "{ticking}"').start(STACK, warden=warden) as running:
        (process,) = running.role("consumer")
        until(lambda: "tick" in process.log(), "ticking")
        process.pause()
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "stopped")
        ticks = process.log().count("tick")
        assert process.is_running
        process.resume()
        until(lambda: process.log().count("tick") > ticks, "ticking")
        process.pause()
        # A process that stands still could not obey its stop signal.
        assert process.stop()


def test_what_does_not_obey_the_stop_signal_is_killed_at_its_time_out(
    subject: Callable[..., Subject], warden: Warden
) -> None:
    """`stop` says which of the two it was."""
    with subject(STUBBORN).start(STACK, warden=warden) as running:
        (process,) = running.role("consumer")
        begun = time.monotonic()
        assert process.stop() is False
        assert 0.5 <= time.monotonic() - begun < 5
        assert process.exit_code == -signal.SIGKILL
        process.restart()
        assert process.is_running
    loyal = subject(LOYAL).start(STACK, warden=warden)
    assert loyal.role("consumer")[0].stop() is True
    loyal.stop()


def test_children_that_stay_behind_after_a_stop_are_killed(subject: Callable[..., Subject], warden: Warden) -> None:
    """The shell ends at SIGTERM, and does not tell its child."""
    with subject(WITH_CHILD).start(STACK, warden=warden) as running:
        (process,) = running.role("consumer")
        child = child_of(process.log())
        assert process.stop() is False
        assert is_gone(child)


def test_another_stop_signal_is_sent_when_the_file_says_so(subject: Callable[..., Subject], warden: Warden) -> None:
    """SIGUSR1 ends this one, SIGTERM would not."""
    script = "trap '' TERM; trap 'echo bye; exit 0' USR1; echo up; while :; do sleep 0.02; done"
    made = subject(script, role={"stop": {"signal": "SIGUSR1", "timeout_seconds": 5}})
    with made.start(STACK, warden=warden) as running:
        (process,) = running.role("consumer")
        assert process.stop() is True
        assert process.exit_code == 0
        assert "bye" in process.log()


def test_a_process_that_dies_at_its_start_shows_the_end_of_its_log_which_is_kept(
    subject: Callable[..., Subject], warden: Warden
) -> None:
    """The processes that were well are ended."""
    made = subject(
        LOYAL, roles={"bridge": {"command": ["/bin/sh", "-c", "echo no such luck; exit 7"], "ready": {"log": "up"}}}
    )
    with pytest.raises(ProcessDied, match=r"(?s)bridge-1 ended with exit code 7 .*no such luck") as caught:
        made.start(STACK, warden=warden)
    kept = Path(str(caught.value).partition("(")[2].partition(")")[0])
    assert kept.read_text() == "no such luck\n"
    assert (kept.parent / "consumer-1.log").exists()
    assert [path.name for path in kept.parent.glob(".*")] == []
    until(lambda: not _mentions(kept.parent), "everything ended")
    for path in kept.parent.iterdir():
        path.unlink()
    kept.parent.rmdir()


def _mentions(directory: Path) -> list[int]:
    """Processes that write into a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            links = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in (1, 2)]
        except OSError:
            continue
        if process.status() != psutil.STATUS_ZOMBIE and any(link.startswith(str(directory)) for link in links):
            found.append(process.pid)
    return found


def test_one_that_never_gets_ready_is_told_with_what_is_lacking(
    subject: Callable[..., Subject], warden: Warden, tmp_path: Path
) -> None:
    """At the deadline of the file."""
    made = subject("echo almost; sleep 1000", role={"ready": {"log": "quite", "timeout_seconds": 0.3}})
    with pytest.raises(NotReady, match=r"(?s)no line of consumer-1's log holds 'quite'.*almost"):
        made.start(STACK, warden=warden, log_directory=tmp_path / "logs")
    assert (tmp_path / "logs" / "consumer-1.log").read_text() == "almost\n"


def test_readiness_by_http_waits_for_200(subject: Callable[..., Subject], warden: Warden, tmp_path: Path) -> None:
    """On the port that `{port:api}` is; a second API has a port of its own, and each keeps its port."""
    (tmp_path / "ready").write_text("yes")
    serve = ["{python}", "-m", "http.server", "--bind", "127.0.0.1", "{port:api}"]
    made = subject(LOYAL, roles={"api": {"command": serve, "ready": {"http": "{api_url}/ready"}}})
    with made.start(STACK, counts={"consumer": 0, "api": 2}, warden=warden) as running:
        assert urllib.request.urlopen(f"{running.api_url}/ready").read() == b"yes"
        assert list(running.roles) == ["api"]
        before = running.api_url
        running.role("api")[0].restart()
        assert running.api_url == before
        with pytest.raises(NoSuchRole, match="consumer"):
            running.role("consumer")
    (tmp_path / "ready").unlink()
    made = subject(LOYAL, roles={"api": {"command": serve, "ready": {"http": "{api_url}/ready", "timeout_seconds": 1}}})
    with pytest.raises(NotReady, match="answers 404"):
        made.start(STACK, counts={"consumer": 0}, warden=warden, log_directory=tmp_path / "logs")


def test_a_port_that_is_asked_for_and_taken_is_told(subject: Callable[..., Subject], warden: Warden) -> None:
    """Before anything is started on it."""
    import socket

    made = subject("echo {port:metrics}; " + LOYAL)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            made.start(STACK, ports={"metrics": port}, warden=warden)
    held = HeldPort("a free one")
    held.close()
    with made.start(STACK, ports={"metrics": held.port}, warden=warden) as running:
        assert running.role("consumer")[0].log().startswith(f"{held.port}\n")


def test_a_process_gets_what_the_file_says_and_nothing_else_of_our_environment(
    subject: Callable[..., Subject], warden: Warden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over it: what `start` is given. PATH and the names under `pass_environment` are handed on."""
    monkeypatch.setenv("KAFKA_GROUP_ID", "of this very terminal")
    monkeypatch.setenv("LICENCE", "wanted")
    made = subject(
        "env; " + LOYAL,
        environment={"DB": "{database_url}", "A": "1", "B": "1"},
        pass_environment=["LICENCE", "NOT_SET"],
        role={"environment": {"KAFKA": "{kafka_brokers}", "REGISTRY": "{agent_registry_url}", "B": "2"}},
    )
    with made.start(STACK, warden=warden, environment={"A": "3"}, agent_registry_url="http://agents") as running:
        lines = dict(line.split("=", 1) for line in running.role("consumer")[0].log().splitlines() if "=" in line)
    assert "KAFKA_GROUP_ID" not in lines
    assert lines["PATH"] == os.environ["PATH"]
    wanted = {
        "DB": STACK.database_url,
        "KAFKA": "127.0.0.1:2",
        "REGISTRY": "http://agents",
        "A": "3",
        "B": "2",
        "LICENCE": "wanted",
    }
    assert {name: lines[name] for name in wanted} == wanted


def test_a_migration_runs_first_and_one_that_fails_ends_the_start(
    subject: Callable[..., Subject], warden: Warden, tmp_path: Path
) -> None:
    """Its output is in the message."""
    made = subject("test -e migrated && " + LOYAL, migration={"command": ["/bin/sh", "-c", "touch migrated"]})
    with made.start(STACK, warden=warden):
        assert (tmp_path / "migrated").exists()
    made = subject(LOYAL, migration={"command": ["/bin/sh", "-c", "echo relation lost; exit 3"]})
    with pytest.raises(SubjectError, match=r"(?s)The migration ended with exit code 3.*relation lost"):
        made.start(STACK, warden=warden, log_directory=tmp_path / "logs")
    made = subject(LOYAL, migration={"command": ["sleep", "1000"], "timeout_seconds": 0.2})
    with pytest.raises(SubjectError, match="took longer"):
        made.start(STACK, warden=warden, log_directory=tmp_path / "logs")


def test_a_program_that_does_not_exist_is_told_by_its_name(
    subject: Callable[..., Subject], warden: Warden, tmp_path: Path
) -> None:
    """And what to correct."""
    made = subject(LOYAL, role={"command": ["/no/such/program"]})
    with pytest.raises(SubjectError, match=r"consumer-1 cannot be started: No such file.*/no/such/program.*`command`"):
        made.start(STACK, warden=warden, log_directory=tmp_path / "logs")


def test_a_process_that_dies_by_itself_is_seen_and_its_log_is_kept(
    subject: Callable[..., Subject], warden: Warden
) -> None:
    """`died` names it, until it is started again."""
    with subject("echo up; read -r _ < gate; exit 5").start(STACK, warden=warden) as running:
        # The gate does not exist, so the shell complains and ends.
        until(running.died, "seen to be dead")
        (process,) = running.died()
        assert process.exit_code == 5
    assert process.log_path.exists()
    for path in running.log_directory.iterdir():
        path.unlink()
    running.log_directory.rmdir()


def test_a_role_that_the_subject_does_not_play_cannot_be_started(
    subject: Callable[..., Subject], warden: Warden
) -> None:
    """But may be left out by name."""
    with pytest.raises(NoSuchRole, match="bridge"):
        subject(LOYAL).start(STACK, counts={"bridge": 1}, warden=warden)
    running: RunningSubject = subject(LOYAL).start(STACK, counts={"bridge": 0}, warden=warden)
    running.stop()
    running.stop()


def test_nothing_outlives_a_harness_that_is_killed(subject: Callable[..., Subject]) -> None:
    """kill -9 of the process that started the subject: its processes, their children and its logs vanish."""
    made = subject(WITH_CHILD)
    program = f"""
import sys, time
from harness.stack import ExternalStack
from harness.subject import Subject
running = Subject.load({str(made.description.path)!r}).start(ExternalStack("postgresql://x", "y:1"))
(process,) = running.role("consumer")
print(process.pid, process.log().split()[1], running.log_directory, flush=True)
time.sleep(1000)
"""
    harness = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    pid, child, directory = harness.stdout.readline().split()
    harness.kill()
    harness.wait()
    harness.stdout.close()
    until(lambda: is_gone(int(pid)) and is_gone(int(child)), "everything gone")
    until(lambda: not Path(directory).exists(), "the logs gone")
