"""The words of a stack: Kafka and PostgreSQL behind one face, whoever runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

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


class FromStartToStop(ABC):
    """What is started and stopped, as a context manager."""

    @abstractmethod
    def start(self) -> None:
        """Return when it can be used."""

    @abstractmethod
    def stop(self) -> None:
        """End what was started; harmless the second time."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Database(Part, Protocol):
    @property
    def url(self) -> str: ...


class _Broker(Part, Protocol):
    @property
    def address(self) -> str: ...


_D = TypeVar("_D", bound=_Database)
_B = TypeVar("_B", bound=_Broker)


class StackOfOwnServers(FromStartToStop, Generic[_D, _B]):
    """A stack that starts its servers itself; `start` sets both, and they are there until its stop."""

    _database: _D | None = None
    _broker: _B | None = None

    @property
    def database_url(self) -> str:
        """The address of the database, as psycopg2 and SQLAlchemy both take it."""
        return self.database.url

    @property
    def kafka_brokers(self) -> str:
        """The address of the broker, ``host:port``."""
        return self.broker.address

    @property
    def broker(self) -> _B:
        """The broker; exists from the start to the stop of the stack."""
        return of_started_stack(self._broker)

    @property
    def database(self) -> _D:
        """The database server; exists from the start to the stop of the stack."""
        return of_started_stack(self._database)
