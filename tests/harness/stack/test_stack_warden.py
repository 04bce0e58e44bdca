"""The warden by itself: it ends what was put under its watch, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.stack import StackError, Warden
from harness.stack.warden_process import Charge, birth_of, is_gone, remove
from tests.waiting import until

REPOSITORY = Path(__file__).parents[3]
SLEEPER = [sys.executable, "-c", "import time; time.sleep(300)"]
END_SECONDS = 20.0

# A parent that starts three sleepers, tells their ids and its temporary directory, and waits to be killed: one
# adopted, one that a child of the adopted one starts, and one that is only marked.
PARENT = """
import os, subprocess, sys, time
from harness.stack import Warden
sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
nest = [sys.executable, "-c", "import subprocess, sys, time;"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']).pid, flush=True);"
        "time.sleep(300)"]
warden = Warden()
adopted = subprocess.Popen(nest, stdout=subprocess.PIPE, text=True)
warden.adopt(adopted.pid)
nested = int(adopted.stdout.readline())
marked = subprocess.Popen(sleep, env={**os.environ, **warden.environment()}, start_new_session=True)
stranger = subprocess.Popen(sleep, start_new_session=True)
directory = warden.temporary_directory()
print(warden.pid, adopted.pid, nested, marked.pid, stranger.pid, directory, flush=True)
time.sleep(300)
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that would run for minutes."""
    process = subprocess.Popen(SLEEPER, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_kill_9_of_the_parent_ends_its_family_and_no_stranger() -> None:
    """Adopted, nested and merely marked processes end, the directory goes, a process never registered stays."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True
    )
    assert parent.stdout is not None
    *pids, directory = parent.stdout.readline().split()
    warden, adopted, nested, marked, stranger = (psutil.Process(int(pid)) for pid in pids)
    try:
        # What a terminal sends to all at Ctrl-C does not end the warden.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            warden.send_signal(number)
        assert Path(directory).is_dir()
        parent.kill()
        parent.wait()
        until(lambda: all(is_gone(one) for one in (warden, adopted, nested, marked)), "the family was gone")
        assert not Path(directory).exists()
        assert not is_gone(stranger)
    finally:
        stranger.kill()
        parent.stdout.close()


def test_close_ends_what_is_adopted_and_leaves_what_was_released(sleeper: subprocess.Popen[bytes]) -> None:
    """An orderly end does the same as a death, and returns when it is done."""
    with Warden() as warden:
        adopted = subprocess.Popen(SLEEPER)
        warden.adopt(adopted.pid)
        warden.adopt(sleeper.pid)
        warden.release(sleeper.pid)
        directory = warden.temporary_directory()
    assert adopted.wait(timeout=5) == -signal.SIGKILL
    assert sleeper.poll() is None
    assert not directory.exists()


def test_the_first_signal_gives_a_process_time_to_end_well(tmp_path: Path) -> None:
    """A process that ends on its first signal is not killed."""
    ended_well = tmp_path / "ended-well"
    program = f"""
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(ended_well)!r}).touch(), sys.exit(0)))
print("ready", flush=True)
signal.pause()
"""
    polite = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert polite.stdout is not None
    assert polite.stdout.readline() == b"ready\n"
    with Warden() as warden:
        warden.adopt(polite.pid, signal.SIGTERM)
        # A stopped process gets its signal all the same.
        polite.send_signal(signal.SIGSTOP)
    polite.communicate()
    assert polite.returncode == 0
    assert ended_well.exists()


def test_a_number_that_another_process_has_by_now_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    """A process is known by its id and its birth together."""
    birth = birth_of(sleeper.pid)
    assert birth is not None
    assert Charge(sleeper.pid, f"{birth}1", signal.SIGKILL).family() == []
    assert [one.pid for one in Charge(sleeper.pid, birth, signal.SIGKILL).family()] == [sleeper.pid]


def test_a_directory_without_the_mark_is_not_removed(tmp_path: Path) -> None:
    """Only what this warden made itself is removed."""
    unmarked, foreign = tmp_path / "unmarked", tmp_path / "foreign"
    unmarked.mkdir()
    (unmarked / "somebody's").touch()
    foreign.mkdir()
    (foreign / ".plumbline-temporary").write_text("another token")
    remove(str(unmarked), "token")
    remove(str(foreign), "token")
    assert unmarked.is_dir()
    assert foreign.is_dir()


def test_a_child_that_outlives_the_parent_does_not_keep_the_warden_waiting() -> None:
    """The pipe's write end is not inherited, even by a child that was started without closing descriptors."""
    with Warden() as warden:
        child = subprocess.Popen(SLEEPER, close_fds=False)
        watcher = psutil.Process(warden.pid)
    try:
        assert is_gone(watcher)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_warden_that_was_ended_by_somebody_is_noticed(sleeper: subprocess.Popen[bytes]) -> None:
    """A charge that nobody watches over is an error; to release one asks for nothing that is missing."""
    warden = Warden()
    watcher = psutil.Process(warden.pid)
    watcher.kill()
    until(lambda: is_gone(watcher), "the warden was gone")
    with pytest.raises(StackError, match="somebody ended it"):
        warden.adopt(sleeper.pid)
    warden.release(sleeper.pid)
    with pytest.raises(StackError, match="exit code -9"):
        warden.close()


def test_a_closed_warden_refuses_further_charges(sleeper: subprocess.Popen[bytes]) -> None:
    """Nobody is left in the belief that a process is watched over."""
    warden = Warden()
    warden.close()
    warden.close()
    with pytest.raises(StackError, match="was closed"):
        warden.adopt(sleeper.pid)
