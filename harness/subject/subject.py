"""The subject: what its file says, and how it is brought to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from harness.stack import Stack, Warden
from harness.subject.description import Description, RoleName, read_description
from harness.subject.running import RunningSubject


class Subject:
    """An executor that can be put under test."""

    def __init__(self, description: Description) -> None:
        self.description = description

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a subject file. Raises :class:`MistakesFound` with file, line and column of each mistake."""
        return cls(read_description(Path(path)))

    def with_prefix(self, prefix: str) -> Self:
        """The same one, with this for `{prefix}`, which is nothing otherwise."""
        return type(self)(read_description(self.description.path, prefix))

    @property
    def name(self) -> str:
        """The subject's name."""
        return self.description.name

    @property
    def roles(self) -> tuple[RoleName, ...]:
        """The roles that it plays."""
        return tuple(self.description.roles)

    @property
    def step_types(self) -> frozenset[str]:
        """The step types that it executes."""
        return self.description.step_types

    @property
    def extensions(self) -> frozenset[str]:
        """What the contract marks as extension and it does."""
        return self.description.extensions

    def start(
        self,
        stack: Stack,
        *,
        counts: Mapping[RoleName, int] | None = None,
        ports: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        agent_registry_url: str | None = None,
        log_directory: Path | None = None,
        warden: Warden | None = None,
        migrate: bool = True,
    ) -> RunningSubject:
        """Migrate the stack's database and start the roles' processes; returns when all are ready.

        Args:
            stack: a stack that serves.
            counts: how many processes of a role, where not as many as the file says; 0 leaves the role out.
            ports: a port for a name of ``{port:NAME}``, for its first process; other ports are free ones.
            environment: variables for every process, over those of the file.
            agent_registry_url: for ``{agent_registry_url}``; otherwise the API's URL, or nothing without an API.
            log_directory: where each process has its log, which then stays; otherwise a temporary one, which stays
                only when something went wrong.
            warden: who ends the processes when this one dies; otherwise the stack's own, or a new one.
            migrate: whether to run the migration.

        Raises:
            SubjectError: with the end of the log of the process that failed; nothing is left running.
        """
        running = RunningSubject(
            self.description,
            stack,
            counts=dict(counts or {}),
            ports=dict(ports or {}),
            environment=dict(environment or {}),
            agent_registry_url=agent_registry_url,
            log_directory=log_directory,
            warden=warden,
        )
        running.start(migrate=migrate)
        return running
