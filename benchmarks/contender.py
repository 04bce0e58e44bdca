"""The words of the benchmark: a contender, and an entrant, which is a contender that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.workload import Workload
from harness.stack import EmbeddedStack

Submit = Callable[[int], None]
"""Starts the run with this number; returns once the engine has promised to do it. For one thread."""

Say = Callable[[str], None]
"""Tells a person what goes on."""


@dataclass(frozen=True)
class Place:
    """Where everything happens: the servers that all contenders share, and the agent that all call."""

    stack: EmbeddedStack
    agent_url: str


@dataclass(frozen=True)
class Ended:
    """A run that ended well: what it was given, and what it gave back in the form of `Workload.expected_output`."""

    given: Mapping[str, Any]
    output: Any


class Entrant(Protocol):
    """A contender whose processes run and wait for work."""

    @property
    def roles(self) -> Mapping[str, Sequence[int]]:
        """Process ids by role, without those of the place; a process stands for its descendants as well."""

    def ways(self) -> Mapping[str, Callable[[int], list[float]]]:
        """By the way in which a run can be asked for: does that many, one after the other; gives the seconds of each,
        from the request to the end as its caller sees it. The first way is the one through the engine's front door."""

    def lay_backlog(self, first: int, runs: int) -> None:
        """Have runs accepted while nothing is done about them: the workers stand still before the first one could be
        begun."""

    def release(self) -> None:
        """Let the workers go on."""

    def submitter(self) -> AbstractContextManager[Submit]:
        """A client of the engine's own kind, with connections of its own."""

    def is_drained(self) -> bool:
        """Whether no run is left that has not ended. Costs little, however many there are."""

    def completed(self) -> int:
        """How many runs have ended well since the start, of all that were asked for at the front door."""

    def ended(self, limit: int) -> Sequence[Ended]:
        """Those of them that were asked for last; all when there are no more than `limit`."""


class Contender(Protocol):
    """An engine, with the configuration that it competes in."""

    @property
    def name(self) -> str:
        """As it stands in tables."""

    @property
    def version(self) -> str:
        """Of what is measured."""

    @property
    def configuration(self) -> Mapping[str, str]:
        """What was set, and to what; for the documentation."""

    def missing(self, say: Say) -> str | None:
        """Why it cannot take part, and what to do about it; None when it can. Builds first what it must build, once for
        the machine, and tells how far that is."""

    def start(self, place: Place, workload: Workload) -> AbstractContextManager[Entrant]:
        """Bring it up, ready for work, and take it down again."""
