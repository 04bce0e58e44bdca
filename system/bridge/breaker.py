"""A circuit breaker for one agent. Pure: the clock is given.

It counts tasks whose tries have all failed, never single tries, so that a task that has begun always gets the tries
that its agent's retry configuration promises.

| state | task failed | task answered | admit |
| --- | --- | --- | --- |
| closed | counts; the Nth in a row opens | counts from nought again | yes |
| open | stays | closes | no; after the cool-down, half-open and yes, as the probe |
| half-open | opens, a new cool-down | closes | no |
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

FAILURES_TO_OPEN = 5
COOL_DOWN_SECONDS = 5.0


class Circuit(Enum):
    """State of a circuit."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Tells whether a new task may be sent to an agent. Times are those of the `clock`, in seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        failures_to_open: int = FAILURES_TO_OPEN,
        cool_down_seconds: float = COOL_DOWN_SECONDS,
    ) -> None:
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._cool_down_seconds = cool_down_seconds
        self.circuit = Circuit.CLOSED
        self.failures = 0
        self.unhealthy_since = 0.0
        self._opened_at = 0.0

    @property
    def pristine(self) -> bool:
        """Nothing is known against the agent: the breaker may be forgotten."""
        return self.circuit is Circuit.CLOSED and self.failures == 0

    @property
    def probe_at(self) -> float:
        """When an open circuit lets a probe through."""
        return self._opened_at + self._cool_down_seconds

    @property
    def probe_is_due(self) -> bool:
        """The circuit is open, and its cool-down is over."""
        return self.circuit is Circuit.OPEN and self._clock() >= self.probe_at

    def admit(self) -> bool:
        """May a task begin now? A yes while not closed hands out the probe, whose end must be told."""
        if self.circuit is Circuit.CLOSED:
            return True
        if self.probe_is_due:
            self.circuit = Circuit.HALF_OPEN
            return True
        return False

    def answered(self) -> None:
        """The agent answered a task, in whatever sense: it is there."""
        self.circuit = Circuit.CLOSED
        self.failures = 0

    def failed(self) -> None:
        """All tries of a task ended in transport errors, timeouts or 5xx."""
        self.failures += 1
        if self.circuit is Circuit.CLOSED and self.failures >= self._failures_to_open:
            self.unhealthy_since = self._opened_at = self._clock()
            self.circuit = Circuit.OPEN
        elif self.circuit is Circuit.HALF_OPEN:
            self._opened_at = self._clock()
            self.circuit = Circuit.OPEN
