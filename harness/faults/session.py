"""The fault points of one running subject: proxies between its processes and the stack, and the faults that are armed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

import psutil

from harness.faults.cuts import Cuts, PartName, Unreachable, is_meant
from harness.faults.director import Deeds, Director, Recording
from harness.faults.points import Fault
from harness.faults.ports import FaultPorts
from harness.faults.proxy.gate import PASSED, Decision, Gate
from harness.faults.proxy.server import ProxyServer
from harness.history import HistoryWriter
from harness.stack.ports import LOOPBACK
from harness.subject import RoleName, RunningSubject
from harness.subject.readiness import wait_until_ready
from harness.subject.running import Route

_SETTLE_SECONDS = 120.0
_GATES: Final[Mapping[PartName, Literal["kafka", "database"]]] = {"broker": "kafka", "database": "database"}


@dataclass(frozen=True)
class Upstream:
    """What the proxies stand before: the address of each of the broker's listeners, and of the database."""

    listeners: Mapping[str, tuple[str, int]]
    database_url: str


class FaultPoints:
    """Made while the subject runs; `wire` then has it go through the proxies. Its methods are called from any thread."""

    def __init__(
        self, running: RunningSubject, ports: FaultPorts, upstream: Upstream, topics: Mapping[str, str]
    ) -> None:
        """`topics` gives the short name of each of the subject's topics."""
        self._running = running
        self._ports = ports
        self._upstream = upstream
        self._topics = topics
        self._tables = running.description.binding.tables
        self._ending = contextlib.ExitStack()
        self._server = self._ending.enter_context(ProxyServer())
        self._director = Director(lambda process: self._gates[process])
        self._gates: dict[str, dict[Literal["kafka", "database"], Gate]] = {}
        self._routes: dict[str, Route] = {}
        self._cuts = Cuts()
        self._lock = threading.Lock()
        self.are_armed = False
        """Whether faults are armed, so that requests of the harness itself may fail and are to be repeated."""

    @property
    def may_die(self) -> set[str]:
        """Processes that may give themselves up, after what was done to them."""
        return self._director.may_die

    def wire(self) -> None:
        """Restart the subject's processes, so that they go through the proxies.

        Raises:
            SubjectError: a process does not come back.
        """
        rerouted = self._running.reroute(self._route)
        for _, processes in rerouted:
            leaving = [(process, process.request_stop()) for process in processes if process.is_running]
            for process, family in leaving:
                process.await_stop(family)
        with contextlib.ExitStack() as watches:
            begun = [
                (role, watches.enter_context(contextlib.closing(role.launch(processes))))
                for role, processes in rerouted
            ]
            for role, watching in begun:
                wait_until_ready(role, watching, role.description.ready.timeout_seconds)

    def close(self) -> None:
        """End the proxies; what goes through them loses its connections."""
        self._ending.close()

    def arm(self, fault: Fault, deeds: Deeds, writer: HistoryWriter) -> None:
        """Have a fault done once its point is reached, counting from now."""

        def tell(**data: Any) -> None:
            writer.add("harness", "fault", **data)

        self.are_armed = True
        self._server.call(self._director.arm(fault, deeds, tell))

    def settle(self) -> list[str]:
        """Wait until what was done is over; gives what went wrong with the faults. Raises TimeoutError."""
        return self._server.call(self._director.settle(), _SETTLE_SECONDS)

    def disarm(self) -> frozenset[str]:
        """Forget all faults, once what was begun is over; gives the processes that may give themselves up yet, after what was
        done to them. Raises TimeoutError."""
        in_doubt = self._server.call(self._director.disarm(), _SETTLE_SECONDS)
        self._change(self._cuts.clear)
        self.are_armed = False
        return in_doubt

    def cut(self, part: PartName, role: str | None = None, number: int | None = None) -> None:
        """From here on no byte passes between a part of the stack and the subject's processes: all of them, those of a role,
        or one, and those that are started meanwhile as well. Connections stay open, as when a cable was pulled.

        Raises:
            Unreachable: there is no such process, or one of them has no proxies.
        """
        meant = [one for one in self._running.processes if is_meant(one.name, role, number)]
        if not meant:
            raise Unreachable(f"the subject has no process {role or ''}{'' if number is None else f'-{number}'}")
        if lacking := sorted({one.name for one in meant if one.is_running} - set(self.routes)):
            raise Unreachable(f"{', '.join(lacking)} cannot be cut off: no listener is left for a proxy before it")
        self.are_armed = True
        self._change(lambda: self._cuts.set(part, role, number, is_cut=True))

    def join(self, part: PartName, role: str | None = None, number: int | None = None) -> bool:
        """Let bytes pass again; False when none of these processes was cut off from the part."""
        before = self.are_cut(part)
        self._change(lambda: self._cuts.set(part, role, number, is_cut=False))
        return before != self.are_cut(part)

    def are_cut(self, *parts: PartName) -> frozenset[str]:
        """The processes that do not reach some of these parts."""
        with self._lock:
            return frozenset(name for name in self._gates for part in parts if self._cuts.are_between(part, name))

    def reset(self, process: str) -> None:
        """Reset every connection of a process to Kafka and to the database. Nothing happens when it has no proxies."""
        self._server.call(self._reset(process))

    @property
    def routes(self) -> Mapping[str, Route]:
        """Process → where it finds the stack, of those that go through proxies."""
        with self._lock:
            return dict(self._routes)

    def record(self) -> None:
        """Note every crossing from now on."""
        self._server.call(self._director.record())

    def recorded(self) -> Recording:
        """What was noted since `record`."""
        return self._server.call(self._director.recorded())

    async def call_arrives(self, agent: str, peer_port: int) -> Decision:
        """An agent is called; awaited in the loop of the agents."""
        process = await asyncio.to_thread(self._caller, peer_port)
        if process is None:
            return PASSED
        deciding = self._server.submit(self._director.before(process, "call", (agent,)))
        return await asyncio.shield(asyncio.wrap_future(deciding))

    async def call_is_answered(self, token: object) -> Decision:
        """The agent has answered; awaited in the loop of the agents."""
        deciding = self._server.submit(self._director.after(token))
        return await asyncio.shield(asyncio.wrap_future(deciding))

    def _route(self, role: RoleName, number: int) -> Route | None:
        """The proxies of a process, opened when it is first asked for; None when there are no more listeners."""
        name = f"{role}-{number}"
        with self._lock:
            if name in self._routes:
                return self._routes[name]
            if len(self._routes) >= len(self._upstream.listeners):
                return None
            listener = list(self._upstream.listeners)[len(self._routes)]
            url = urlsplit(self._upstream.database_url)
            database = (url.hostname or LOOPBACK, url.port or 5432)
            gates = self._server.call(self._make_gates(name, self._upstream.listeners[listener], database))
            port = self._ports.make_way(listener)
            self._server.open_kafka(gates["kafka"], lambda topic: self._topics.get(topic, topic), port)
            database_port = self._server.open_postgres(gates["database"], lambda table: self._tables.get(table, table))
            user, _, _ = url.netloc.rpartition("@")
            netloc = f"{user}@{LOOPBACK}:{database_port}" if user else f"{LOOPBACK}:{database_port}"
            self._gates[name] = gates
            self._server.call(self._follow([name]))
            self._routes[name] = Route(urlunsplit(url._replace(netloc=netloc)), f"{LOOPBACK}:{port}")
            return self._routes[name]

    async def _make_gates(
        self, name: str, kafka: tuple[str, int], database: tuple[str, int]
    ) -> dict[Literal["kafka", "database"], Gate]:
        return {"kafka": Gate(name, self._director, kafka), "database": Gate(name, self._director, database)}

    async def _reset(self, process: str) -> None:
        for gate in self._gates.get(process, {}).values():
            gate.reset()

    def _change(self, change: Callable[[], None]) -> None:
        """Change what is cut off, and have the gates follow."""
        with self._lock:
            change()
            self._server.call(self._follow(list(self._gates)))

    async def _follow(self, processes: Iterable[str]) -> None:
        for process in processes:
            for part, name in _GATES.items():
                gate = self._gates[process][name]
                (gate.shut if self._cuts.are_between(part, process) else gate.open)(self._cuts)

    def _caller(self, peer_port: int) -> str | None:
        """The process that has a port of this machine; None when it is none of the subject's."""
        bridges = [
            one for name, role in self._running.roles.items() if name == "bridge" for one in role if one.is_running
        ]
        if len(bridges) == 1:
            return bridges[0].name
        for process in self._running.processes:
            if process.pid is not None and peer_port in _ports_of(process.pid):
                return process.name
        return None


def _ports_of(pid: int) -> Iterable[int]:
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for one in (parent, *parent.children(recursive=True)):
            yield from (found.laddr.port for found in one.net_connections("tcp") if found.laddr)


def upstream_of(stack: Any, names: Iterable[str]) -> Upstream:
    """What stands behind the proxies of an embedded stack that has these extra listeners."""
    listeners = {}
    for name in names:
        host, _, port = stack.broker.listener_address(name).rpartition(":")
        listeners[name] = (host, int(port))
    return Upstream(listeners, stack.database_url)
