"""One suite for Kafka and its stand-in: publisher and subscription do what the ports promise on both."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from system.adapters.kafka import KafkaPublisher, KafkaSubscription, ensure_topics
from system.ports import Fenced, Message, Publisher, PublishError, Received, Subscription
from system.simulation.broker import Broker, murmur2
from system.simulation.choices import Choices
from system.simulation.kafka import MemoryPublisher, MemorySubscription
from system.simulation.machine import Machine, Process

PARTITIONS = 3
_DEADLINE_SECONDS = 30


class Bus:
    """One of the two. `drive` runs what a test does, `member` makes a member of a group that notes what it is told."""

    topic: str

    def drive(self, work: Callable[[], None]) -> None:
        raise NotImplementedError

    def publisher(self) -> Publisher:
        raise NotImplementedError

    def member(self, group: str, instance_id: str | None = None) -> Member:
        raise NotImplementedError

    def is_late(self) -> bool:
        raise NotImplementedError


class Member:
    """A subscription, with what it was told of its partitions and all that it read."""

    def __init__(self, bus: Bus, make: Callable[..., Subscription]) -> None:
        self.owned: set[int] = set()
        self.lost: list[int] = []
        self.read: list[Received] = []
        self._bus = bus
        self.subscription = make(self._assigned, self._revoked)

    def _assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        self.owned |= {number for _, number in partitions}

    def _revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        self.lost += [number for _, number in partitions]
        self.owned -= {number for _, number in partitions}

    def poll(self, limit: int = 100) -> None:
        self.read += self.subscription.poll(limit, 0.1)


def until(members: Sequence[Member], condition: Callable[[], bool], what: str) -> None:
    """Poll all members until something holds."""
    while not condition():
        for member in members:
            member.poll()
        assert not members[0]._bus.is_late(), f"not in time: {what}"


class RealBus(Bus):
    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._opened: list[Subscription] = []
        self._deadline = time.monotonic() + _DEADLINE_SECONDS
        self.topic = f"stand-in-{uuid.uuid4().hex}"
        ensure_topics(brokers, [self.topic], partitions=PARTITIONS, timeout_seconds=20)

    def drive(self, work: Callable[[], None]) -> None:
        work()

    def publisher(self) -> Publisher:
        return KafkaPublisher(self._brokers, client_id="test", max_message_bytes=4_000_000)

    def member(self, group: str, instance_id: str | None = None) -> Member:
        def make(assigned: Any, revoked: Any) -> Subscription:
            return KafkaSubscription(
                self._brokers, group_id=f"{group}-{self.topic}", topics=[self.topic], client_id="test", session_timeout_ms=6000,
                max_message_bytes=1_000_000, instance_id=instance_id, on_assigned=assigned, on_revoked=revoked,
            )  # fmt: skip

        member = Member(self, make)
        self._opened.append(member.subscription)
        return member

    def is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def close(self) -> None:
        for subscription in self._opened:
            subscription.close()


class MemoryBus(Bus):
    def __init__(self) -> None:
        self.topic = "topic"
        self._machine = Machine(Choices(0, 1.0), 0.0)
        self._broker = Broker(self._machine, {self.topic: PARTITIONS}, session_timeout_seconds=6.0)
        self._failed: list[BaseException] = []

    def drive(self, work: Callable[[], None]) -> None:
        done: list[bool] = []
        self._machine.start(
            Process(self._machine, "test"), "test", lambda: done.append(work() is None), self._failed.append
        )
        while not done and not self._failed:
            if self._machine.ready:
                self._machine.run()
            else:
                assert self._machine.advance()
        if self._failed:
            raise self._failed[0]

    def publisher(self) -> Publisher:
        return MemoryPublisher(self._broker, Process(self._machine, "publisher"))

    def member(self, group: str, instance_id: str | None = None) -> Member:
        process = Process(self._machine, "member")
        return Member(
            self,
            lambda assigned, revoked: MemorySubscription(
                self._broker, process, group, (self.topic,), instance_id, assigned, revoked
            ),
        )

    def is_late(self) -> bool:
        return self._machine.seconds > _DEADLINE_SECONDS


@pytest.fixture(params=["Kafka", "stand-in"])
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    if request.param == "stand-in":
        yield MemoryBus()
        return
    real = RealBus(request.getfixturevalue("stack").kafka_brokers)
    yield real
    real.close()


def publish(bus: Bus, count: int) -> list[Exception | None]:
    told: list[Exception | None] = []
    publisher = bus.publisher()
    for number in range(count):
        publisher.publish(
            Message(bus.topic, f"key-{number}".encode(), str(number).encode(), (("h", b"v"),)), told.append
        )
    assert publisher.flush(20) == 0
    return told


def test_messages_land_by_their_key_and_are_read_in_the_order_of_their_partition(bus: Bus) -> None:
    def work() -> None:
        assert publish(bus, 60) == [None] * 60
        member = bus.member("g")
        until([member], lambda: len(member.read) == 60, "all are read")
        for received in member.read:
            assert received.key is not None
            assert received.partition == murmur2(received.key) % PARTITIONS
            assert received.headers == (("h", b"v"),)
        for number in range(PARTITIONS):
            share = [received for received in member.read if received.partition == number]
            assert [received.offset for received in share] == list(range(len(share)))
            assert [int(received.value or b"") for received in share] == sorted(
                int(received.value or b"") for received in share
            )

    bus.drive(work)


def test_a_message_that_is_too_large_is_refused_for_good(bus: Bus) -> None:
    def work() -> None:
        told: list[Exception | None] = []
        publisher = bus.publisher()
        publisher.publish(Message(bus.topic, b"k", b"x" * 2_000_000), told.append)
        publisher.publish(Message(bus.topic, b"k", b"small"), told.append)
        assert publisher.flush(20) == 0
        assert sorted(type(error) for error in told if error is not None) == [PublishError]
        assert told.count(None) == 1

    bus.drive(work)


def test_who_comes_next_goes_on_behind_what_was_done_and_reads_again_what_was_not(bus: Bus) -> None:
    def work() -> None:
        publish(bus, 30)
        first = bus.member("g")
        until([first], lambda: len(first.read) == 30, "all are read")
        for number in range(PARTITIONS):
            first.subscription.done(bus.topic, number, 2)
        first.subscription.close()
        second = bus.member("g")
        until([second], lambda: len(second.read) == 30 - 2 * PARTITIONS, "the rest is read")
        assert min(received.offset for received in second.read) == 2

    bus.drive(work)


def test_what_was_read_under_an_earlier_assignment_takes_no_offset_back(bus: Bus) -> None:
    """A member that was away may finish long after others have read on, and have the partitions once more by then."""

    def work() -> None:
        publish(bus, 30)
        first = bus.member("g")
        until([first], lambda: len(first.read) == 30, "all are read")
        ends = {number: 1 + max(r.offset for r in first.read if r.partition == number) for number in range(PARTITIONS)}
        second = bus.member("g")
        until([first, second], lambda: len(first.owned) + len(second.owned) == 3 and bool(second.owned), "both share")
        until([first, second], lambda: len(first.read) + len(second.read) == 60, "all are read again")
        for member in (first, second):
            for number in sorted(member.owned):
                member.subscription.done(bus.topic, number, ends[number])
        second.subscription.close()
        until([first], lambda: first.owned == {0, 1, 2}, "the first has all again")
        for number in range(PARTITIONS):
            first.subscription.done(bus.topic, number, 1)
        first.subscription.close()
        publish(bus, 6)
        third = bus.member("g")
        until([third], lambda: len(third.read) >= 6, "the new ones are read")
        assert [received.offset for received in third.read if received.offset < ends[received.partition]] == []

    bus.drive(work)


def test_members_share_the_partitions_and_one_that_leaves_gives_its_share_back(bus: Bus) -> None:
    def work() -> None:
        first = bus.member("g")
        until([first], lambda: first.owned == {0, 1, 2}, "the first has all")
        second = bus.member("g")
        until(
            [first, second],
            lambda: len(first.owned) + len(second.owned) == 3 and bool(second.owned),
            "both have a share",
        )
        assert sorted(map(len, (first.owned, second.owned))) == [1, 2]
        assert sorted(first.lost) == [0, 1, 2], "all is given back before it is shared anew"
        second.subscription.close()
        until([first], lambda: first.owned == {0, 1, 2}, "the first has all again")

    bus.drive(work)


def test_a_member_with_the_identity_of_another_takes_its_place_and_that_one_is_told(bus: Bus) -> None:
    def work() -> None:
        first = bus.member("g", "same")
        until([first], lambda: first.owned == {0, 1, 2}, "the first has all")
        second = bus.member("g", "same")
        until([second], lambda: second.owned == {0, 1, 2}, "the second has all")
        with pytest.raises(Fenced):
            until([first], lambda: False, "the first is told")
        first.subscription.close()
        assert first.owned == set()
        publish(bus, 3)
        until([second], lambda: len(second.read) == 3, "the second reads on")

    bus.drive(work)


def test_a_member_with_an_identity_that_closes_keeps_its_share_for_whoever_comes_with_it(bus: Bus) -> None:
    def work() -> None:
        first, other = bus.member("g", "one"), bus.member("g", "two")
        until(
            [first, other],
            lambda: len(first.owned) + len(other.owned) == 3 and bool(first.owned and other.owned),
            "both have a share",
        )
        share = set(first.owned)
        lost_before = list(other.lost)
        first.subscription.close()
        again = bus.member("g", "one")
        until([again, other], lambda: again.owned == share, "the share is taken up again")
        assert other.lost == lost_before, "nobody else is disturbed"

    bus.drive(work)


def test_what_is_sought_is_read_again_and_nothing_is_read_in_a_pause(bus: Bus) -> None:
    def work() -> None:
        member = bus.member("g")
        until([member], lambda: member.owned == {0, 1, 2}, "all is owned")
        assert member.subscription.end_offsets([(bus.topic, 0)], 5) == {(bus.topic, 0): 0}
        publish(bus, 30)
        until([member], lambda: len(member.read) == 30, "all are read")
        member.subscription.pause()
        member.subscription.seek(bus.topic, 0, 0)
        for _ in range(5):
            member.poll()
        assert len(member.read) == 30
        member.subscription.resume()
        count = len([received for received in member.read if received.partition == 0])
        until([member], lambda: len(member.read) == 30 + count, "the partition is read again")
        assert member.subscription.end_offsets([(bus.topic, 0)], 5) == {(bus.topic, 0): count}

    bus.drive(work)
