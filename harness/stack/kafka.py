"""A real Apache Kafka: one KRaft node, broker and controller in one process, on a JRE from a wheel."""

from __future__ import annotations

import contextlib
import shutil
import signal
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from harness.stack.errors import NotRunning, PortTaken, ServerDied
from harness.stack.kafka_probe import lists_a_broker
from harness.stack.ports import LOOPBACK, HeldPort
from harness.stack.process import ServerProcess
from harness.stack.warden import Warden

NODE_ID = 1
DEFAULT_PARTITIONS = 6
DEFAULT_HEAP_MIB = 512
FORMAT_SECONDS = 60.0
READY_SECONDS = 120.0
STOP_SECONDS = 15.0
REQUEST_TIMEOUT_MS = 2_000
READY_REQUEST_MS = 20_000
CLIENT_LISTENER = "CLIENT"
CONTROLLER_LISTENER = "CONTROLLER"
_PROBE_GROUP = "plumbline-stack-probe"
_BIND_FAILURES = ("Address already in use", "Socket server failed to bind")

QUICK_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
"""One small server on few cores, for minutes: the fast compiler and the plain collector start soonest and cost least."""

STEADY_JVM = (
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
)
"""What Kafka's own script `kafka-run-class.sh` starts a broker with (Apache Kafka 4): slower at first, faster later."""

_JVM_OPTIONS = (
    "-XX:+ExitOnOutOfMemoryError",
    "--enable-native-access=ALL-UNNAMED",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.logFile=System.out",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    # Hundreds of lines that repeat the configuration would push what went wrong out of the log's tail.
    *(
        f"-Dorg.slf4j.simpleLogger.log.{logger}=warn"
        for logger in (
            "kafka.server.KafkaConfig",
            "org.apache.kafka.server.config.AbstractKafkaConfig",
            "org.apache.kafka.common.config.AbstractConfig",
            "org.apache.kafka.controller.QuorumController",
        )
    ),
)

SERVER_SETTINGS: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": NODE_ID,
    "controller.listener.names": CONTROLLER_LISTENER,
    "inter.broker.listener.name": CLIENT_LISTENER,
    # Any subject works, whatever topics it uses.
    "auto.create.topics.enable": "true",
    "num.partitions": DEFAULT_PARTITIONS,
    "default.replication.factor": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    # Few partitions of the internal topics: they are made at the first use, while a client waits.
    "offsets.topic.num.partitions": 3,
    "transaction.state.log.num.partitions": 3,
    "share.coordinator.state.topic.num.partitions": 3,
    # A first consumer gets its partitions at once, and a dead one may be noticed sooner than after six seconds.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 500,
    # After a kill -9 the controller refuses the new broker until the session of the dead one has run out, nine
    # seconds by default. Much shorter, and a starved machine would lose a broker that lives.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 300,
    # Two such files of each segment are mapped into memory at their full length. Segments end at 64 MiB with these.
    "log.index.size.max.bytes": 128 * 1024,
    # A small server's share of threads and memory.
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 4,
    "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
}


