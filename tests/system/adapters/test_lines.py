"""Messages that are refused for now: order within a topic and key, and nothing that waits for another one's place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count

import pytest

from system.adapters.kafka.lines import Lines, Sending
from system.ports import Message

AGAIN_SECONDS = 1.0


@pytest.fixture
def lines() -> Lines:
    return Lines(AGAIN_SECONDS)


@pytest.fixture
def new() -> Callable[..., Sending]:
    numbers = count()
    return lambda key=b"run": Sending(next(numbers), Message("updates", key, b""), lambda _: None)


def let_go(lines: Lines, settled: Sending) -> list[Sending]:
    """What is sent since a message was settled, in order."""
    sent: list[Sending] = []
    lines.settled(settled, sent.append)
    return sent


def test_nothing_waits_while_nothing_was_refused(lines: Lines, new: Callable[..., Sending]) -> None:
    assert not lines.take(new())
    assert let_go(lines, new()) == []
    assert lines.due(100.0) == []
    assert len(lines) == 0


def test_what_follows_a_refused_message_waits_until_that_is_settled(lines: Lines, new: Callable[..., Sending]) -> None:
    first, second, third = new(), new(), new()
    lines.refused(first, now=0.0)
    assert lines.take(second)
    assert lines.take(third)
    assert lines.due(0.9) == []
    assert lines.due(1.0) == [first]
    assert lines.due(2.0) == [], "it is under way"
    assert len(lines) == 2
    assert let_go(lines, second) == []
    assert let_go(lines, first) == [second, third]
    assert len(lines) == 0
    assert not lines.take(new())


def test_a_message_that_is_refused_again_stays_the_first(lines: Lines, new: Callable[..., Sending]) -> None:
    first, second = new(), new()
    lines.refused(first, now=0.0)
    lines.take(second)
    assert lines.due(1.0) == [first]
    lines.refused(first, now=1.2)
    assert lines.due(2.1) == []
    assert lines.due(2.2) == [first]
    assert let_go(lines, first) == [second]


def test_those_that_were_under_way_take_their_own_places(lines: Lines, new: Callable[..., Sending]) -> None:
    """What was refused later, and published earlier than what waits already, goes before that."""
    first, second, third = new(), new(), new()
    lines.refused(first, now=0.0)
    lines.take(third)
    lines.refused(second, now=0.1)
    assert lines.due(1.0) == [first]
    assert let_go(lines, first) == [second, third]


def test_one_that_was_under_way_when_an_earlier_one_is_tried_again_is_refused_in_its_turn(
    lines: Lines, new: Callable[..., Sending]
) -> None:
    first, second = new(), new()
    lines.refused(first, now=0.0)
    assert lines.due(1.0) == [first]
    lines.refused(second, now=1.1)
    assert lines.due(9.0) == [], "the first of the line is still under way"
    assert let_go(lines, first) == [second]


def test_no_key_waits_for_another(lines: Lines, new: Callable[..., Sending]) -> None:
    refused, other = new(), new(b"another run")
    lines.refused(refused, now=0.0)
    assert not lines.take(other)
    lines.refused(other, now=0.0)
    assert lines.due(1.0) == [refused, other]
    assert let_go(lines, refused) == []
    assert not lines.take(new())


def test_what_is_refused_while_a_line_is_let_go_has_the_rest_wait_again(
    lines: Lines, new: Callable[..., Sending]
) -> None:
    first, second, third = new(), new(), new()
    lines.refused(first, now=0.0)
    lines.take(second)
    lines.take(third)
    assert lines.due(1.0) == [first]
    lines.settled(first, lambda sending: lines.refused(sending, now=1.0))
    assert len(lines) == 2
    assert lines.due(2.0) == [second]
    assert let_go(lines, second) == [third]


def test_what_is_published_while_a_line_is_let_go_comes_after_it(lines: Lines, new: Callable[..., Sending]) -> None:
    """Another thread waits until the line has been handed over, and may go then."""
    first, second, late = new(), new(), new()
    lines.refused(first, now=0.0)
    lines.take(second)
    assert lines.due(1.0) == [first]
    order: list[object] = []
    publishing = threading.Thread(target=lambda: order.append(lines.take(late)))

    def send(sending: Sending) -> None:
        publishing.start()
        publishing.join(0.1)
        order.append(sending)

    lines.settled(first, send)
    publishing.join(5)
    assert order == [second, False]
