"""The words of a stack: Kafka and PostgreSQL behind one face, whoever runs them."""

from __future__ import annotations

from typing import Protocol, TypeVar

from harness.stack.errors import StackError

_T = TypeVar("_T")


class Part(Protocol):
    """A server of the stack, with the faults that can be done to it."""

    def start(self) -> None:
        """Start it on its data and return when it serves; nothing happens when it runs."""

    def stop(self) -> None:
        """End it in good order; nothing happens when it does not run."""

    def kill(self) -> None:
        """SIGKILL, to all its processes."""

    def pause(self) -> None:
        """SIGSTOP, to all its processes: it keeps its connections and answers nothing."""

    def resume(self) -> None:
        """SIGCONT, to all its processes."""

    def is_serving(self) -> bool:
        """Whether it answers now, within two seconds."""


class Stack(Protocol):
    """A Kafka and a PostgreSQL, ready to be used by a subject and by the harness."""

    @property
    def database_url(self) -> str:
        """``postgresql://user:password@host:port/database``."""

    @property
    def kafka_brokers(self) -> str:
        """``host:port``, several separated by commas."""

    @property
    def broker(self) -> Part:
        """The Kafka broker."""

    @property
    def database(self) -> Part:
        """The PostgreSQL server."""

    def start(self) -> None:
        """Return when both serve."""

    def stop(self) -> None:
        """End what was started; harmless the second time."""


def of_started_stack(part: _T | None) -> _T:
    """A part of a stack that has been started. Raises :class:`StackError` while there is none."""
    if part is None:
        raise StackError("The stack is not started: call start(), or use it as a context manager.")
    return part