class KafkaBroker:
    """The broker part of an embedded stack. Its topics and offsets outlive stop, kill and start."""

    def __init__(
        self,
        java: Path,
        jars: list[Path],
        data_directory: Path,
        run_directory: Path,
        log_directory: Path,
        port: HeldPort,
        controller_port: HeldPort,
        warden: Warden,
        heap_mib: int = DEFAULT_HEAP_MIB,
        extra_listeners: Mapping[str, tuple[str, HeldPort]] | None = None,
        inherited_descriptors: tuple[int, ...] = (),
        jvm: Sequence[str] = QUICK_JVM,
    ) -> None:
        """``jvm``: how the Java machine compiles and collects. ``extra_listeners``: for each listener's name the address
        that it advertises (``host:port``, usually a proxy's) and the port that it listens on."""
        self._java = java
        self._jars = jars
        self._data = data_directory
        self._run = run_directory
        self._port = port
        self._controller_port = controller_port
        self._heap_mib = heap_mib
        self._jvm = tuple(jvm)
        self._extra_listeners = dict(extra_listeners or {})
        self.more_settings: dict[str, object] = {}
        """Settings in place of those of a single broker."""

        self.cluster_id = new_cluster_id()
        """What its storage is marked with; the nodes of one cluster have the same."""

        self._format = ServerProcess("Kafka's storage tool", log_directory / "kafka-format.log", warden)
        self._server = ServerProcess(
            "Kafka", log_directory / "kafka.log", warden, inherited_descriptors=inherited_descriptors
        )

    @property
    def port(self) -> int:
        """The TCP port of the clients' listener on 127.0.0.1."""
        return self._port.port

    @property
    def pid(self) -> int | None:
        """The process id of the broker while it runs."""
        return self._server.pid

    @property
    def log_path(self) -> Path:
        """The broker's log."""
        return self._server.log_path

    @property
    def data_directory(self) -> Path:
        """Where its data are."""
        return self._data

    def log_tail(self) -> str:
        """The last lines of the server's log since its last start."""
        return self._server.log_tail()

    @property
    def address(self) -> str:
        """``host:port`` of the clients' listener."""
        return f"{LOOPBACK}:{self.port}"

    def listener_address(self, name: str) -> str:
        """``host:port`` where an extra listener listens: what a proxy in front of it connects to."""
        return f"{LOOPBACK}:{self._extra_listeners[name][1].port}"

    def move_to(self, port: HeldPort, controller_port: HeldPort) -> None:
        """Listen on other ports from the next start on."""
        self._port, self._controller_port = port, controller_port

    def start(self) -> None:
        """Start the broker on its data and wait until it serves; nothing happens when it runs."""
        self.prepare()
        self.launch()
        self.await_ready()

    def prepare(self) -> None:
        """Write the configuration, and begin to format the storage, where there is none."""
        self._run.mkdir(parents=True, exist_ok=True)
        self._write_properties()
        if (self._data / "meta.properties").exists() or self._format.pid is not None:
            return
        # The storage tool writes that file last: without it, what is there comes from a format that was cut short.
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(parents=True)
        arguments = [
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            self.cluster_id,
            "--config",
            self._properties,
        ]
        self._format.launch([*self._java_command(), *arguments], self._run)

    def launch(self) -> None:
        """Start the broker; it does not serve yet when this returns."""
        if self._server.pid is not None:
            return
        if self._format.pid is not None or self._format.exit_code is not None:
            self._format.wait_for_success(FORMAT_SECONDS)
        for held in (
            self._port,
            self._controller_port,
            *(held for _, held in self._extra_listeners.values()),
        ):
            held.make_way()
        self._server.launch([*self._java_command(), "kafka.Kafka", self._properties], self._run)

    def await_ready(self) -> None:
        """Wait until the broker is in service and a group's coordinator answers (its topic is made for that).

        Raises :class:`PortTaken` when the broker could not listen.
        """
        try:
            self._server.wait_until(self.is_serving, "list itself as in service", READY_SECONDS)
            self._await_group_coordinator()
        except ServerDied as error:
            if any(failure in self._server.log_since_launch() for failure in _BIND_FAILURES):
                raise PortTaken(self.port, self._port.purpose) from error
            raise

    def is_serving(self) -> bool:
        """Whether the broker answers within two seconds and is in service."""
        return self._server.pid is not None and lists_a_broker(self.port, REQUEST_TIMEOUT_MS / 1000)

    def stop(self) -> None:
        """Orderly shutdown within a bound. Nothing happens when it does not run."""
        self.request_stop()
        self.await_stop()

    def request_stop(self) -> None:
        """Begin an orderly shutdown."""
        self._format.end(signal.SIGKILL, STOP_SECONDS)
        with contextlib.suppress(NotRunning):
            self._server.send(signal.SIGCONT)
            self._server.send(signal.SIGTERM)

    def await_stop(self) -> None:
        """Wait for the end; what has not ended within its bound is killed."""
        if not self._server.wait_for_end(STOP_SECONDS):
            self._server.kill()

    def kill(self) -> None:
        """SIGKILL. Raises ``NotRunning``."""
        self._server.kill()

    def pause(self) -> None:
        """SIGSTOP. Raises ``NotRunning``."""
        self._server.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT. Raises ``NotRunning``."""
        self._server.send(signal.SIGCONT)

    @property
    def _properties(self) -> str:
        return str(self._run / "server.properties")

    def _java_command(self) -> list[str]:
        class_path = ":".join(str(jar) for jar in self._jars)
        own = [
            f"-Xmx{self._heap_mib}m",
            f"-Djava.io.tmpdir={self._run}",
            f"-XX:ErrorFile={self._run}/jvm-error.log",
        ]
        return [str(self._java), *self._jvm, *_JVM_OPTIONS, *own, "-cp", class_path]

    def _write_properties(self) -> None:
        controller = f"{LOOPBACK}:{self._controller_port.port}"
        listening = {CLIENT_LISTENER: self.address}
        listening |= {name: self.listener_address(name) for name in self._extra_listeners}
        advertised = listening | {name: address for name, (address, _) in self._extra_listeners.items()}
        settings = {
            **SERVER_SETTINGS,
            # One client each: a thread is enough.
            **{f"listener.name.{name.lower()}.num.network.threads": 1 for name in self._extra_listeners},
            "log.dirs": self._data,
            "controller.quorum.voters": f"{NODE_ID}@{controller}",
            "listeners": _listeners(listening | {CONTROLLER_LISTENER: controller}),
            "advertised.listeners": _listeners(advertised),
            "listener.security.protocol.map": ",".join(
                f"{name}:PLAINTEXT" for name in (*listening, CONTROLLER_LISTENER)
            ),
        }
        lines = (f"{name}={value}" for name, value in {**settings, **self.more_settings}.items())
        Path(self._properties).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _await_group_coordinator(self) -> None:
        with group_probe(self.address) as coordinates:
            self._server.wait_until(coordinates, "coordinate a consumer group", READY_SECONDS)


@contextlib.contextmanager
def group_probe(address: str) -> Iterator[Callable[[], bool]]:
    """What tells whether the broker at an address coordinates a group; asking it has the broker make what it needs for that."""
    admin = KafkaAdminClient(
        bootstrap_servers=address,
        request_timeout_ms=READY_REQUEST_MS,
        bootstrap_timeout_ms=READY_REQUEST_MS,
    )

    def coordinates() -> bool:
        try:
            admin.list_group_offsets(_PROBE_GROUP)
            return True
        except KafkaError:
            # Not available, or still loading: what is waited for.
            return False

    try:
        yield coordinates
    finally:
        admin.close()


def new_cluster_id() -> str:
    """An id that no other cluster has."""
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # An option's value may not look like an option.
    return cluster_id if not cluster_id.startswith("-") else f"A{cluster_id[1:]}"


def _listeners(addresses: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in addresses.items())
