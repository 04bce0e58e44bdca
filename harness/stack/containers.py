"""The stack in containers: PostgreSQL and Kafka from their images, started by testcontainers on this machine's engine."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import settings
from harness.stack.engine import EngineSession, telling
from harness.stack.errors import StackError
from harness.stack.kafka import (
    CLIENT_LISTENER,
    CONTROLLER_LISTENER,
    DEFAULT_HEAP_MIB,
    NODE_ID,
    REQUEST_TIMEOUT_MS,
    SERVER_SETTINGS,
    group_probe,
)
from harness.stack.kafka_probe import lists_a_broker
from harness.stack.ports import LOOPBACK, HeldPort
from harness.stack.postgres import (
    DATABASE,
    MAX_CONNECTIONS,
    PASSWORD,
    SUPERUSER,
    USER,
    answers,
    create_user_and_database,
)
from harness.stack.progress import ProgressDisplay, SilentProgress
from harness.stack.server_container import ServerContainer
from harness.stack.stack import StackOfOwnServers

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

_POSTGRES_PORT = 5432
_CONTROLLER_PORT = 9093
_DATA = "/var/lib/kafka/data"
_CLEANER_REMEDY = (
    "It is testcontainers' cleaner; the harness removes its containers by itself, so that TESTCONTAINERS_RYUK_DISABLED=true is "
    "as good."
)
_REMEDY = "Name another one in {variable}, or load it into the engine (`docker load`)."


class ContainerDatabase(ServerContainer):
    """The database part, with the user and the database of the embedded one."""

    def __init__(self, container: DockerContainer, network: Network, port: HeldPort) -> None:
        super().__init__("PostgreSQL", container, network)
        self._port = port

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._port.port

    @property
    def url(self) -> str:
        """The address, as psycopg2 and SQLAlchemy both take it."""
        return f"postgresql://{USER}:{PASSWORD}@{LOOPBACK}:{self.port}/{DATABASE}"

    def is_serving(self) -> bool:
        """Whether ``SELECT 1`` answers within two seconds as the user in the database."""
        return answers(self.url)

    def await_ready(self) -> None:
        """Wait until ``SELECT 1`` answers as the user in the database, which are made where missing."""
        superuser_url = f"postgresql://{SUPERUSER}:{PASSWORD}@{LOOPBACK}:{self.port}/{SUPERUSER}"
        self.wait_until(lambda: answers(superuser_url), "answer SELECT 1")
        create_user_and_database(superuser_url)
        self.wait_until(self.is_serving, f"answer SELECT 1 as {USER} in {DATABASE}")


class ContainerBroker(ServerContainer):
    """The broker part. Inside it listens on the port numbers that it has outside, so that what it advertises holds on both
    sides of the container's wall."""

    def __init__(
        self, container: DockerContainer, network: Network, port: HeldPort, extra_listeners: Mapping[str, HeldPort]
    ) -> None:
        super().__init__("Kafka", container, network)
        self._port = port
        self._extra_listeners = extra_listeners

    @property
    def port(self) -> int:
        """The TCP port of the clients' listener on 127.0.0.1."""
        return self._port.port

    @property
    def address(self) -> str:
        """``host:port`` of the clients' listener."""
        return f"{LOOPBACK}:{self.port}"

    def listener_address(self, name: str) -> str:
        """``host:port`` where an extra listener listens: what a proxy in front of it connects to."""
        return f"{LOOPBACK}:{self._extra_listeners[name].port}"

    def is_serving(self) -> bool:
        """Whether the broker answers within two seconds and is in service."""
        return lists_a_broker(self.port, REQUEST_TIMEOUT_MS / 1000)

    def await_ready(self) -> None:
        """Wait until the broker is in service and a group's coordinator answers."""
        self.wait_until(self.is_serving, "list itself as in service")
        with group_probe(self.address) as coordinates:
            self.wait_until(coordinates, "coordinate a consumer group")


