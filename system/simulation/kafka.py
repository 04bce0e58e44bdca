"""Kafka's stand-in: the ports of its clients, over the broker of `broker`.

What librdkafka does in threads of its own (sending, acknowledging, committing every 200 ms) are happenings of the
machine, so that any of them may be late, and a process can die with any of them undone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from system.ports import BusAway, Fenced, Message, PublishError, Received
from system.simulation.broker import Broker, TopicPartition, murmur2
from system.simulation.machine import Actor, Happening, Process

_COMMIT_INTERVAL_SECONDS = 0.2
# As a broker's message.max.bytes.
_MOST_BYTES = 1_048_588


@dataclass(slots=True)
class _Outgoing:
    message: Message
    on_delivered: Callable[[Exception | None], None]


class MemoryPublisher:
    """Publisher port of one process: an idempotent producer that sends for as long as it takes."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._machine = broker.machine
        self._process = process
        self._queues: dict[TopicPartition, deque[_Outgoing]] = {}
        self._unacknowledged: deque[_Outgoing] = deque()
        self._settled: deque[tuple[_Outgoing, Exception | None]] = deque()
        self._count = 0
        self._waiting: list[Actor] = []
        self._sending = Happening(process, f"{process.name} sends", self._send)
        self._acknowledging = Happening(process, f"{process.name} is acknowledged", self._acknowledge)

    def publish(self, message: Message, on_delivered: Callable[[Exception | None], None]) -> None:
        self._process.check()
        self._count += 1
        outgoing = _Outgoing(message, on_delivered)
        if len(message.value) + len(message.key) > _MOST_BYTES:
            self._settled.append((outgoing, PublishError(f"Kafka refused a message to {message.topic}: too large")))
            return
        partition = murmur2(message.key) % len(self._broker.logs[message.topic])
        self._queues.setdefault((message.topic, partition), deque()).append(outgoing)
        self._machine.make_ready(self._sending)

    def _send(self) -> None:
        """Some of what waits reaches the broker: all of it, or the first few of one partition."""
        if self._broker.is_down:
            self._broker.waiting.append(lambda: self._machine.make_ready(self._sending))
            return
        names = list(self._queues)
        chosen = self._machine.choices.below(len(names) + 1)
        if chosen == 0:
            for name in names:
                self._reach(name, len(self._queues[name]))
        else:
            name = names[chosen - 1]
            self._reach(name, 1 + self._machine.choices.below(len(self._queues[name])))
        if self._queues:
            self._machine.make_ready(self._sending)
        self._machine.make_ready(self._acknowledging)

    def _reach(self, name: TopicPartition, count: int) -> None:
        queue = self._queues[name]
        for _ in range(count):
            outgoing = queue.popleft()
            self._broker.append(outgoing.message, name[1])
            self._unacknowledged.append(outgoing)
        if not queue:
            del self._queues[name]

    def _acknowledge(self) -> None:
        count = len(self._unacknowledged)
        for _ in range(count - self._machine.choices.below(count)):
            self._settled.append((self._unacknowledged.popleft(), None))
        if self._unacknowledged:
            self._machine.make_ready(self._acknowledging)
        waiting, self._waiting = self._waiting, []
        for actor in waiting:
            self._machine.wake(actor)

    def poll(self, timeout_seconds: float = 0.0) -> None:
        self._process.check()
        if not self._settled and timeout_seconds > 0:
            self._wait(timeout_seconds)
        while self._settled:
            outgoing, error = self._settled.popleft()
            self._count -= 1
            outgoing.on_delivered(error)

    def flush(self, timeout_seconds: float) -> int:
        deadline = self._machine.seconds + timeout_seconds
        self.poll()
        while self._count and self._machine.seconds < deadline:
            self._wait(deadline - self._machine.seconds)
            self.poll()
        return self._count

    def _wait(self, timeout_seconds: float) -> None:
        actor = self._machine.current
        assert actor is not None
        self._waiting.append(actor)
        self._machine.wait("publisher", timeout_seconds, weak=True)
        if actor in self._waiting:
            self._waiting.remove(actor)


