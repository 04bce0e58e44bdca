"""The Docker engine of this machine: asked at once whether it is there, and left as it was found.

Everything that is made on it bears a label of the session that made it. A process of its own removes what has the label
once the session ends, however that is, so that nothing stays behind after a SIGKILL either.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.stack import container_guard
from harness.stack.errors import NoEngine, NoImage, StackError
from harness.stack.progress import ProgressDisplay

if TYPE_CHECKING:
    from testcontainers.core.docker_client import DockerClient

LABEL: Final = container_guard.LABEL
_INSTEAD: Final = "The embedded stack (--stack embedded) needs no engine."
_GUARD_SECONDS: Final = 120.0
_EXTRA: Final = "pip install 'plumbline[containers]'"


class EngineSession:
    """A connection to the engine, and the promise that nothing with its label outlives it. A context manager."""

    def __init__(self) -> None:
        """Raises :class:`NoEngine`."""
        self.docker = connected()
        self.id = uuid.uuid4().hex[:12]
        # Whoever reads from a pipe whose other end is gone goes on, and removes what is left, however we have ended.
        self._guard = subprocess.Popen(
            [sys.executable, str(Path(container_guard.__file__)), self.id],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def labels(self) -> dict[str, str]:
        """What everything that this session makes is labelled with."""
        return {LABEL: self.id}

    def require_image(self, image: str, progress: ProgressDisplay, remedy: str) -> None:
        """Pull the image where it is not there.

        Raises:
            NoImage: it cannot be had; `remedy` says what else can be done.
        """
        from docker.errors import APIError, ImageNotFound

        images = self.docker.client.images
        try:
            images.get(image)
        except ImageNotFound:
            progress.say(f"Pulling the image {image}")
            try:
                images.pull(image)
            except APIError as error:
                raise NoImage(
                    f"The image {image} is not on this machine's engine, and cannot be pulled: "
                    f"{error.explanation or error}. {remedy}"
                ) from error

    def close(self) -> None:
        """Remove everything that has the session's label; harmless the second time. Raises :class:`StackError`."""
        if self._guard.returncode is not None:
            return
        _, told = self._guard.communicate(timeout=_GUARD_SECONDS)
        self.docker.client.close()
        if self._guard.returncode != 0:
            raise StackError(
                f"Containers of this session could not be removed: {told.decode(errors='replace').strip():.500}. "
                f"Remove them by `docker rm -fv $(docker ps -aq --filter label={LABEL}={self.id})`."
            )

    def __enter__(self) -> EngineSession:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def connected() -> DockerClient:
    """A client of an engine that answers. Raises :class:`NoEngine`, which says what is wrong and what to do."""
    try:
        from docker.errors import DockerException
        from requests.exceptions import RequestException
        from testcontainers.core.docker_client import DockerClient
    except ImportError as error:
        raise NoEngine(
            f"Containers need testcontainers, which is not installed ({error}): {_EXTRA}. {_INSTEAD}"
        ) from error
    try:
        client = DockerClient()
        client.client.ping()
    except (DockerException, RequestException, OSError) as error:
        raise NoEngine(_why_none(error)) from error
    return client


def require_engine() -> None:
    """Raises :class:`NoEngine` when containers cannot be run here."""
    connected().client.close()


def require_program() -> str:
    """The program `docker`, which a role's containers are started with. Raises :class:`NoEngine`."""
    program = shutil.which("docker")
    if program is None:
        raise NoEngine(
            "There is no program `docker` on the PATH, which starts a subject's images. Install Docker's CLI."
        )
    return program


@contextlib.contextmanager
def telling(what: str) -> Iterator[None]:
    """Turns what the engine refuses into a :class:`StackError` that names what was tried."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise StackError(f"{what} failed: {getattr(error, 'explanation', None) or error}") from error


def _why_none(error: Exception) -> str:
    causes = list(_chain(error))
    if any(isinstance(cause, PermissionError) for cause in causes) or "Permission denied" in str(error):
        return (
            "This user may not speak to the Docker engine (permission denied). Have yourself added to the group `docker` "
            f"and log in again, or name an engine of your own in DOCKER_HOST. {_INSTEAD}"
        )
    return (
        "No Docker engine answers here. Start one (`sudo systemctl start docker`, or Docker Desktop), or name where it "
        f"listens in DOCKER_HOST. {_INSTEAD} What was found: {error}"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its causes, and what they hold: the libraries beneath wrap what the system said in arguments."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, *one.args]
