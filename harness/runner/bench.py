"""The bench: a stack, the subject running on it, the observer and the agents, for the scenarios of one worker."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.agents import AgentServer
from harness.faults.calls import CallMeddler
from harness.faults.ports import FaultPorts
from harness.faults.session import FaultPoints, upstream_of
from harness.history import Event
from harness.observer import Observer, RestRecorder, Scope
from harness.runner.errors import NotSupported, SetUpBroke
from harness.runner.played_bridge import PlayedBridge
from harness.runner.played_executor import PlayedExecutor
from harness.runner.played_rows import STEPS_SQL, PlayedRows
from harness.runner.processes import Processes
from harness.runner.publisher import Publisher
from harness.runner.tables import ContractTables
from harness.stack import Stack
from harness.stack.stack import FromStartToStop
from harness.subject import ROLES, RoleName, RunningSubject, Subject

_WATCH_SECONDS = 0.2


class Bench(FromStartToStop):
    """A context manager. The stack is the caller's, and must serve."""

    def __init__(
        self,
        subject: Subject,
        stack: Stack,
        *,
        counts: Mapping[RoleName, int] | None = None,
        environment: Mapping[str, str] | None = None,
        log_directory: Path | None = None,
        fault_ports: FaultPorts | None = None,
    ) -> None:
        """`counts` and `environment` as for `Subject.start`; `fault_ports` are those that the stack's broker advertises."""
        self.subject = subject
        self.stack = stack
        self.binding = subject.description.binding
        self._counts = counts
        self._environment = environment
        self._log_directory = log_directory
        self._fault_ports = fault_ports
        self._fault_points: FaultPoints | None = None
        self._wiring = threading.Lock()
        self.records_crossings = False
        """Whether crossings are noted from the first act of each scenario on."""

        self._ending = contextlib.ExitStack()
        self._stopping = threading.Event()
        self._deaths: list[str] = []
        self._dead: set[str] = set()
        self._noting = threading.Lock()
        self._reviving = threading.Lock()
        self.agents = AgentServer()
        self.bridge: PlayedBridge | None = None
        self.executor: PlayedExecutor | None = None
        self._rows: PlayedRows | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the subject plays here."""
        return tuple(role for role in ROLES if role in self.running.roles)

    @property
    def played(self) -> tuple[str, ...]:
        """The roles that the harness plays."""
        lacking = tuple(role for role in ROLES if role not in self.running.roles)
        # Rows in a subject's own tables are its executor's alone to write.
        return tuple(role for role in lacking if role != "consumer" or not self.binding.has_own_rows)

    @property
    def has_api(self) -> bool:
        """Whether the subject serves REST."""
        return "api" in self.running.roles

    def start(self) -> None:
        """Bring everything up.

        Raises:
            SubjectError: the subject does not start; with the end of its log.
            StackError, KafkaError: the stack is not usable.
        """
        with contextlib.ExitStack() as undo:
            undo.enter_context(self.agents)
            self.tables = ContractTables(self.stack.database_url, self.binding.writes)
            if self.subject.description.migration is None and not self.binding.has_own_rows:
                self.tables.create()
            read = self.binding
            if self._lacks_consumer() and not self.binding.has_own_rows:
                self._rows = PlayedRows(self.tables)
                self._rows.create()
                read = replace(self.binding, steps_sql=STEPS_SQL)
            self.observer = Observer(
                self.stack.kafka_brokers,
                self.stack.database_url,
                read,
                self.subject.description.groups.values(),
            )
            self.observer.start()
            undo.callback(self.observer.stop)
            self.agents.listen(self.observer.agents)
            self.publisher = Publisher(self.stack.kafka_brokers, self.binding, self.observer.scopes)
            undo.callback(self.publisher.close)
            self.running: RunningSubject = undo.enter_context(
                self.subject.start(
                    self.stack,
                    counts=self._counts,
                    environment=self._environment,
                    log_directory=self._log_directory,
                )
            )
            self.processes = Processes(self.stack, self.running)
            undo.callback(self.processes.close)
            undo.callback(self._end_faults)
            self.rest = RestRecorder(self.running.api_url if self.has_api else "", self.binding)
            undo.callback(self.rest.close)
            self._play_roles(undo)
            watch = threading.Thread(target=self._watch, name="subject-watch", daemon=True)
            watch.start()
            undo.callback(watch.join, 10)
            undo.callback(self._stopping.set)
            self._ending = undo.pop_all()

    def stop(self) -> None:
        """End everything but the stack; harmless the second time."""
        self._ending.close()

    @property
    def armed_faults(self) -> FaultPoints | None:
        """The fault points while faults are armed."""
        points = self._fault_points
        return points if points is not None and points.are_armed else None

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the subject's is away or cut off, and the stack's servers run as far as is known."""
        points = self.armed_faults
        return self.processes.are_all_running and not (points is not None and points.are_cut("broker", "database"))

    def fault_points(self) -> FaultPoints:
        """The fault points of the subject; the first time, its processes are restarted to go through the proxies.

        Raises:
            NotSupported: the stack cannot have proxies before it.
            SubjectError: the subject does not come back.
        """
        with self._wiring:
            if self._fault_points is None:
                if self._fault_ports is None:
                    raise NotSupported(
                        "faults at points and networks that are cut need proxies before the stack: take the embedded one, or "
                        "containers"
                    )
                upstream = upstream_of(self.stack, self._fault_ports.advertised)
                points = FaultPoints(self.running, self._fault_ports, upstream, self.binding.all_topics())
                self._fault_points = points
                points.wire()
                self.agents.meddle(CallMeddler(points))
            return self._fault_points

    def _end_faults(self) -> None:
        if self._fault_points is not None:
            self.agents.meddle(None)
            self._fault_points.close()

    def way_of(self, via: str | None) -> str:
        """How runs are asked for: as the scenario says, else over REST where there is an API, else in its place."""
        if via is None:
            via = "rest" if self.has_api else "kafka"
        if via == "rest" and not self.has_api:
            raise NotSupported("the subject has no API, and the scenario speaks to it over REST")
        if via == "kafka" and not self.binding.can_write_runs:
            # Its rows are its own: an execution request whose row is not there yet is the executor's to write.
            return "message"
        return via

    def register_agent(self, scope: Scope, record: Mapping[str, Any]) -> None:
        """Make an agent known to whoever calls agents. Raises :class:`SetUpBroke`."""
        if self.bridge is not None:
            self.bridge.register(record)
        if self.has_api:
            answer = self.rest.ask(scope, "POST", "/agents", dict(record))
            if answer.status != 201:
                raise SetUpBroke(f"POST /agents was answered with {answer.status}, expected 201: {answer.body!s:.300}")
        elif "bridge" in self.roles and not self.tables.insert_agent(record):
            raise NotSupported(
                "the subject has neither an API nor a table `agents`, so that no agent can be registered"
            )

    def forget_agent(self, name: str) -> None:
        """The played bridge knows an agent no more."""
        if self.bridge is not None:
            self.bridge.forget(name)

    def deaths(self) -> int:
        """How many processes have died by themselves so far."""
        self._note_deaths()
        return len(self._deaths)

    def deaths_since(self, count: int) -> list[str]:
        """What died since there were so many deaths, in words."""
        self._note_deaths()
        return self._deaths[count:]

    def revive(self) -> None:
        """Start again what has died by itself. Raises :class:`SubjectError` when it does not come back."""
        with self._reviving:
            if any(process.has_died for process in self.running.processes):
                self.processes.restore()

    def _lacks_consumer(self) -> bool:
        consumer = self.subject.description.roles.get("consumer")
        return consumer is None or not (self._counts or {}).get("consumer", consumer.processes)

    def _play_roles(self, undo: contextlib.ExitStack) -> None:
        """The executor and the bridge, where the subject lacks them."""
        if "bridge" in self.played:
            self.bridge = PlayedBridge(self.publisher)
            self.bridge.start()
            undo.callback(self.bridge.stop)
        if self._rows is not None:
            self.executor = PlayedExecutor(self.publisher, self._rows)
            self.executor.start()
            undo.callback(self.executor.stop)

        def saw(scope: Scope, event: Event) -> None:
            if self.bridge is not None and event["topic"] == "tasks":
                self.bridge.saw(scope, event)
            if self.executor is not None and event["topic"] in ("requests", "cancellations", "results"):
                self.executor.saw(scope, event)

        self.observer.listen(saw)
        undo.callback(self.observer.listen, None)

    def _watch(self) -> None:
        while not self._stopping.wait(_WATCH_SECONDS):
            self._note_deaths()

    def _note_deaths(self) -> None:
        with self._noting:
            dead = {process.name for process in self.running.died()}
            # One that was started again may die again.
            self._dead &= dead
            for process in self.running.died():
                if process.name in self._dead:
                    continue
                self._dead.add(process.name)
                points = self.armed_faults
                if points is None or process.name not in points.may_die:
                    self._deaths.append(
                        f"{process.name} has ended by itself with exit code {process.exit_code}; the end of its log:\n"
                        f"{process.log_tail()}"
                    )
                self.observer.scopes.tell_all("process", "exited", process=process.name, exit_code=process.exit_code)