@dataclass(eq=False)
class MemorySubscription:
    """Subscription port of one process. The fields from `number` on are the coordinator's."""

    broker: Broker
    process: Process
    group_id: str
    topics: tuple[str, ...]
    instance_id: str | None = None
    on_assigned: Callable[[Sequence[TopicPartition]], None] = lambda _: None
    on_revoked: Callable[[Sequence[TopicPartition]], None] = lambda _: None
    number: int = 0
    generation: int = 0
    given: list[TopicPartition] = field(default_factory=list)
    is_to_take: bool = False
    has_rejoined: bool = False
    is_fenced: bool = False
    is_expelled: bool = False

    def __post_init__(self) -> None:
        self._machine = self.broker.machine
        self._group = self.broker.group(self.group_id)
        self._positions: dict[TopicPartition, int] = {}
        self._begun: dict[TopicPartition, int] = {}
        self._stored: dict[TopicPartition, int] = {}
        self._is_paused = False
        self._waiting: Actor | None = None
        self._is_closed = False
        self._committing = Happening(self.process, f"{self.title} commits offsets", self._commit)
        self._is_commit_due = False
        self.process.at_death.append(self._silent)
        self.process.at_pause.append(self._silent)
        self._group.join(self)

    @property
    def title(self) -> str:
        """Who this is, for people."""
        return f"{self.process.name}[{self.instance_id or 'dynamic'}]"

    def _silent(self) -> None:
        """No heartbeat reaches the coordinator any more; after a while it takes the member for dead."""
        number = self.number

        def expire() -> None:
            is_silent = not self.process.alive or self.process.paused or self._is_closed
            if is_silent and self.number == number:
                self._group.expel(self)

        self._machine.after(self.broker.session_timeout_seconds, None, f"session of {self.title} times out", expire)

    def wake(self) -> None:
        """There may be something to read or to do."""
        actor, self._waiting = self._waiting, None
        if actor is not None:
            self._machine.wake(actor)

    def poll(self, limit: int, timeout_seconds: float) -> Sequence[Received]:
        self.process.check()
        self._machine.point("poll", f"poll {self.group_id}")
        self._serve()
        batch = self._take(limit)
        if not batch and timeout_seconds > 0:
            self._waiting = self._machine.current
            self._machine.wait(f"poll {self.group_id}", timeout_seconds, weak=True)
            self._waiting = None
            self._serve()
            batch = self._take(limit)
        return batch

    def _serve(self) -> None:
        """Do what the coordinator wants, when this client hears of it."""
        if self.broker.is_down or (self._has_news and self._machine.choices.below(2)):
            return
        if self.is_fenced:
            raise Fenced(f"{self.title} was replaced by another member with its identity")
        if self.is_expelled:
            self._give_back(commit=False)
            self.is_expelled = False
            self.is_to_take = False
            self._group.join(self)
        if self._group.is_preparing and not self.has_rejoined:
            self._give_back(commit=True)
            self._group.rejoin(self)
        if self.is_to_take and not self._group.is_preparing:
            self.is_to_take = False
            self._positions = {partition: self._group.offsets.get(partition, 0) for partition in self.given}
            self._begun = dict(self._positions)
            self.on_assigned(list(self.given))

    @property
    def _has_news(self) -> bool:
        preparing = self._group.is_preparing and not self.has_rejoined
        return self.is_fenced or self.is_expelled or self.is_to_take or preparing

    def _give_back(self, *, commit: bool) -> None:
        if self._positions:
            self.on_revoked(list(self._positions))
        if commit:
            self._commit()
        self._positions = {}
        self._stored = {}

    def _take(self, limit: int) -> list[Received]:
        if self._is_paused or self.broker.is_down:
            return []
        logs = self.broker.logs
        unread = [(p, at) for p, at in self._positions.items() if at < len(logs[p[0]][p[1]])]
        if not unread:
            return []
        first = self._machine.choices.below(len(unread))
        most = sum(len(logs[p[0]][p[1]]) - at for p, at in unread)
        wanted = min(limit, most)
        wanted -= self._machine.choices.below(wanted)
        batch: list[Received] = []
        for partition, at in unread[first:] + unread[:first]:
            share = logs[partition[0]][partition[1]][at : at + wanted - len(batch)]
            batch += share
            self._positions[partition] = at + len(share)
            if len(batch) == wanted:
                break
        return batch

    def done(self, topic: str, partition: int, next_offset: int) -> None:
        self.process.check()
        if (topic, partition) not in self._positions or next_offset <= self._begun[topic, partition]:
            return
        self._stored[topic, partition] = next_offset
        if not self._is_commit_due:
            self._is_commit_due = True
            self._machine.at(self._machine.seconds + _COMMIT_INTERVAL_SECONDS, self._committing)

    def _commit(self) -> None:
        self._is_commit_due = False
        if self.broker.is_down:
            self.broker.waiting.append(lambda: self._machine.make_ready(self._committing))
            return
        stored, self._stored = self._stored, {}
        if stored:
            self._group.commit(self, stored)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self.process.check()
        if (topic, partition) in self._positions:
            self._positions[topic, partition] = offset

    def end_offsets(self, partitions: Sequence[TopicPartition], timeout_seconds: float) -> dict[TopicPartition, int]:
        self.process.check()
        assert timeout_seconds > 0
        if self._machine.point("ask", "end offsets") is not None or self.broker.is_down:
            raise BusAway("the broker does not answer")
        return {(topic, number): len(self.broker.logs[topic][number]) for topic, number in partitions}

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False

    def close(self) -> None:
        self.process.check()
        self._machine.point("ask", "leave the group")
        if self._positions:
            self.on_revoked(list(self._positions))
        self._commit()
        self._positions = {}
        self._is_closed = True
        if self.is_fenced:
            return
        if self.instance_id is None:
            self._group.expel(self)
        else:
            # A static member does not leave: whoever comes with its identity goes on at once.
            self._silent()
