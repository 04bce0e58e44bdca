"""The system that the blocks of the pages are run on: `plumbline up`, as a reader starts it, and a shell for each page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.docs.blocks import ROOT

_START_SECONDS = 180.0
_END_SECONDS = 40.0
_BLOCK_SECONDS = 180.0
_COMMAND = (sys.executable, "-c", "from harness.cli import main; main()", "up")
_ENTRIES = (
    "contract", "system", "harness", "subjects", "examples", "migrations", "alembic.ini", "pyproject.toml",
    "test_api_executor_integration.py",
)  # fmt: skip

# curl tells, on a line of its own and beside its output, what it asked and which status it got. A command that fails in
# the midst of a block is remembered, so that the ones after it do not hide it.
_CURL = r"""
curl() { command curl --write-out '%{stderr}ASKED %{method} %{url} %{http_code}\n' "$@"; }
set -E -o pipefail
trap 'failed=$?' ERR
"""


class Up:
    """`plumbline up`, with its addresses by the names under which it prints them."""

    def __init__(self, api_port: int) -> None:
        self._process = subprocess.Popen(
            [*_COMMAND, "--api-port", str(api_port)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._out: list[str] = []
        self._err: list[str] = []
        self._readers = [
            threading.Thread(target=_read, args=(self._process.stdout, self._out), daemon=True),
            threading.Thread(target=_read, args=(self._process.stderr, self._err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        _wait(lambda: any("Ctrl-C" in line for line in self._out) or self._process.poll() is not None, _START_SECONDS)
        if self._process.poll() is not None:
            raise RuntimeError(f"`plumbline up` has ended: {''.join(self._err)}")
        self.places = {
            match[1]: match[2] for line in self._out if (match := re.fullmatch(r"  (\S+) +(\S+://\S+|\S+:\d+)\n", line))
        }

    def end(self) -> None:
        """Stop it as Ctrl-C does.

        Raises:
            RuntimeError: it ended with another exit code than 0.
        """
        self._process.terminate()
        exit_code = self._process.wait(_END_SECONDS)
        for reader in self._readers:
            reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        if exit_code != 0:
            raise RuntimeError(f"`plumbline up` ended with {exit_code}: {''.join(self._err)}")

    def localized(self, text: str) -> str:
        """The text with this system's addresses in the place of the usual ones, which the pages show."""
        for usual, name in ((8000, "API"), (5432, "PostgreSQL"), (9092, "Kafka")):
            port = re.findall(r":(\d+)(?:/|$)", self.places[name])[-1]
            text = re.sub(rf"(127\.0\.0\.1|localhost):{usual}\b", f"127.0.0.1:{port}", text)
        return text

    def environment(self) -> dict[str, str]:
        """What a reader's shell holds, and where this system is."""
        origin = self.places["API"].removesuffix("/api/v1")
        return {
            **{
                name: os.environ[name]
                for name in ("HOME", "LANG", "TMPDIR", "PLUMBLINE_CACHE_DIR")
                if name in os.environ
            },
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "120",
            "PLUMBLINE_API_URL": origin,
            "API_URL": origin,
            "DATABASE_URL": self.places["PostgreSQL"],
            "KAFKA_BROKERS": self.places["Kafka"],
        }


def _read(stream: IO[str], into: list[str]) -> None:
    into.extend(iter(stream.readline, ""))


def _wait(holds: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"`plumbline up` was not up within {seconds} s")
        time.sleep(0.05)


def checkout(folder: Path) -> Path:
    """A folder that looks like a checkout, in which a page's blocks may write scenarios without harm to the real one."""
    folder.mkdir()
    for name in _ENTRIES:
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "scenarios", folder / "scenarios", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@dataclass(frozen=True)
class Ran:
    """How a script ended: its exit code, what it printed, and what its calls of curl asked, as (method, URL, status)."""

    exit_code: int
    out: str
    err: str
    asked: tuple[tuple[str, str, int], ...]


class Shell:
    """One bash for all blocks of a page, so that a later one knows the variables of an earlier one."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._number = 0
        self.run(_CURL)

    def run(self, script: str, at_most_seconds: float = _BLOCK_SECONDS) -> Ran:
        """Run a script to its end.

        Raises:
            TimeoutError: it took longer than a reader would wait; the shell is ended.
        """
        self._number += 1
        base = self._folder / f".block-{self._number}"
        base.with_suffix(".sh").write_text(script, encoding="utf-8")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"failed=0; source {base}.sh >{base}.out 2>{base}.err </dev/null; echo $failed\n")
        self._process.stdin.flush()
        told: list[str] = []
        reader = threading.Thread(target=lambda: told.append(self._process.stdout.readline()), daemon=True)
        reader.start()
        reader.join(at_most_seconds)
        if not told:
            self._process.kill()
            raise TimeoutError(f"the block did not end within {at_most_seconds} s:\n{script}")
        err = base.with_suffix(".err").read_text(encoding="utf-8")
        asked = tuple((m[1], m[2], int(m[3])) for m in re.finditer(r"^ASKED (\S+) (\S+) (\d+)$", err, re.MULTILINE))
        err = re.sub(r"^ASKED .*\n", "", err, flags=re.MULTILINE)
        return Ran(int(told[0] or -1), base.with_suffix(".out").read_text(encoding="utf-8"), err, asked)

    def end(self) -> None:
        """Let bash go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_END_SECONDS)
        self._process.stdout.close()
