"""The schedule of a soak: drawn from its seed, complete, and with peace at both ends."""

from __future__ import annotations

import pytest

from harness.faults.points import applies
from harness.soak import GROUPS, schedule

PROCESSES = {"api": 1, "consumer": 2, "bridge": 1}


def test_equal_seeds_give_equal_schedules_and_others_do_not() -> None:
    """All of it is drawn from the seed alone."""
    assert schedule(3, 300, GROUPS, PROCESSES, 5) == schedule(3, 300, GROUPS, PROCESSES, 5)
    assert schedule(3, 300, GROUPS, PROCESSES, 5) != schedule(4, 300, GROUPS, PROCESSES, 5)


@pytest.mark.parametrize("group", GROUPS)
def test_every_kind_of_a_group_comes_before_one_comes_twice_as_often(group: str) -> None:
    """Kinds are dealt like cards: over two decks none is missing, and none is far ahead."""
    planned = schedule(1, 2000, (group,), PROCESSES, 5)
    counts: dict[tuple[str, str], int] = {}
    for one in planned:
        what = one.fault.do if one.fault is not None else one.target.rpartition("-")[0]
        counts[one.kind, what if one.kind != "nothing" else ""] = counts.get((one.kind, what), 0) + 1
    assert ("nothing", "") in counts
    assert len(planned) > 200
    if group == "points":
        assert len({what for kind, what in counts if kind == "point"}) == 14


def test_faults_keep_away_from_the_beginning_and_the_end() -> None:
    """Ten seconds to get going, fifteen to come to rest; in short soaks a part of the time."""
    times = [one.at_seconds for one in schedule(0, 600, GROUPS, PROCESSES, 5)]
    assert times == sorted(times)
    assert times[0] >= 10
    assert times[-1] <= 585
    short = [one.at_seconds for one in schedule(0, 20, GROUPS, PROCESSES, 2)]
    assert 2 <= short[0] <= short[-1] <= 17


def test_what_is_done_can_be_done() -> None:
    """Targets are processes that there are, and faults fit their boundaries."""
    for one in schedule(7, 3000, GROUPS, PROCESSES, 5):
        if one.fault is not None:
            assert applies(one.fault.do, one.fault.at.boundary)
            assert one.fault.do != "error_fatal"
        elif one.target[-1].isdigit():
            role, _, number = one.target.rpartition("-")
            assert 1 <= int(number) <= PROCESSES[role]


def test_roles_that_are_not_there_are_left_alone() -> None:
    """A subject of a consumer alone has nothing of an API's or a bridge's in its schedule."""
    planned = schedule(7, 3000, GROUPS, {"consumer": 1}, 5)
    assert not [one for one in planned if one.target.startswith(("api", "bridge"))]


def test_of_several_brokers_one_is_hit_at_a_time() -> None:
    """Each of them, over a while; a single one is `broker`."""
    several = {one.target for one in schedule(7, 3000, ("broker",), {**PROCESSES, "broker": 3}, 5)}
    assert several == {"broker-1", "broker-2", "broker-3", "nothing"}
    assert {one.target for one in schedule(7, 300, ("broker",), PROCESSES, 5)} == {"broker", "nothing"}


def test_an_unknown_group_is_refused_by_name() -> None:
    """It names what there is."""
    with pytest.raises(ValueError, match="no group of faults is called 'storms'; expected some of kill, stop"):
        schedule(0, 60, ("storms",), PROCESSES, 5)


def test_without_groups_nothing_is_done() -> None:
    """A soak without faults is a steady load."""
    assert schedule(0, 600, (), PROCESSES, 5) == []