class ContainerStack(StackOfOwnServers[ContainerDatabase, ContainerBroker]):
    """PostgreSQL and Kafka in containers, on ports of 127.0.0.1. A context manager; the data vanish with it, and nothing
    outlives this process, however it ends."""

    def __init__(
        self, extra_listeners: Mapping[str, str] | None = None, progress: ProgressDisplay | None = None
    ) -> None:
        """`extra_listeners` names further listeners of the broker, each with the ``host:port`` that it advertises."""
        self._advertised = dict(extra_listeners or {})
        self._progress: ProgressDisplay = progress or SilentProgress()
        self._database: ContainerDatabase | None = None
        self._broker: ContainerBroker | None = None
        self.session_id: str | None = None
        """What everything of this stack's on the engine is labelled with while it is there."""

        self._ending = contextlib.ExitStack()

    def start(self) -> None:
        """Start both and return when both serve. What was begun is undone when that fails.

        Raises:
            NoEngine, NoImage: with what to do about it.
            StackError: of the kind that says what is wrong.
        """
        if self._broker is not None:
            raise StackError("This stack has been started already; stop it first, or make another.")
        with contextlib.ExitStack() as undo:
            undo.callback(self._forget)
            session = undo.enter_context(EngineSession())
            self.session_id = session.id
            kafka_image, postgres_image = settings.container_images()
            session.require_image(kafka_image, self._progress, _REMEDY.format(variable="KAFKA_IMAGE"))
            session.require_image(postgres_image, self._progress, _REMEDY.format(variable="POSTGRES_IMAGE"))
            self._require_cleaner(session)
            self._progress.say("Starting PostgreSQL and Kafka in containers")
            with telling("Making the containers of PostgreSQL and Kafka"):
                from testcontainers.core.network import Network

                # The session removes it along with the containers.
                network = Network(docker_network_kw={"labels": session.labels}).create()
                self._broker = self._make_broker(kafka_image, session, network, undo)
                self._database = self._make_database(postgres_image, session, network, undo)
            self._broker.launch()
            self._database.launch()
            self._database.await_ready()
            self._broker.await_ready()
            self._ending = undo.pop_all()

    def stop(self) -> None:
        """Remove both with their data; harmless the second time."""
        self._ending.close()

    def _require_cleaner(self, session: EngineSession) -> None:
        """testcontainers has a cleaner of its own, in a container, unless it is told to have none."""
        from testcontainers.core.config import testcontainers_config

        if not testcontainers_config.ryuk_disabled:
            session.require_image(testcontainers_config.ryuk_image, self._progress, _CLEANER_REMEDY)

    def _make_database(
        self, image: str, session: EngineSession, network: Network, undo: contextlib.ExitStack
    ) -> ContainerDatabase:
        from testcontainers.community.postgres import PostgresContainer

        port = _held("PostgreSQL", undo)
        container = PostgresContainer(image, username=SUPERUSER, password=PASSWORD, dbname=SUPERUSER)
        container.with_command(
            ["postgres", "-c", f"max_connections={MAX_CONNECTIONS}", "-c", "timezone=UTC", "-c", "log_timezone=UTC"]
        )
        _describe(container, session, network, {_POSTGRES_PORT: port.port})
        return ContainerDatabase(container, network, port)

    def _make_broker(
        self, image: str, session: EngineSession, network: Network, undo: contextlib.ExitStack
    ) -> ContainerBroker:
        from testcontainers.core.container import DockerContainer

        port = _held("Kafka", undo)
        extra = {name: _held(f"Kafka's listener {name}", undo) for name in self._advertised}
        container = DockerContainer(image)
        for name, value in _broker_environment(port.port, extra, self._advertised).items():
            container.with_env(name, value)
        published = {held.port: held.port for held in (port, *extra.values())}
        _describe(container, session, network, published)
        return ContainerBroker(container, network, port, extra)

    def _forget(self) -> None:
        self._database = self._broker = self.session_id = None


def _held(purpose: str, undo: contextlib.ExitStack) -> HeldPort:
    """A port that stays the server's over all its starts: what was published on any free port would get another each time."""
    held = HeldPort(purpose)
    undo.callback(held.close)
    held.make_way()
    return held


def _describe(container: Any, session: EngineSession, network: Network, published: Mapping[int, int]) -> None:
    """`published`: port inside → port on the loopback of this machine."""
    container.ports = {f"{inside}/tcp": (LOOPBACK, outside) for inside, outside in published.items()}
    container.with_network(network)
    container.with_kwargs(labels=session.labels)


def _broker_environment(port: int, extra: Mapping[str, HeldPort], advertised: Mapping[str, str]) -> dict[str, str]:
    """The settings of the embedded broker, in the names that the image reads them by."""
    listening = {CLIENT_LISTENER: port} | {name: held.port for name, held in extra.items()}
    addresses = {CLIENT_LISTENER: f"{LOOPBACK}:{port}"} | dict(advertised)
    broker = {
        **SERVER_SETTINGS,
        **{f"listener.name.{name.lower()}.num.network.threads": 1 for name in extra},
        "log.dirs": _DATA,
        "controller.quorum.voters": f"{NODE_ID}@localhost:{_CONTROLLER_PORT}",
        "listeners": ",".join(
            (*(f"{name}://:{at}" for name, at in listening.items()),
             f"{CONTROLLER_LISTENER}://localhost:{_CONTROLLER_PORT}")
        ),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in addresses.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in (*listening, CONTROLLER_LISTENER)),
    }  # fmt: skip
    named = {f"KAFKA_{name.upper().replace('.', '_')}": str(value) for name, value in broker.items()}
    return named | {
        "KAFKA_HEAP_OPTS": f"-Xmx{DEFAULT_HEAP_MIB}m",
        "KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true",
    }
