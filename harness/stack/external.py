"""A stack that somebody else runs."""

from __future__ import annotations

from typing import NoReturn

from harness.stack.errors import NotInOurHands
from harness.stack.stack import FromStartToStop


class NobodysPart:
    """A server that somebody else runs: it can be looked at by its clients, and nothing can be done to it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def start(self) -> None:
        """Refused."""
        self._refuse("started")

    def stop(self) -> None:
        """Refused."""
        self._refuse("stopped")

    def kill(self) -> None:
        """Refused."""
        self._refuse("killed")

    def pause(self) -> None:
        """Refused."""
        self._refuse("paused")

    def resume(self) -> None:
        """Refused."""
        self._refuse("resumed")

    def is_serving(self) -> bool:
        """Refused."""
        self._refuse("probed")

    def _refuse(self, what: str) -> NoReturn:
        raise NotInOurHands(
            f"The {self._name} of an external stack cannot be {what} from here: only its address is known. "
            "Take a stack of the harness's own (embedded, containers) for scenarios with faults of the broker or the database."
        )


class ExternalStack(FromStartToStop):
    """A stack that somebody else runs, known by its two addresses."""

    def __init__(self, database_url: str, kafka_brokers: str) -> None:
        self.database_url = database_url
        self.kafka_brokers = kafka_brokers
        self.broker = NobodysPart("broker")
        self.database = NobodysPart("database")

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""
