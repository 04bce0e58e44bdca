"""Worker processes do not outlive the process that they work for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import until

_HARNESS = """
import os, time
from harness.worker_pool import worker_pool

if __name__ == "__main__":
    pool = worker_pool(2)
    print(*{pool.submit(os.getpid).result() for _ in range(8)}, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_a_harness_that_is_killed(by: signal.Signals, tmp_path: Path) -> None:
    program = tmp_path / "harness_process.py"
    program.write_text(_HARNESS, encoding="utf-8")
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        assert workers
        assert all(psutil.pid_exists(pid) for pid in workers)
        process.send_signal(by)
        process.wait()
        until(lambda: not any(_runs(pid) for pid in workers), "the workers have ended")


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
