"""What can go wrong with a subject; every message says what was found and what to do next."""

from __future__ import annotations

from pathlib import Path


class SubjectError(Exception):
    """The subject cannot be used as asked. The message is meant for the person at the terminal."""


class NoSuchRole(SubjectError):
    """A role was asked for that the subject does not play, or that was not started."""


class ProcessDied(SubjectError):
    """A process of the subject ended while it was needed."""

    def __init__(self, name: str, exit_code: int | None, log_path: Path, log_tail: str) -> None:
        super().__init__(
            f"{name} {ending(exit_code)} before it was ready. The end of its log ({log_path}):\n{log_tail}"
        )
        self.name = name
        self.exit_code = exit_code
        self.log_tail = log_tail


class NotReady(SubjectError):
    """A process of the subject runs, but did not become ready before its deadline."""


def ending(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is not None and exit_code < 0:
        return f"was ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"
