"""A real PostgreSQL from the binaries of a wheel, on TCP, under our own process control.

It listens on 127.0.0.1. The user ``workflow_user`` (no superuser, may create databases, owns ``workflow_db``) logs in
with its password by SCRAM, as on a real server, so that a subject that loses the password is noticed. The superuser
``postgres`` is let in without one, over the Unix socket in the stack's own folder only. ``fsync`` is on, as delivered:
the rows are the truth.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2

from harness.stack.errors import DataDirectoryUnusable, NotRunning, PortTaken, ServerDied
from harness.stack.ports import LOOPBACK, HeldPort
from harness.stack.process import POLL_SECONDS, RunAs, ServerProcess
from harness.stack.unprivileged import can_traverse
from harness.stack.warden import Warden

USER = "workflow_user"
PASSWORD = "workflow_password"
DATABASE = "workflow_db"
SUPERUSER = "postgres"
MAX_CONNECTIONS = 200
SHARED_BUFFERS_MIB = 64
INIT_SECONDS = 120.0
READY_SECONDS = 120.0
STOP_SECONDS = 20.0
CHILDREN_SECONDS = 10.0
CONNECT_SECONDS = 2
_BIND_FAILURE = "could not create any TCP/IP sockets"
_HOST_RULES = f"""\
# type  database  user         address       method
local   all       {SUPERUSER}                    trust
host    all       {USER}       {LOOPBACK}/32  scram-sha-256
"""


class PostgresDatabase:
    """The database part of an embedded stack. Its data outlive stop, kill and start."""

    def __init__(
        self,
        installation: Path,
        data_directory: Path,
        socket_directory: Path,
        log_directory: Path,
        port: HeldPort,
        warden: Warden,
        run_as: RunAs | None,
        is_temporary: bool,
        inherited_descriptors: tuple[int, ...] = (),
    ) -> None:
        """``run_as`` is the user that the server runs as when we are root; ``is_temporary`` data need not survive
        a power cut during their creation."""
        self._binaries = installation / "bin"
        self._data = data_directory
        self._unfinished = data_directory.with_name(data_directory.name + ".unfinished")
        self._sockets = socket_directory
        self._port = port
        self._run_as = run_as
        self._is_temporary = is_temporary
        # Either signal ends its process soon, but lets it remove its shared memory, which SIGKILL leaves behind.
        self._initdb = ServerProcess("initdb", log_directory / "initdb.log", warden, signal.SIGTERM)
        self._server = ServerProcess(
            "PostgreSQL", log_directory / "postgres.log", warden, signal.SIGQUIT, inherited_descriptors
        )

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._port.port

    @property
    def pid(self) -> int | None:
        """The process id of the postmaster while it runs."""
        return self._server.pid

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._server.log_path

    @property
    def data_directory(self) -> Path:
        """Where its data are."""
        return self._data

    def log_tail(self) -> str:
        """The last lines of the server's log since its last start."""
        return self._server.log_tail()

    @property
    def url(self) -> str:
        """The address, as psycopg2 and SQLAlchemy both take it."""
        return f"postgresql://{USER}:{PASSWORD}@{LOOPBACK}:{self.port}/{DATABASE}"

    @property
    def superuser_url(self) -> str:
        """The address of the superuser, over the Unix socket."""
        return f"postgresql://{SUPERUSER}@/postgres?host={quote(str(self._sockets), safe='')}&port={self.port}"

    def move_to(self, port: HeldPort) -> None:
        """Listen on another port from the next start on."""
        self._port = port

    def start(self) -> None:
        """Start the server on its data and wait until it serves; nothing happens when it runs."""
        self.prepare()
        self.launch()
        self.await_ready()

    def prepare(self) -> None:
        """Begin to create the data directory, where there is none."""
        if self._data.exists() or self._initdb.pid is not None:
            return
        # Made under another name, so that a creation that was cut short is never taken for a database.
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._make_folder(self._unfinished)
        arguments = [str(self._binaries / "initdb"), "--pgdata", str(self._unfinished), "--username", SUPERUSER]
        # Strings sort the same way on every platform.
        arguments += [
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        arguments += ["--auth=trust", "--no-instructions"]
        if self._is_temporary:
            # Concerns only the files that initdb itself writes; the server's fsync stays on.
            arguments.append("--no-sync")
        self._initdb.launch(arguments, self._data.parent, run_as=self._run_as)

    def launch(self) -> None:
        """Start the server; it does not serve yet when this returns."""
        if self._server.pid is not None:
            return
        if self._initdb.pid is not None or self._initdb.exit_code is not None:
            self._initdb.wait_for_success(INIT_SECONDS)
            if not self._data.exists():
                self._unfinished.rename(self._data)
        (self._data / "pg_hba.conf").write_text(_HOST_RULES)
        self._make_folder(self._sockets)
        self._await_nobody_at_work()
        self._clear_remains()
        settings = {
            "port": self.port,
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": self._sockets,
            "max_connections": MAX_CONNECTIONS,
            "shared_buffers": f"{SHARED_BUFFERS_MIB}MB",
            # Segments as files of the data directory, so that no kill leaves any in /dev/shm.
            "dynamic_shared_memory_type": "mmap",
            "log_line_prefix": "%m [%p] %u@%d ",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        arguments = [str(self._binaries / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        self._port.make_way()
        self._server.launch(arguments, self._data.parent, run_as=self._run_as)

    def await_ready(self) -> None:
        """Wait until ``SELECT 1`` answers as the user in the database, which are made where missing.

        Raises :class:`PortTaken` when the server could not listen.
        """
        try:
            self._server.wait_until(lambda: answers(self.superuser_url), "answer on its Unix socket", READY_SECONDS)
            create_user_and_database(self.superuser_url)
            self._server.wait_until(self.is_serving, f"answer SELECT 1 as {USER} in {DATABASE}", READY_SECONDS)
        except ServerDied as error:
            if _BIND_FAILURE in self._server.log_since_launch():
                raise PortTaken(self.port, self._port.purpose) from error
            raise

    def is_serving(self) -> bool:
        """Whether ``SELECT 1`` answers within two seconds as the user in the database."""
        return self._server.pid is not None and answers(self.url)

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, data are flushed. Nothing happens when it does not run."""
        self.request_stop()
        self.await_stop()

    def request_stop(self) -> None:
        """Begin a fast shutdown."""
        self._initdb.end(signal.SIGTERM, STOP_SECONDS)
        with contextlib.suppress(NotRunning):
            self._server.send_to_family(signal.SIGCONT)
            self._server.send(signal.SIGINT)

    def await_stop(self) -> None:
        """Wait for the end; what has not ended within its bound is killed."""
        if not self._server.wait_for_end(STOP_SECONDS):
            self._server.kill()
        self._clear_remains()

    def kill(self) -> None:
        """SIGKILL to the postmaster and all its children. Raises ``NotRunning``."""
        self._server.kill()

    def pause(self) -> None:
        """SIGSTOP to the postmaster and all its children. Raises ``NotRunning``."""
        self._server.send_to_family(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT to the postmaster and all its children. Raises ``NotRunning``."""
        self._server.send_to_family(signal.SIGCONT)

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._run_as is not None:
            os.chown(folder, self._run_as.user_id, self._run_as.group_id)
            if not can_traverse(folder, self._run_as):
                raise DataDirectoryUnusable(
                    f"PostgreSQL does not run as root, so it runs as uid {self._run_as.user_id}, which cannot enter "
                    f"{folder}. Choose a data directory whose parents everybody can enter (chmod o+x), or start "
                    "the stack as an ordinary user."
                )

    def _await_nobody_at_work(self) -> None:
        """Wait for children of a killed server to end. Raises :class:`DataDirectoryUnusable` when one does not."""
        if not (self._data / "postmaster.pid").exists():
            return
        deadline = time.monotonic() + CHILDREN_SECONDS
        while process := _process_at_work_in(self._data):
            if time.monotonic() > deadline:
                raise DataDirectoryUnusable(
                    f"Process {process.pid} is at work in {self._data}. End it, or choose another data directory."
                )
            time.sleep(POLL_SECONDS)

    def _clear_remains(self) -> None:
        """Remove what a killed server has left: the file with its process id and its block of shared memory.

        Without a server at work in the data directory, the file can only be a leftover; it would keep the next
        server from starting if the number in it belongs to another process by now.
        """
        pid_file = self._data / "postmaster.pid"
        try:
            lines = pid_file.read_text().splitlines()
        except FileNotFoundError:
            return
        if sys.platform == "linux" and len(lines) >= 7 and len(fields := lines[6].split()) == 2:
            remove_id = 0
            # Fails when the block is gone already, which is as well.
            ctypes.CDLL(None).shmctl(int(fields[1]), remove_id, None)
        pid_file.unlink(missing_ok=True)


def answers(url: str) -> bool:
    """Whether ``SELECT 1`` answers there within two seconds."""
    try:
        connection = psycopg2.connect(url, connect_timeout=CONNECT_SECONDS)
    except psycopg2.OperationalError:
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone() == (1,)
    except psycopg2.OperationalError:
        return False
    finally:
        connection.close()


def create_user_and_database(superuser_url: str) -> None:
    """Make the contract's user and database where they are missing."""
    connection = psycopg2.connect(superuser_url, connect_timeout=CONNECT_SECONDS)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (USER,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD %s", (PASSWORD,))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")
    finally:
        connection.close()


def _process_at_work_in(folder: Path) -> psutil.Process | None:
    # A server and each of its children work in the data directory.
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()) == folder:
                return process
    return None
