"""The embedded stack: both servers as child processes, on a machine with nothing but Python."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from harness import settings
from harness.stack.artifacts import Fetch, ensure_jars, fetch_from_repository, read_lock
from harness.stack.data_directory import HeldDirectory
from harness.stack.errors import DataDirectoryUnusable, NoSpace, PortTaken, StackError
from harness.stack.java import java_program
from harness.stack.kafka import DEFAULT_HEAP_MIB, QUICK_JVM, KafkaBroker
from harness.stack.ports import HeldPort
from harness.stack.postgres import PostgresDatabase
from harness.stack.process import RunAs
from harness.stack.progress import ProgressDisplay, SilentProgress
from harness.stack.stack import StackOfOwnServers, of_started_stack
from harness.stack.unprivileged import can_traverse, database_user, reachable_installation, temporary_parent
from harness.stack.warden import Warden

_PORT_TRIES = 3


class EmbeddedStack(StackOfOwnServers[PostgresDatabase, KafkaBroker]):
    """Both servers as child processes, from wheels and locked jars, on free ports of the loopback.

    A context manager. With a ``data_directory`` the data are kept in it and found again by the next stack on it;
    without one they go into a temporary directory and vanish with the stack. Nothing outlives this process, however
    it ends (see :mod:`harness.stack.warden`).
    """

    def __init__(
        self,
        data_directory: Path | None = None,
        postgres_port: int | None = None,
        kafka_port: int | None = None,
        progress: ProgressDisplay | None = None,
        extra_listeners: Mapping[str, str] | None = None,
        kafka_heap_mib: int = DEFAULT_HEAP_MIB,
        kafka_jvm: Sequence[str] = QUICK_JVM,
        warden: Warden | None = None,
        fetch: Fetch = fetch_from_repository,
    ) -> None:
        """Describe the stack; nothing is started yet.

        ``extra_listeners`` names further listeners of the broker, each with the ``host:port`` that it advertises:
        the address of a proxy. ``kafka_jvm`` is how the broker's Java machine is set up: to start
        soon, or to work for long (``STEADY_JVM``). A ``warden`` given is used and left open; otherwise the stack has its own.
        """
        self._data_directory = data_directory.resolve() if data_directory is not None else None
        self._asked_postgres_port = postgres_port
        self._asked_kafka_port = kafka_port
        self._progress: ProgressDisplay = progress or SilentProgress()
        self._advertised = dict(extra_listeners or {})
        self._heap_mib = kafka_heap_mib
        self._jvm = kafka_jvm
        self._given_warden = warden
        self._fetch = fetch
        self._database: PostgresDatabase | None = None
        self._broker: KafkaBroker | None = None
        self._warden: Warden | None = None
        self._ending = contextlib.ExitStack()

    @property
    def warden(self) -> Warden:
        """Who cleans up after this process; further processes may be put under its watch."""
        return of_started_stack(self._warden)

    def start(self) -> None:
        """Start both servers and return when both serve. What was begun is undone when that fails.

        Raises :class:`StackError`, of the kind that says what is wrong.
        """
        if self._warden is not None:
            raise StackError("This stack has been started already; stop it first, or make another.")
        with _telling_no_space(), contextlib.ExitStack() as undo:
            self._start_under(undo)
            self._ending = undo.pop_all()

    def stop(self) -> None:
        """End both servers in good order and remove what is temporary; harmless the second time."""
        self._ending.close()

    def _start_under(self, undo: contextlib.ExitStack) -> None:
        """Build and start everything; whatever must be undone is pushed on ``undo`` before it can fail."""
        java = java_program()
        run_as = database_user()
        installation = reachable_installation(run_as)
        jars = ensure_jars(read_lock(), settings.cache_directory(), self._progress, self._fetch)
        undo.callback(self._forget)
        self._warden = warden = self._given_warden or Warden()
        if self._given_warden is None:
            undo.callback(warden.close)
        run = warden.temporary_directory(temporary_parent(run_as))
        # The database's user must get to its folders in here; each folder keeps the others out by itself.
        run.chmod(0o711)
        undo.callback(_remove_tree, run, warden)
        data = run
        inherited: tuple[int, ...] = ()
        if self._data_directory is not None:
            held = HeldDirectory(self._data_directory)
            undo.callback(held.release)
            data, inherited = held.directory, (held.descriptor,)
            _refuse_unless_reachable(data, run_as)
        logs = data / "logs"
        logs.mkdir(exist_ok=True)
        self._database = PostgresDatabase(
            installation,
            data / "postgres",
            run / "socket",
            logs,
            self._hold("PostgreSQL", self._asked_postgres_port, undo),
            warden,
            run_as,
            is_temporary=self._data_directory is None,
            inherited_descriptors=inherited,
        )
        self._broker = self._make_broker(java, jars, data / "kafka", run / "broker", logs, warden, inherited, undo)
        undo.callback(_stop_both, self._database, self._broker)
        self._start_both(undo)

    def _make_broker(
        self, java: Path, jars: list[Path], data: Path, run: Path, logs: Path, warden: Warden, inherited: tuple[int, ...],
        undo: contextlib.ExitStack,
    ) -> KafkaBroker:  # fmt: skip
        return KafkaBroker(
            java,
            jars,
            data,
            run,
            logs,
            self._hold("Kafka", self._asked_kafka_port, undo),
            self._hold("Kafka's controller", None, undo),
            warden,
            self._heap_mib,
            {
                name: (address, self._hold(f"Kafka's listener {name}", None, undo))
                for name, address in self._advertised.items()
            },
            inherited,
            self._jvm,
        )

    def _start_both(self, undo: contextlib.ExitStack) -> None:
        """Start both at the same time: each one's slow steps run while the other's do."""
        database, broker = self.database, self.broker
        self._progress.say("Starting PostgreSQL and Kafka")
        database.prepare()
        broker.prepare()
        database.launch()
        broker.launch()

        def move_database() -> None:
            database.move_to(self._hold("PostgreSQL", None, undo))

        def move_broker() -> None:
            broker.move_to(self._hold("Kafka", None, undo), self._hold("Kafka's controller", None, undo))

        _await_ready(database, move_database, self._asked_postgres_port)
        _await_ready(broker, move_broker, self._asked_kafka_port)

    def _hold(self, purpose: str, asked_port: int | None, undo: contextlib.ExitStack) -> HeldPort:
        held = HeldPort(purpose, asked_port)
        undo.callback(held.close)
        return held

    def _forget(self) -> None:
        self._database = self._broker = self._warden = None


def _await_ready(server: PostgresDatabase | KafkaBroker, move: Callable[[], None], asked_port: int | None) -> None:
    for tries_left in reversed(range(_PORT_TRIES)):
        try:
            server.start()
            return
        except PortTaken:
            # A port that was asked for is not exchanged for another; one of our choice may be.
            if asked_port is not None or not tries_left:
                raise
            move()


def _stop_both(database: PostgresDatabase, broker: KafkaBroker) -> None:
    # Both end at the same time, and each is seen to its end whatever goes wrong with the other.
    with contextlib.ExitStack() as ending:
        ending.callback(database.await_stop)
        ending.callback(broker.await_stop)
        ending.callback(database.request_stop)
        ending.callback(broker.request_stop)


def _remove_tree(directory: Path, warden: Warden) -> None:
    shutil.rmtree(directory)
    warden.forget_directory(directory)


def _refuse_unless_reachable(directory: Path, run_as: RunAs | None) -> None:
    if run_as is not None and not can_traverse(directory, run_as):
        raise DataDirectoryUnusable(
            f"PostgreSQL does not run as root, so it runs as uid {run_as.user_id}, which cannot enter {directory}. "
            "Choose a data directory that everybody can enter, with all its parents (chmod o+x), or start the stack "
            "as an ordinary user."
        )


@contextlib.contextmanager
def _telling_no_space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoSpace(
            f"No space left for the data of the stack ({error.filename or 'temporary files'}). Free some 300 MiB "
            "there, or choose another place with --data DIR or TMPDIR."
        ) from error
