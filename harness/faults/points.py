"""Crossings, the fault points that pick them out, and the kinds of faults; pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

Boundary = Literal["produce", "offsets", "transaction", "join", "sync", "heartbeat", "write", "commit", "call"]
BOUNDARIES: Final[tuple[Boundary, ...]] = get_args(Boundary)
"""What a process does to the outside: produce, offsets (OffsetCommit, TxnOffsetCommit), transaction (EndTxn), join (JoinGroup),
sync (SyncGroup) and heartbeat are Kafka's; write (the first statement of a transaction that changes data) and commit are
PostgreSQL's; call is that of an agent."""


Kind = Literal[
    "kill_before",
    "kill_after",
    "drop_before",
    "drop_after",
    "delay",
    "error_retriable",
    "error_late",
    "error_lost",
    "error_fatal",
    "deadlock",
    "freeze_before",
    "freeze_after",
    "partition_kafka",
    "partition_database",
    "partition_both",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

ABOUT: Final[Mapping[Kind, str]] = {
    "kill_before": "SIGKILL, and what was asked for never takes effect",
    "kill_after": "SIGKILL when it has taken effect, before the acknowledgement arrives",
    "drop_before": "the connection is reset, and what was asked for never takes effect",
    "drop_after": "the connection is reset when it has taken effect, in the place of the acknowledgement",
    "delay": "it takes effect half a second late",
    "error_retriable": "it is refused with an error that says: try again",
    "error_late": "it is refused like that half a second late: what was sent after it is not refused",
    "error_lost": "it takes effect, and is answered with an error that leaves that open",
    "error_fatal": "it is refused with an error that says: do not try again",
    "deadlock": "the transaction is ended as the victim of a deadlock",
    "freeze_before": "SIGSTOP for longer than the session time-out; it takes effect when the process goes on",
    "freeze_after": "SIGSTOP for longer than the session time-out, when it has taken effect",
    "partition_kafka": "from here on, the process does not reach Kafka for longer than its session time-out",
    "partition_database": "from here on, the process does not reach PostgreSQL for a while",
    "partition_both": "from here on, the process reaches neither for a while",
}

_ERRORS: Final[Mapping[Kind, frozenset[Boundary]]] = {
    "error_retriable": frozenset(("produce", "offsets", "join", "sync", "heartbeat", "write", "commit", "call")),
    "error_late": frozenset(("produce",)),
    "error_lost": frozenset(("produce", "offsets", "commit", "call")),
    "error_fatal": frozenset(("produce", "offsets", "join", "heartbeat", "commit", "call")),
    "deadlock": frozenset(("write", "commit")),
}

_OF_A_WRITE: Final[frozenset[Kind]] = frozenset(
    ("error_retriable", "deadlock", "freeze_before", "freeze_after", "partition_database")
)
"""A write takes effect with its commit alone: what else could be done to it is done there."""

MAY_FAIL_THE_RUN: Final[frozenset[Kind]] = frozenset(("error_fatal",))
"""Faults after which a run may end FAILED with a reason as well as COMPLETED, and a process may give itself up."""


def applies(kind: Kind, boundary: Boundary) -> bool:
    """Whether a fault can be done at a boundary."""
    if boundary == "write" and kind not in _OF_A_WRITE:
        return False
    return boundary in _ERRORS.get(kind, frozenset(BOUNDARIES))


@dataclass(frozen=True, slots=True)
class Crossing:
    """One request at a boundary. `process` is such as `consumer-1`; `names` are the topics (the contract's short names, or
    the subject's), the tables that the transaction has changed, or the agent; `at` is in seconds of the monotonic clock."""

    process: str
    boundary: Boundary
    names: tuple[str, ...] = ()
    at: float = 0.0

    @property
    def role(self) -> str:
        """The role of the process."""
        return self.process.rpartition("-")[0]

    @property
    def name(self) -> str | None:
        """The one name that a fault point is called by: the table that tells most, else the first."""
        for telling in _TELLING:
            if telling in self.names:
                return telling
        return self.names[0] if self.names else None


_TELLING: Final = ("step_executions", "workflow_runs")


@dataclass(frozen=True, slots=True)
class Point:
    """A fault point: the `nth` crossing (from 1) of `boundary` by the role's processes, or by one of them (`number`, from 1),
    that names `of`; None is any."""

    role: str
    boundary: Boundary
    nth: int = 1
    of: str | None = None
    number: int | None = None

    def fits(self, crossing: Crossing) -> bool:
        """Whether a crossing counts."""
        return (
            crossing.boundary == self.boundary
            and crossing.role == self.role
            and (self.number is None or crossing.process == f"{self.role}-{self.number}")
            and (self.of is None or self.of in crossing.names)
        )

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Point:
        """A point as it stands in a scenario file."""
        return cls(**data)

    def written(self) -> dict[str, Any]:
        """The point as a scenario file has it."""
        found: dict[str, Any] = {"role": self.role}
        if self.number is not None:
            found["number"] = self.number
        found["boundary"] = self.boundary
        if self.of is not None:
            found["of"] = self.of
        return {**found, "nth": self.nth}

    def __str__(self) -> str:
        who = self.role if self.number is None else f"{self.role}-{self.number}"
        return f"{who} {self.boundary}{f' {self.of}' if self.of is not None else ''} {self.nth}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done at which point; `then` is armed, and counts, once this one is done."""

    at: Point
    do: Kind
    then: Fault | None = None
    seconds: float | None = field(default=None)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Fault:
        """A fault as it stands in a scenario file."""
        then = data.get("then")
        return cls(
            Point.read(data["at"]), data["do"], cls.read(then) if then is not None else None, data.get("seconds")
        )

    def written(self) -> dict[str, Any]:
        """The fault as a scenario file has it."""
        found: dict[str, Any] = {"at": self.at.written(), "do": self.do}
        if self.seconds is not None:
            found["seconds"] = self.seconds
        if self.then is not None:
            found["then"] = self.then.written()
        return found

    def all(self) -> tuple[Fault, ...]:
        """This one and those that follow it."""
        return (self, *(self.then.all() if self.then is not None else ()))

    def __str__(self) -> str:
        return f"{self.do} at {self.at}" + (f", then {self.then}" if self.then is not None else "")
