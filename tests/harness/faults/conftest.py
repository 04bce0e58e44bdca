"""A stack whose broker has listeners for proxies, and proxies before it that tell what they understand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from harness.faults.points import Boundary, Kind
from harness.faults.ports import FaultPorts
from harness.faults.proxy.gate import Decision, Gate, Passage
from harness.faults.proxy.server import ProxyServer
from harness.faults.session import upstream_of
from harness.stack import EmbeddedStack

CROSSING_PROCESS = "consumer-1"


@dataclass
class Told:
    """A decider that notes what it is asked, and answers the next crossing of a boundary as it was told to."""

    before_it: list[tuple[Boundary, tuple[str, ...]]] = field(default_factory=list)
    after_it: list[tuple[Boundary, tuple[str, ...]]] = field(default_factory=list)
    session_timeouts_ms: list[int] = field(default_factory=list)
    next_before: dict[Boundary, Decision] = field(default_factory=dict)
    next_after: dict[Boundary, Decision] = field(default_factory=dict)

    def refuse(self, boundary: Boundary, error: Kind) -> None:
        """The next one is refused."""
        self.next_before[boundary] = Decision(Passage.REFUSE, error)

    async def before(self, process: str, boundary: Boundary, names: Sequence[str]) -> Decision:
        assert process == CROSSING_PROCESS
        self.before_it.append((boundary, tuple(names)))
        return self.next_before.pop(boundary, None) or Decision(token=(boundary, tuple(names)))

    async def after(self, token: object) -> Decision:
        assert isinstance(token, tuple)
        boundary: Boundary = token[0]
        names: tuple[str, ...] = token[1]
        self.after_it.append((boundary, names))
        return self.next_after.pop(boundary, None) or Decision()

    def joined(self, process: str, session_timeout_ms: int) -> None:
        self.session_timeouts_ms.append(session_timeout_ms)

    def of(self, boundary: Boundary) -> list[tuple[str, ...]]:
        """What the crossings of a boundary were about, in their order."""
        return [names for kind, names in self.before_it if kind == boundary]


@dataclass(frozen=True)
class Proxied:
    """Where the proxies of one process are."""

    brokers: str
    database_url: str
    told: Told
    kafka: Gate
    database: Gate


@pytest.fixture(scope="package")
def fault_ports() -> Iterator[FaultPorts]:
    """The ports that the broker advertises."""
    with FaultPorts(6) as ports:
        yield ports


@pytest.fixture(scope="package")
def fault_stack(fault_ports: FaultPorts) -> Iterator[EmbeddedStack]:
    """A stack with a listener for each of those ports."""
    with EmbeddedStack(extra_listeners=fault_ports.advertised) as stack:
        yield stack


@pytest.fixture(scope="module")
def proxied(fault_stack: EmbeddedStack, fault_ports: FaultPorts) -> Iterator[Proxied]:
    """The proxies of one process, on the last of the listeners."""
    told = Told()
    upstream = upstream_of(fault_stack, fault_ports.advertised)
    listener = list(fault_ports.advertised)[-1]
    url = urlsplit(fault_stack.database_url)
    assert url.port is not None

    async def gates() -> tuple[Gate, Gate]:
        return Gate(CROSSING_PROCESS, told, upstream.listeners[listener]), Gate(
            CROSSING_PROCESS, told, ("127.0.0.1", url.port or 0)
        )

    with ProxyServer() as server:
        kafka, database = server.call(gates())
        server.open_kafka(kafka, lambda topic: topic, fault_ports.make_way(listener))
        port = server.open_postgres(database)
        yield Proxied(
            fault_ports.advertised[listener],
            fault_stack.database_url.replace(f":{url.port}/", f":{port}/"),
            told,
            kafka,
            database,
        )


@pytest.fixture
def told(proxied: Proxied) -> Told:
    """What the proxies have told, from here on."""
    told = proxied.told
    for noted in (told.before_it, told.after_it, told.session_timeouts_ms, told.next_before, told.next_after):
        noted.clear()
    return told
