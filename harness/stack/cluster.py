"""Three Kafka brokers with replication, of which one may die: an embedded stack whose broker is a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from harness.stack.embedded import EmbeddedStack
from harness.stack.errors import NotRunning
from harness.stack.kafka import KafkaBroker
from harness.stack.ports import HeldPort
from harness.stack.warden import Warden

BROKERS: Final = 3
_HEAP_MIB: Final = 320
_REPLICATED: Final = {
    # What is acknowledged is on two brokers at least, so that it outlives each of them.
    "default.replication.factor": BROKERS,
    "min.insync.replicas": 2,
    "offsets.topic.replication.factor": BROKERS,
    "transaction.state.log.replication.factor": BROKERS,
    "transaction.state.log.min.isr": 2,
    "share.coordinator.state.topic.replication.factor": BROKERS,
    "share.coordinator.state.topic.min.isr": 2,
    "num.partitions": 6,
}


class BrokerCluster:
    """The brokers of one cluster, each of them controller as well. What is done to it is done to all; `members` are single
    ones, numbered from 1."""

    def __init__(self, members: Sequence[KafkaBroker], controllers: Sequence[HeldPort]) -> None:
        """`controllers` are the ports at which the members vote."""
        self.members = tuple(members)
        voters = ",".join(f"{number}@127.0.0.1:{held.port}" for number, held in enumerate(controllers, 1))
        for number, member in enumerate(self.members, 1):
            member.cluster_id = self.members[0].cluster_id
            member.more_settings = {**_REPLICATED, "node.id": number, "controller.quorum.voters": voters}

    @property
    def address(self) -> str:
        """`host:port` of each, separated by commas."""
        return ",".join(member.address for member in self.members)

    @property
    def port(self) -> int:
        """The port of the first one."""
        return self.members[0].port

    @property
    def log_path(self) -> Path:
        """The log of the first one."""
        return self.members[0].log_path

    def log_tail(self) -> str:
        """The last lines of each log."""
        return "\n".join(member.log_tail() for member in self.members)

    def start(self) -> None:
        """Start those that do not run, and wait until all serve."""
        self.prepare()
        self.launch()
        for member in self.members:
            member.await_ready()

    def prepare(self) -> None:
        """Write configurations and begin to format storages."""
        for member in self.members:
            member.prepare()

    def launch(self) -> None:
        """Start those that do not run; they do not serve yet."""
        for member in self.members:
            member.launch()

    def stop(self) -> None:
        """Orderly shutdown of all."""
        self.request_stop()
        self.await_stop()

    def request_stop(self) -> None:
        """Begin it."""
        for member in self.members:
            member.request_stop()

    def await_stop(self) -> None:
        """Wait for the end of all."""
        for member in self.members:
            member.await_stop()

    def kill(self) -> None:
        """SIGKILL to all that run. Raises ``NotRunning`` when none does."""
        self._each(lambda member: member.kill())

    def pause(self) -> None:
        """SIGSTOP to all that run. Raises ``NotRunning`` when none does."""
        self._each(lambda member: member.pause())

    def resume(self) -> None:
        """SIGCONT to all that run. Raises ``NotRunning`` when none does."""
        self._each(lambda member: member.resume())

    def is_serving(self) -> bool:
        """Whether each of them answers."""
        return all(member.is_serving() for member in self.members)

    def _each(self, act: Callable[[KafkaBroker], None]) -> None:
        missed: list[NotRunning] = []
        for member in self.members:
            try:
                act(member)
            except NotRunning as error:
                missed.append(error)
        if len(missed) == len(self.members):
            raise missed[0]


class ClusterStack(EmbeddedStack):
    """An embedded stack of three brokers. No proxies can stand before them."""

    def __init__(self) -> None:
        super().__init__(kafka_heap_mib=_HEAP_MIB)

    @property
    def cluster(self) -> BrokerCluster:
        """The brokers; exists from the start to the stop of the stack."""
        return cast(BrokerCluster, self.broker)

    def _make_broker(
        self, java: Path, jars: list[Path], data: Path, run: Path, logs: Path, warden: Warden, inherited: tuple[int, ...],
        undo: contextlib.ExitStack,
    ) -> KafkaBroker:  # fmt: skip
        controllers = [self._hold("Kafka's controller", None, undo) for _ in range(BROKERS)]
        members = []
        for number, controller in enumerate(controllers, 1):
            own_logs = logs / f"kafka-{number}"
            own_logs.mkdir(exist_ok=True)
            held = self._hold(f"Kafka's broker {number}", None, undo)
            members.append(
                KafkaBroker(
                    java,
                    jars,
                    data.with_name(f"kafka-{number}"),
                    run.with_name(f"broker-{number}"),
                    own_logs,
                    held,
                    controller,
                    warden,
                    self._heap_mib,
                    None,
                    inherited,
                )
            )
        # Whoever starts and stops the stack asks a cluster for the same as one broker.
        return cast(KafkaBroker, BrokerCluster(members, controllers))
