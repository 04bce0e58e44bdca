"""A server of the stack in a container of its own, with the faults that can be done to it."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from harness.stack.engine import telling
from harness.stack.errors import NotReadyInTime, NotRunning, ServerDied
from harness.stack.process import POLL_SECONDS

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

READY_SECONDS = 240.0
STOP_SECONDS = 20
_TAIL_LINES = 40


class ServerContainer(ABC):
    """A part of a stack. Its data lie in volumes of its container, which outlives stop, kill and start."""

    def __init__(self, name: str, container: DockerContainer, network: Network) -> None:
        """`container` is described and not created; `network` exists."""
        self.name = name
        self._described = container
        self._network = network
        self._is_created = False
        self._is_cut = False

    @abstractmethod
    def is_serving(self) -> bool:
        """Whether it answers now, within two seconds."""

    @abstractmethod
    def await_ready(self) -> None:
        """Wait until it serves. Raises :class:`ServerDied`, :class:`NotReadyInTime`."""

    def start(self) -> None:
        """Start it on its data, joined to its network, and wait until it serves; nothing happens when it runs and serves."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Start it; it does not serve yet when this returns."""
        with telling(f"Starting {self.name} in a container"):
            if not self._is_created:
                self._described.start()
                self._is_created = True
                return
            self.join()
            if self.status == "paused":
                self._container.unpause()
            elif self.status != "running":
                self._container.start()

    def stop(self) -> None:
        """End it by its stop signal, and by SIGKILL when it takes too long. Nothing happens when it does not run."""
        with telling(f"Stopping {self.name}"):
            if self.status == "paused":
                self._container.unpause()
            self._container.stop(timeout=STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL, to all its processes; returns when they are gone. Raises :class:`NotRunning`."""
        with self._of_running("killed"):
            self._container.kill()
            self._container.wait(timeout=STOP_SECONDS)

    def pause(self) -> None:
        """Freeze all its processes: it keeps its connections and answers nothing. Raises :class:`NotRunning`."""
        with self._of_running("paused"):
            if self.status != "paused":
                self._container.pause()

    def resume(self) -> None:
        """Let them go on; nothing happens when they are not frozen. Raises :class:`NotRunning`."""
        with self._of_running("resumed"):
            if self.status == "paused":
                self._container.unpause()

    def cut(self) -> None:
        """Take it off its network: its connections are gone, and nobody reaches it, though it runs."""
        with telling(f"Cutting {self.name} off"):
            if not self._is_cut:
                self._network._unwrap_network.disconnect(self._container)
                self._is_cut = True

    def join(self) -> None:
        """Join it to its network again, at its addresses of before; nothing happens when it was not cut off."""
        with telling(f"Joining {self.name} to its network"):
            if self._is_cut:
                self._network.connect(self.container_id)
                self._is_cut = False

    @property
    def container_id(self) -> str:
        """The id that the engine knows it by."""
        return self._described.get_container_id()

    @property
    def status(self) -> str:
        """What the engine says: ``running``, ``paused``, ``exited`` or another word of its."""
        self._container.reload()
        return str(self._container.status)

    def log_tail(self) -> str:
        """The last lines of what it has written."""
        with telling(f"Reading the log of {self.name}"):
            return str(self._container.logs(tail=_TAIL_LINES).decode("utf-8", errors="replace"))

    def wait_until(self, is_ready: Callable[[], bool], what: str, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until the condition holds. Raises :class:`ServerDied` and :class:`NotReadyInTime`, with the log's end."""
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            with telling(f"Looking after {self.name}"):
                if self.status not in ("running", "paused", "created"):
                    raise ServerDied(self.name, self._container.attrs["State"]["ExitCode"], self.log_tail())
            if time.monotonic() > deadline:
                raise NotReadyInTime(
                    f"{self.name} runs in a container, and did not {what} within {timeout_seconds:.0f} s at its port on "
                    "127.0.0.1; the engine must be on this very machine. The end of its log:\n" + self.log_tail()
                )
            time.sleep(POLL_SECONDS)

    @property
    def _container(self) -> Any:
        return self._described.get_wrapped_container()

    @contextlib.contextmanager
    def _of_running(self, what: str) -> Iterator[None]:
        with telling(f"{self.name} could not be {what}: that"):
            if self.status not in ("running", "paused"):
                raise NotRunning(f"{self.name} is not running, so it cannot be {what}. Start it first.")
            yield
