"""Temporal's server, which comes as source alone: built once for the machine, by Go, from the Go module proxy."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from benchmarks.contender import Say
from harness import settings
from harness.stack import Warden

VERSION: Final = "v1.32.1"
# The versions of the schemas in that module, which the server compares with those that it needs.
STORE_SCHEMA: Final = "1.19"
VISIBILITY_SCHEMA: Final = "1.14"
_MODULE = "go.temporal.io/server"
# By the name that `go install` gives to what it builds.
_PACKAGES: Final = {"server": "cmd/server", "sql": "cmd/tools/sql"}
_SCHEMA_IN_MODULE = Path("schema/postgresql/v12/visibility/schema.sql")
_SCHEMA_NAME = "visibility.sql"
_BUILD_SECONDS = 3600.0
_FETCH_SECONDS = 600.0
_TELL_SECONDS = 20.0
_TAIL_LINES = 6
# The embedded server's wheel has not the extension that the GIN indexes on search attributes need. The server works
# without them: they only make some searches faster.
_EXTENSION_BLOCK = re.compile(
    r"^DO LANGUAGE 'plpgsql' \$\$.*?CREATE EXTENSION btree_gin;.*?\$\$;\n", re.DOTALL | re.MULTILINE
)
_GIN_INDEX = re.compile(r"^CREATE INDEX \w+\s+ON executions_visibility USING GIN \([^;]*\);[ ]*\n?", re.MULTILINE)


@dataclass(frozen=True)
class Programs:
    """What was built: the server, its tool for SQL schemas, and the schema of its visibility store."""

    server: Path
    sql_tool: Path
    visibility_schema: Path


class CannotBuild(Exception):
    """Why there is no server, and what to do about it."""


def programs(say: Say, *, may_build: bool = True) -> Programs:
    """The programs, from the cache directory; built first when they are not there. Raises CannotBuild."""
    directory = settings.cache_directory() / "temporal" / VERSION
    found = Programs(directory / "server", directory / "sql", directory / _SCHEMA_NAME)
    if all(path.exists() for path in vars(found).values()):
        return found
    if not may_build:
        raise CannotBuild(f"its server {VERSION} has not been built yet; `nox -s bench` builds it")
    go = shutil.which("go")
    if go is None:
        raise CannotBuild(
            f"its server is built from source ({_MODULE} {VERSION}), and there is no Go on the PATH: install Go 1.26.8 "
            "or newer, then run this again"
        )
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.parent / "build.lock", timeout=_BUILD_SECONDS), Warden() as warden:
            if not all(path.exists() for path in vars(found).values()):
                workshop = warden.temporary_directory(directory.parent)
                _build(go, workshop, warden, say)
                directory.mkdir(exist_ok=True)
                for path in vars(found).values():
                    # One by one, each whole: what is missing after an interruption is built again.
                    (workshop / path.name).replace(path)
    except (OSError, Timeout, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"its server could not be built in {directory}: {error}") from error
    return found


def without_gin(schema: str) -> str:
    """The schema of the visibility store without its GIN indexes, and without the extension that they need.

    Raises CannotBuild when the schema has changed so much that these are not found.
    """
    rest, blocks = _EXTENSION_BLOCK.subn("", schema)
    rest, indexes = _GIN_INDEX.subn("", rest)
    if blocks != 1 or not indexes or "btree_gin" in rest or "USING GIN" in rest:
        raise CannotBuild(
            f"the visibility schema of {_MODULE} {VERSION} should create the extension btree_gin once, and GIN indexes "
            f"each on a line; found {blocks} and {indexes}. benchmarks/temporal_build.py must learn its new form."
        )
    return rest


def _build(go: str, directory: Path, warden: Warden, say: Say) -> None:
    say(f"Temporal: building its server {VERSION} from the Go module proxy; once, some five minutes on two idle cores")
    environment = {**os.environ, "GOBIN": str(directory), **warden.environment()}
    packages = [f"{_MODULE}/{path}@{VERSION}" for path in _PACKAGES.values()]
    _run([go, "install", "-v", *packages], environment, warden, say)
    answer = subprocess.run(
        [go, "mod", "download", "-json", f"{_MODULE}@{VERSION}"],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=_FETCH_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise CannotBuild(
            f"`go mod download {_MODULE}@{VERSION}` failed: {answer.stderr.strip() or answer.stdout.strip()}"
        )
    source = Path(json.loads(answer.stdout)["Dir"]) / _SCHEMA_IN_MODULE
    (directory / _SCHEMA_NAME).write_text(without_gin(source.read_text(encoding="utf-8")), encoding="utf-8")


def _run(arguments: Sequence[str], environment: dict[str, str], warden: Warden, say: Say) -> None:
    """Run a program that writes a line for each package that it fetches or compiles; tell now and then how many."""
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=environment["GOBIN"],
        env=environment,
        start_new_session=True,
    )
    warden.adopt(process.pid)
    overdue = threading.Timer(_BUILD_SECONDS, lambda: os.killpg(process.pid, signal.SIGKILL))
    overdue.start()
    begun = told = time.monotonic()
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    count = 0
    try:
        assert process.stderr is not None
        for line in process.stderr:
            tail.append(line.rstrip())
            count += 1
            if time.monotonic() - told >= _TELL_SECONDS:
                told = time.monotonic()
                say(f"  {count} packages after {told - begun:.0f} s")
        process.wait()
    finally:
        overdue.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        with process:
            process.wait()
        warden.release(process.pid)
    if process.returncode != 0:
        raise CannotBuild(
            f"`{' '.join(arguments[:2])}` of its server {VERSION} ended with exit code {process.returncode}: {' / '.join(tail)}"
        )
    say(f"  built in {time.monotonic() - begun:.0f} s")
