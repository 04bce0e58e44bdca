"""The broker of Kafka's stand-in: partitioned logs, and a coordinator with the eager protocol and range assignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from system.ports import Message, Received
from system.simulation.machine import Machine

if TYPE_CHECKING:
    from system.simulation.kafka import MemorySubscription

TopicPartition = tuple[str, int]

_REBALANCE_TIMEOUT_SECONDS = 60.0


@lru_cache(maxsize=100_000)
def murmur2(key: bytes) -> int:
    """The hash by which Kafka's Java client places keys, as a number of 31 bits."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(key)
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = key[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


class Broker:
    """Logs and groups. `on_append` and `on_commit` are told what has become visible."""

    def __init__(self, machine: Machine, partitions: dict[str, int], *, session_timeout_seconds: float) -> None:
        self.machine = machine
        self.session_timeout_seconds = session_timeout_seconds
        self.logs: dict[str, list[list[Received]]] = {topic: [[] for _ in range(n)] for topic, n in partitions.items()}
        self.groups: dict[str, Group] = {}
        self.is_down = False
        self.waiting: list[Callable[[], None]] = []
        self.on_append: Callable[[Received], None] = lambda _: None
        self.on_commit: Callable[[str, TopicPartition, int, int], None] = lambda *_: None

    def append(self, message: Message, partition: int | None = None) -> None:
        """Write a message at the end of a partition: that of its key unless told otherwise."""
        log = self.logs[message.topic]
        number = murmur2(message.key) % len(log) if partition is None else partition
        received = Received(message.topic, number, len(log[number]), message.key, message.value, message.headers)
        log[number].append(received)
        self.machine.noted("append", message.topic, number, received.offset, message.key, message.value)
        self.on_append(received)
        for group in self.groups.values():
            group.told_of((message.topic, number))

    def group(self, group_id: str) -> Group:
        """The group of that name, made when it is first asked for."""
        if group_id not in self.groups:
            self.groups[group_id] = Group(self, group_id)
        return self.groups[group_id]

    def stop(self) -> None:
        """The broker answers nobody; logs, offsets and memberships stay."""
        self.is_down = True

    def start(self) -> None:
        """The broker answers again."""
        self.is_down = False
        waiting, self.waiting = self.waiting, []
        for go_on in waiting:
            go_on()


class Group:
    """A consumer group at its coordinator."""

    def __init__(self, broker: Broker, group_id: str) -> None:
        self.broker = broker
        self.group_id = group_id
        self.generation = 0
        self.members: dict[int, MemorySubscription] = {}
        self.offsets: dict[TopicPartition, int] = {}
        self.is_preparing = False
        self._owners: dict[TopicPartition, MemorySubscription] = {}
        self._next_member = 1

    def told_of(self, partition: TopicPartition) -> None:
        """There is something new in a partition."""
        owner = self._owners.get(partition)
        if owner is not None:
            owner.wake()

    def join(self, member: MemorySubscription) -> None:
        """A member comes, or comes again after it was expelled; one with the identity of another takes its place."""
        machine = self.broker.machine
        before = next(
            (m for m in self.members.values() if member.instance_id and m.instance_id == member.instance_id), None
        )
        member.number = self._next_member
        self._next_member += 1
        machine.noted("join", self.group_id, member.title, member.number)
        if before is not None:
            del self.members[before.number]
            before.is_fenced = True
            before.wake()
            self.members[member.number] = member
            if not self.is_preparing:
                # A static member that is back gets what it had, and nobody else is disturbed.
                self._give(member, before.given)
                return
            member.has_rejoined = True
            self._complete_if_all_are_here()
            return
        self.members[member.number] = member
        member.has_rejoined = True
        self.rebalance()

    def rebalance(self) -> None:
        """Ask everybody to give back what they have and join again."""
        if not self.is_preparing:
            self.is_preparing = True
            self.broker.machine.noted("rebalance", self.group_id)
            generation = self.generation
            self.broker.machine.after(
                _REBALANCE_TIMEOUT_SECONDS, None, "rebalance timeout", lambda: self._time_out(generation)
            )
        for member in self.members.values():
            member.wake()
        self._complete_if_all_are_here()

    def rejoin(self, member: MemorySubscription) -> None:
        """A member has given back what it had."""
        member.has_rejoined = True
        self._complete_if_all_are_here()

    def _time_out(self, generation: int) -> None:
        if self.is_preparing and self.generation == generation:
            for member in [m for m in self.members.values() if not m.has_rejoined]:
                self._remove(member)
            self._complete_if_all_are_here()

    def expel(self, member: MemorySubscription) -> None:
        """The session of a member has timed out, or it has left."""
        if self.members.get(member.number) is member:
            self._remove(member)
            self.rebalance()

    def _remove(self, member: MemorySubscription) -> None:
        self.broker.machine.noted("leaves", self.group_id, member.title, member.number)
        del self.members[member.number]
        member.is_expelled = True
        self._owners = {p: owner for p, owner in self._owners.items() if owner is not member}

    def _complete_if_all_are_here(self) -> None:
        if not self.is_preparing or not all(member.has_rejoined for member in self.members.values()):
            return
        self.is_preparing = False
        self.generation += 1
        self._owners = {}
        members = sorted(self.members.values(), key=lambda m: (m.instance_id or "", m.number))
        shares: dict[int, list[TopicPartition]] = {member.number: [] for member in members}
        for topic in sorted({topic for member in members for topic in member.topics}):
            count = len(self.broker.logs[topic])
            share, rest = divmod(count, len(members))
            at = 0
            for position, member in enumerate(members):
                more = share + (position < rest)
                shares[member.number] += [(topic, number) for number in range(at, at + more)]
                at += more
        for member in members:
            member.has_rejoined = False
            self._give(member, shares[member.number])

    def _give(self, member: MemorySubscription, partitions: Sequence[TopicPartition]) -> None:
        member.given = list(partitions)
        member.is_to_take = True
        member.generation = self.generation
        for partition in partitions:
            self._owners[partition] = member
        self.broker.machine.noted("assigned", self.group_id, member.title, tuple(partitions), self.generation)
        member.wake()

    def commit(self, member: MemorySubscription, offsets: dict[TopicPartition, int]) -> bool:
        """Keep offsets, unless they come from somebody who is no member of this generation any more."""
        if self.members.get(member.number) is not member or member.generation != self.generation:
            return False
        for partition, offset in offsets.items():
            before = self.offsets.get(partition, 0)
            self.offsets[partition] = offset
            self.broker.machine.noted("commit", self.group_id, *partition, offset)
            self.broker.on_commit(self.group_id, partition, before, offset)
        return True
