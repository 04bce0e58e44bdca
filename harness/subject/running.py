"""A subject whose processes run, and the processes of each of its roles."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, overload

from harness import settings
from harness.stack import EmbeddedStack, Stack, Warden
from harness.stack.engine import EngineSession, require_program
from harness.stack.ports import HeldPort
from harness.stack.process import ServerProcess
from harness.stack.warden_process import MARKER_NAME
from harness.subject.container_process import ContainerProcess, require_images, run_words
from harness.subject.description import ROLES, Description, HttpReady, RoleDescription, RoleName
from harness.subject.errors import NoSuchRole, SubjectError, ending
from harness.subject.placeholders import filled
from harness.subject.process import Launch, RoleProcess, Starter
from harness.subject.readiness import Watch, wait_until_ready, watch


@dataclass(frozen=True)
class Route:
    """Where one process finds the stack."""

    database_url: str
    kafka_brokers: str


class RunningRole(Sequence[RoleProcess]):
    """The processes of one role, in the order in which they were made; those that were ended stay in it."""

    def __init__(self, description: RoleDescription, subject: RunningSubject) -> None:
        self.description = description
        self._subject = subject
        self._processes: list[RoleProcess] = []

    @property
    def name(self) -> RoleName:
        """The role."""
        return self.description.name

    @overload
    def __getitem__(self, index: int) -> RoleProcess: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RoleProcess]: ...
    def __getitem__(self, index: int | slice) -> RoleProcess | Sequence[RoleProcess]:
        return self._processes[index]

    def __len__(self) -> int:
        return len(self._processes)

    def add(self, *, wait: bool = True) -> RoleProcess:
        """Start one more process, and wait until it is ready. Raises :class:`ProcessDied` or :class:`NotReady`."""
        process = self.make()
        process.start(wait=wait)
        return process

    def make(self) -> RoleProcess:
        """One more process, not launched yet."""
        number = len(self._processes) + 1
        process = self._subject.process(self.description, number, self._start_one)
        self._processes.append(process)
        return process

    def launch(self, processes: Sequence[RoleProcess]) -> Watch:
        """Launch processes of this role; gives the watch that tells when all of them are ready."""
        running = sum(process.is_running for process in self._processes)
        urls = [self._subject.ready_url(self.description, process) for process in processes]
        begun = watch(
            self.description.ready, processes, urls, self._subject.stack.kafka_brokers, running + len(processes)
        )
        try:
            for process in processes:
                process.launch()
        except BaseException:
            begun.close()
            raise
        return begun

    def _start_one(self, process: RoleProcess, wait: bool) -> None:
        if process.is_running:
            return
        with contextlib.closing(self.launch([process])) as begun:
            if wait:
                wait_until_ready([process], begun, self.description.ready.timeout_seconds)


class RunningSubject:
    """The roles' processes on a stack. A context manager that ends them all; made by ``Subject.start``."""

    def __init__(
        self,
        description: Description,
        stack: Stack,
        *,
        counts: Mapping[RoleName, int],
        ports: Mapping[str, int],
        environment: Mapping[str, str],
        agent_registry_url: str | None,
        log_directory: Path | None,
        warden: Warden | None,
    ) -> None:
        self.description = description
        self.stack = stack
        self._counts = {role: counts.get(role, of.processes) for role, of in description.roles.items()}
        if unknown := [role for role, count in counts.items() if count and role not in description.roles]:
            raise NoSuchRole(f"The subject {description.name} has no role {', '.join(unknown)} to start.")
        self._asked_ports = ports
        self._environment = environment
        self._asked_registry_url = agent_registry_url
        self._ending = contextlib.ExitStack()
        self._ports: dict[tuple[str, RoleName, int], HeldPort] = {}
        self._roles: dict[RoleName, RunningRole] = {}
        self._has_failed = False
        self._session: EngineSession | None = None
        self._routes: Callable[[RoleName, int], Route | None] = lambda _role, _number: None
        if warden is None and isinstance(stack, EmbeddedStack):
            warden = stack.warden
        self._warden = warden if warden is not None else self._ending.enter_context(Warden())
        self._keeps_logs = log_directory is not None
        self.log_directory = log_directory if log_directory is not None else self._warden.temporary_directory()
        self.log_directory.mkdir(parents=True, exist_ok=True)

    @property
    def api_url(self) -> str:
        """Where the REST paths begin, without ``/api/v1``. Raises :class:`NoSuchRole` when no API was started."""
        api = self.role("api")
        return self._filled(api.description.url, "api", 1)

    @property
    def agent_registry_url(self) -> str:
        """Where a bridge looks agents up over REST; empty when it has to look them up in the database."""
        if self._asked_registry_url is not None:
            return self._asked_registry_url
        return self.api_url if "api" in self._roles else ""

    @property
    def roles(self) -> Mapping[RoleName, RunningRole]:
        """The roles that were started."""
        return self._roles

    @property
    def processes(self) -> Sequence[RoleProcess]:
        """All processes of all roles."""
        return [process for role in self._roles.values() for process in role]

    def role(self, name: RoleName) -> RunningRole:
        """The processes of a role. Raises :class:`NoSuchRole`."""
        if name not in self._roles:
            started = ", ".join(self._roles) or "none"
            raise NoSuchRole(f"The role {name} of the subject {self.description.name} was not started ({started} was).")
        return self._roles[name]

    def died(self) -> list[RoleProcess]:
        """The processes that have ended without having been told to."""
        return [process for process in self.processes if process.has_died]

    def start(self, *, migrate: bool) -> None:
        """Run the migration and start every process; what was begun is undone when that fails."""
        try:
            if images := self.description.images:
                self._session = self._ending.enter_context(EngineSession())
                require_images(self._session, images)
            if migrate:
                self._migrate()
            for name in ROLES:
                if self._counts.get(name, 0):
                    self._roles[name] = RunningRole(self.description.roles[name], self)
            begun: list[tuple[RunningRole, Watch]] = []
            with contextlib.ExitStack() as watches:
                for role in self._roles.values():
                    watching = role.launch([role.make() for _ in range(self._counts[role.name])])
                    begun.append((role, watches.enter_context(contextlib.closing(watching))))
                for role, watching in begun:
                    wait_until_ready(role, watching, role.description.ready.timeout_seconds)
        except BaseException as error:
            self._has_failed = isinstance(error, Exception)
            self.stop()
            raise

    def keep_logs(self) -> None:
        """Leave the logs where they are at the end, because something was seen that may have to be looked into."""
        self._has_failed = True

    def stop(self) -> None:
        """End every process, by its stop signal and then by SIGKILL; harmless the second time."""
        self._has_failed = self._has_failed or bool(self.died())
        leaving = [(process, process.request_stop()) for process in self.processes]
        for process, family in leaving:
            process.await_stop(family)
        for held in self._ports.values():
            held.close()
        self._settle_logs()
        self._ending.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What ends us from outside, as Ctrl-C, is no failure.
        self._has_failed = self._has_failed or isinstance(error, Exception)
        self.stop()

    def process(self, role: RoleDescription, number: int, start: Starter) -> RoleProcess:
        """A process of a role with its placeholders filled and its ports held; for `RunningRole`."""
        log_path = self.log_directory / f"{role.name}-{number}.log"
        launch = self._launch_of(role, number)
        if role.image is None or self._session is None:
            return RoleProcess(role.name, number, log_path, self._warden, launch, start)
        return ContainerProcess(
            role.name, number, log_path, self._warden, launch, start, image=role.image, session=self._session
        )

    def reroute(
        self, routes: Callable[[RoleName, int], Route | None]
    ) -> Sequence[tuple[RunningRole, list[RoleProcess]]]:
        """From its next start on, each process finds the stack where `routes` says (by role and number from 1); None is
        where the stack is. Gives the processes that this is about: those that were added and have ended ask for no route,
        of which there are only so many."""
        self._routes = routes
        rerouted = [
            (role, [process for process in role if process.is_running or process.number <= self._counts[role.name]])
            for role in self._roles.values()
        ]
        for role, processes in rerouted:
            for process in processes:
                process.relaunch_with(self._launch_of(role.description, process.number))
        return rerouted

    def _launch_of(self, role: RoleDescription, number: int) -> Launch:
        description = self.description
        environment, told = self._environment_of(role.environment, role.name, number)
        return Launch(
            arguments=tuple(self._filled(text, role.name, number) for text in role.arguments),
            directory=description.working_directory,
            environment=environment,
            stop_signal=role.stop_signal,
            stop_timeout_seconds=role.stop_timeout_seconds,
            told=told,
        )

    def _environment_of(
        self, own: Mapping[str, str], role: RoleName, number: int
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """The variables of a process, and the names of those that it is to have in a container as well."""
        handed_on = settings.handed_on(self.description.pass_environment)
        given = {**self.description.environment, **own}
        told = {
            **{name: handed_on[name] for name in self.description.pass_environment if name in handed_on},
            "LC_ALL": "C.UTF-8",
            **{name: self._filled(text, role, number) for name, text in given.items()},
            **self._environment,
        }
        return {**handed_on, **told}, tuple(told)

    def ready_url(self, role: RoleDescription, process: RoleProcess) -> str:
        """The URL of an `HttpReady` for one process; empty for another kind."""
        return self._filled(role.ready.url, role.name, process.number) if isinstance(role.ready, HttpReady) else ""

    def _migrate(self) -> None:
        migration = self.description.migration
        if migration is None:
            return
        tool = ServerProcess("migration", self.log_directory / "migration.log", self._warden, signal.SIGTERM)
        environment, told = self._environment_of(migration.environment, "api", 1)
        arguments = [self._filled(text, "api", 1) for text in migration.arguments]
        if migration.image is not None and self._session is not None:
            name = f"plumbline-{self._session.id}-migration"
            arguments = [*run_words(require_program(), self._session, name, migration.image, told, arguments)]
        try:
            tool.launch(arguments, self.description.working_directory, environment)
        except OSError as error:
            raise SubjectError(f"The migration cannot be started: {error} ({arguments[0]}).") from error
        in_time = tool.wait_for_end(migration.timeout_seconds)
        if not in_time:
            tool.kill()
        if not in_time or tool.exit_code != 0:
            what = ending(tool.exit_code) if in_time else f"took longer than {migration.timeout_seconds:.0f} s"
            raise SubjectError(f"The migration {what}. The end of its log ({tool.log_path}):\n{tool.log_tail()}")

    def _filled(self, text: str, role: RoleName, number: int) -> str:
        return filled(text, lambda name, word: self._value(name, word, role, number))

    def _value(self, name: str, word: str | None, role: RoleName, number: int) -> str:
        match name:
            case "database_url" | "kafka_brokers":
                return str(getattr(self._routes(role, number) or self.stack, name))
            case "python":
                return sys.executable
            case "port" if word is not None:
                return str(self._port(word, role, number))
            case "api_url":
                # To itself, an API is where this process of it listens.
                return self._filled(self.description.roles["api"].url, "api", number if role == "api" else 1)
            case "agent_registry_url":
                return self.agent_registry_url
        raise SubjectError(f"There is no placeholder {{{name}}}.")

    def _port(self, word: str, role: RoleName, number: int) -> int:
        """The port of a name: of another role's first process when it is a role's name, else of this very process."""
        if word in ROLES and word != role:
            role, number = ROLES[ROLES.index(word)], 1
        key = (word, role, number)
        if key not in self._ports:
            asked = self._asked_ports.get(word) if number == 1 else None
            self._ports[key] = HeldPort(f"{role}-{number} of {self.description.name}", asked)
            self._ports[key].make_way()
        return self._ports[key].port

    def _settle_logs(self) -> None:
        if self._keeps_logs:
            return
        self._keeps_logs = True
        self._warden.forget_directory(self.log_directory)
        (self.log_directory / MARKER_NAME).unlink(missing_ok=True)
        # What failed before anything was started has left nothing to look into.
        if not self._has_failed or not any(self.log_directory.iterdir()):
            shutil.rmtree(self.log_directory)
