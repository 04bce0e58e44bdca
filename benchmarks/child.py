"""A Python process of the benchmark's own, spoken to by lines, which ends with its input."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.stack import Warden

_ROOT = Path(__file__).resolve().parents[1]
_END_SECONDS = 15.0


@contextlib.contextmanager
def child(warden: Warden, module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m module ARGUMENTS`, with pipes for its input and output. When the body is over its input is closed, and it has
    `_END_SECONDS` to end; a body that raised does not wait for it. Raises subprocess.TimeoutExpired."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **warden.environment()},
    )
    warden.adopt(process.pid)
    try:
        assert process.stdin is not None
        yield process
        process.stdin.close()
        process.wait(_END_SECONDS)
    finally:
        process.kill()
        with process:
            process.wait()
        warden.release(process.pid)
