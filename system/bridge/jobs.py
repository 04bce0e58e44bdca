"""What the dispatcher holds: partitions, jobs, and one lane per agent in which its jobs wait. No IO."""

from __future__ import annotations

from asyncio import TimerHandle
from collections import deque
from collections.abc import Callable
from enum import Enum

from system.bridge.agent import Agent
from system.bridge.breaker import Breaker, Circuit
from system.bridge.messages import Task
from system.bridge.redelivery import Key
from system.bridge.watermark import LowWatermark

# How many jobs of an agent may have begun, for each place in its lane: calls in flight and pauses between tries.
_BEGUN_PER_PLACE = 4


class Ownership(Enum):
    """Of a partition: owned; leaving (begun jobs may still end and count); gone to another member."""

    OWNED = "owned"
    LEAVING = "leaving"
    GONE = "gone"


class Partition:
    """One assignment of a partition. Messages below `end_offset` may have been taken by somebody before."""

    __slots__ = ("end_offset", "generation", "number", "ownership", "topic", "watermark")

    def __init__(self, topic: str, number: int, generation: int, end_offset: int) -> None:
        self.topic = topic
        self.number = number
        self.generation = generation
        self.end_offset = end_offset
        self.ownership = Ownership.OWNED
        self.watermark = LowWatermark()


class Job:
    """A task in work, with every place in the log at which it was read."""

    __slots__ = ("arrived_at", "busy", "key", "positions", "result", "size_bytes", "task", "tries")

    def __init__(self, key: Key, task: Task, size_bytes: int, arrived_at: float) -> None:
        self.key = key
        self.task = task
        self.size_bytes = size_bytes
        self.arrived_at = arrived_at
        self.tries = 0
        self.busy = False
        """In a call, or with a result that Kafka has not acknowledged."""
        self.result: bytes | None = None
        """What is on its way to Kafka, as soon as it is."""
        self.positions: list[tuple[Partition, int]] = []

    @property
    def wanted(self) -> bool:
        """It has begun, or this process still owns it."""
        return self.tries > 0 or any(partition.ownership is Ownership.OWNED for partition, _ in self.positions)


class Lane:
    """The jobs of one agent: those that wait, how many are in a call, and the agent's circuit."""

    __slots__ = ("_clock", "active", "agent", "breaker", "concurrency", "name", "pausing", "timer", "waiting")

    def __init__(self, name: str, concurrency: int, clock: Callable[[], float]) -> None:
        self.name = name
        self.concurrency = concurrency
        self.waiting: deque[Job] = deque()
        self.active = 0
        self.pausing = 0
        """Jobs between two tries."""
        self.agent: Agent | None = None
        self.timer: TimerHandle | None = None
        self.breaker = Breaker(clock)
        self._clock = clock

    @property
    def idle(self) -> bool:
        """Nothing waits, runs or is known against the agent: the lane may be forgotten."""
        return not self.waiting and not self.active and not self.pausing and self.breaker.pristine

    def take(self) -> Job | None:
        """The next job that may be sent now. Jobs that have begun stand in front, and the circuit does not stop them."""
        if self.waiting and (self.waiting[0].tries > 0 or self._may_begin()):
            return self.waiting.popleft()
        return None

    def _may_begin(self) -> bool:
        """Another job may begin: not too many are between two tries, so that an agent that is down is not sent a whole
        queue before the first of its jobs has failed for good; and the circuit is not open."""
        return self.active + self.pausing < _BEGUN_PER_PLACE * self.concurrency and self.breaker.admit()

    def expired(self) -> list[Job]:
        """Jobs taken out of the queue since they have waited for the open circuit as long as their retries allow."""
        out: list[Job] = []
        if self.breaker.circuit is Circuit.CLOSED or self.agent is None or self.breaker.probe_is_due:
            # The next one is the probe, even of an agent whose retries leave no time to wait for it.
            return out
        # While the circuit is open, nothing is taken from the queue but probes: the oldest stand in front.
        while self.waiting and self.waiting[0].tries == 0 and self._deadline(self.waiting[0]) <= self._clock():
            out.append(self.waiting.popleft())
        return out

    def wake_at(self) -> float | None:
        """When the queue must be looked at again although no call ends: a probe is due, or a job's patience is over."""
        if not self.waiting or self.breaker.circuit is Circuit.CLOSED:
            return None
        due = self._deadline(self.waiting[0])
        return min(due, self.breaker.probe_at) if self.breaker.circuit is Circuit.OPEN else due

    def _deadline(self, job: Job) -> float:
        budget = self.agent.retry.budget_seconds if self.agent is not None else 0.0
        return max(job.arrived_at, self.breaker.unhealthy_since) + budget
