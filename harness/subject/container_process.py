"""One process of a role in a container of its own, with the faults that can be done to it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from harness.stack import NotRunning, StackError, Warden
from harness.stack.engine import LABEL, EngineSession, require_program, telling
from harness.stack.process import KILL_SECONDS
from harness.subject.description import RoleName
from harness.subject.errors import NotReady, SubjectError
from harness.subject.process import Launch, RoleProcess, Starter

REMEDY: Final = (
    "Build it (for this project's own: `docker build -t plumbline .`), or correct `image` in the subject file."
)
_MADE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_SAME_START_SECONDS: Final = 5.0


def run_words(
    program: str, session: EngineSession, name: str, image: str, told: Sequence[str], command: Sequence[str]
) -> tuple[str, ...]:
    """What starts a container and stays with it: its output is the container's, and so is its exit code.

    The container is on the network of this machine: Kafka, PostgreSQL, the proxies before them and the agents are on its
    loopback. Variables go by their names, so that no value of one shows in a list of processes.
    """
    own = (program, "run", "--rm", "--name", name, "--label", f"{LABEL}={session.id}", "--network", "host")
    # Whether it is ready is asked from outside; an image's own looks at itself would cost every container a program each time.
    unwatched = ("--no-healthcheck",)
    variables = tuple(word for variable in told for word in ("--env", variable))
    return (*own, *unwatched, *variables, image, *command)


class ContainerProcess(RoleProcess):
    """A process in a container, and `docker run` on this machine that stays with it. Each start makes a new container."""

    def __init__(
        self,
        role: RoleName,
        number: int,
        log_path: Path,
        warden: Warden,
        launch: Launch,
        start: Starter,
        *,
        image: str,
        session: EngineSession,
    ) -> None:
        """`image` is there."""
        super().__init__(role, number, log_path, warden, launch, start)
        self._image = image
        self._session = session
        self._program = require_program()
        self._starts = 0
        self._pid: int | None = None

    @property
    def container_name(self) -> str:
        """The name of the container of its last start."""
        return f"plumbline-{self._session.id}-{self.name}-{self._starts}"

    @property
    def pid(self) -> int | None:
        """The process id in the list of this machine while it runs; of `docker run`, where the container's is not seen."""
        front = self._process.pid
        if front is None:
            return None
        if self._pid is None:
            self._pid = self._seen_pid()
        return self._pid or front

    def launch(self) -> None:
        """Start a container and return at once; nothing happens when one runs. Raises :class:`SubjectError`."""
        if not self.is_running:
            self._starts += 1
            self._pid = None
        super().launch()

    def kill(self) -> None:
        """SIGKILL; returns when the container is gone. Raises ``NotRunning`` of the stack."""
        self._is_wanted = False
        with self._container("killed") as container:
            container.kill()
        self._await_front()

    def pause(self) -> None:
        """Freeze all that runs in it. Raises ``NotRunning`` of the stack."""
        with self._container("paused") as container:
            if container.status != "paused":
                container.pause()

    def resume(self) -> None:
        """Let it go on; nothing happens when it is not frozen. Raises ``NotRunning`` of the stack."""
        with self._container("resumed") as container:
            if container.status == "paused":
                container.unpause()

    def request_stop(self) -> list[psutil.Process]:
        """Send its stop signal; gives what `await_stop` has to wait for."""
        self._is_wanted = False
        family = self._process.family()
        with contextlib.suppress(NotRunning), self._container("stopped") as container:
            if container.status == "paused":
                container.unpause()
            container.kill(signal=signal.Signals(self._launch.stop_signal).name)
        return family

    def await_stop(self, family: list[psutil.Process]) -> bool:
        """Wait until it is gone that ran at `request_stop`; False when it had to be killed."""
        if not family or self._process.wait_for_end(self._launch.stop_timeout_seconds):
            return True
        with contextlib.suppress(NotRunning), self._container("killed") as container:
            container.kill()
        self._await_front()
        return False

    def _arguments(self) -> tuple[str, ...]:
        told, command = self._launch.told, self._launch.arguments
        return run_words(self._program, self._session, self.container_name, self._image, told, command)

    def _await_front(self) -> None:
        if not self._process.wait_for_end(KILL_SECONDS):
            raise NotReady(f"{self.name}: its container {self.container_name} did not end within {KILL_SECONDS:.0f} s.")

    @contextlib.contextmanager
    def _container(self, what: str) -> Iterator[Any]:
        """The container that runs; that it ends by itself meanwhile is no error. Raises ``NotRunning``."""
        from docker.errors import APIError

        container = self._found()
        if container is None:
            raise NotRunning(f"{self.name} is not running, so it cannot be {what}. Start it first.")
        with telling(f"{self.name} could not be {what}: that"):
            try:
                yield container
            except APIError:
                if not self._process.wait_for_end(KILL_SECONDS):
                    raise

    def _found(self) -> Any:
        """Its container; None when it does not run. One that was just started is waited for."""
        from docker.errors import NotFound

        deadline = time.monotonic() + _MADE_SECONDS
        while self.is_running:
            with telling(f"Looking for the container of {self.name}"), contextlib.suppress(NotFound):
                container = self._session.docker.client.containers.get(self.container_name)
                if container.status in ("running", "paused"):
                    return container
            if time.monotonic() > deadline:
                raise StackError(f"The container {self.container_name} did not start within {_MADE_SECONDS:.0f} s.")
            time.sleep(_POLL_SECONDS)
        return None

    def _seen_pid(self) -> int | None:
        """The container's process in the list of this machine. With an engine in a machine of its own the number belongs to
        somebody else here, or to nobody: only one that has just started is taken."""
        with contextlib.suppress(StackError, psutil.Error):
            container = self._found()
            if container is not None:
                number = int(container.attrs["State"]["Pid"])
                front = psutil.Process(self._process.pid).create_time()
                if number and abs(psutil.Process(number).create_time() - front) < _SAME_START_SECONDS + _MADE_SECONDS:
                    return number
        return None


def require_images(session: EngineSession, images: frozenset[str]) -> None:
    """Have every image at hand before anything is started. Raises :class:`SubjectError`, NoEngine."""
    from harness.stack import NoImage, SilentProgress

    for image in sorted(images):
        try:
            session.require_image(image, SilentProgress(), REMEDY)
        except NoImage as error:
            raise SubjectError(str(error)) from error
