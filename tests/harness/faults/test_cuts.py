"""Processes that are cut off from Kafka or the database, and joined again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from harness.faults.cuts import Cuts, Unreachable
from harness.faults.director import Director
from harness.faults.ports import FaultPorts
from harness.faults.proxy.gate import Gate
from harness.faults.session import FaultPoints, upstream_of
from harness.stack import EmbeddedStack
from harness.subject import Subject

REFERENCE = Path(__file__).parents[3] / "subjects" / "reference.yaml"
PROCESSES = ("api-1", "consumer-1", "consumer-2", "bridge-1")
_BRIEFLY_SECONDS = 0.3
_DEADLINE_SECONDS = 10.0


def _off(cuts: Cuts, part: Any) -> set[str]:
    return {process for process in PROCESSES if cuts.are_between(part, process)}


def test_a_part_is_cut_off_from_all_a_role_or_one_process() -> None:
    """Of each part for itself."""
    cuts = Cuts()
    assert _off(cuts, "broker") == set()
    cuts.set("broker", "consumer", 2, is_cut=True)
    assert (_off(cuts, "broker"), _off(cuts, "database")) == ({"consumer-2"}, set())
    cuts.set("broker", "bridge", None, is_cut=True)
    assert _off(cuts, "broker") == {"consumer-2", "bridge-1"}
    cuts.set("database", None, None, is_cut=True)
    assert _off(cuts, "database") == set(PROCESSES)
    cuts.clear()
    assert _off(cuts, "broker") | _off(cuts, "database") == set()


def test_the_last_word_about_a_process_counts() -> None:
    """Some of those that were cut off may be joined before the others, and cut off anew."""
    cuts = Cuts()
    cuts.set("broker", None, None, is_cut=True)
    cuts.set("broker", "consumer", None, is_cut=False)
    assert _off(cuts, "broker") == {"api-1", "bridge-1"}
    cuts.set("broker", "consumer", 1, is_cut=True)
    assert _off(cuts, "broker") == {"api-1", "bridge-1", "consumer-1"}
    cuts.set("broker", None, None, is_cut=False)
    assert _off(cuts, "broker") == set()


def test_a_gate_that_two_have_shut_opens_when_both_have_opened_it() -> None:
    """A partition that heals does not join what an act has cut off, nor the other way round."""

    async def passes(gate: Gate) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gate.passable(), 0.01)
            return True
        return False

    async def all_of_it() -> list[bool]:
        gate = Gate("consumer-1", Director(lambda _: {}), ("127.0.0.1", 9))
        gate.shut("cut")
        gate.shut("partition")
        gate.open("partition")
        found = [await passes(gate)]
        gate.open("cut")
        return [*found, await passes(gate)]

    assert asyncio.run(all_of_it()) == [False, True]


class _Process:
    def __init__(self, name: str) -> None:
        self.name = name
        self.is_running = True


class _Running:
    """A subject of processes that are not there; the test speaks in their place."""

    def __init__(self, names: Sequence[str]) -> None:
        self.processes = [_Process(name) for name in names]
        self.roles: dict[str, Any] = {}

    @property
    def description(self) -> Any:
        return Subject.load(REFERENCE).description

    def reroute(self, route: Callable[[str, int], Any]) -> list[Any]:
        """Every process learns its way."""
        for process in self.processes:
            role, _, number = process.name.rpartition("-")
            route(role, int(number))
        return []


@pytest.fixture
def points(fault_stack: EmbeddedStack, fault_ports: FaultPorts) -> Iterator[FaultPoints]:
    """Proxies for two processes."""
    running: Any = _Running(("consumer-1", "bridge-1"))
    made = FaultPoints(running, fault_ports, upstream_of(fault_stack, fault_ports.advertised), {})
    made.wire()
    with contextlib.closing(made):
        yield made


def test_who_is_cut_off_waits_on_the_same_connection_until_joined(points: FaultPoints) -> None:
    """Its query is answered once it is joined again, and no sooner; another role's process never notices."""
    urls = {name: points.routes[name].database_url for name in ("consumer-1", "bridge-1")}
    with (
        contextlib.closing(psycopg2.connect(urls["consumer-1"])) as cut_off,
        contextlib.closing(psycopg2.connect(urls["bridge-1"])) as beside,
        ThreadPoolExecutor(1) as pool,
    ):
        points.cut("database", "consumer")
        assert points.are_cut("broker", "database") == {"consumer-1"}
        asked = pool.submit(_pid, cut_off)
        assert _pid(beside) != 0
        assert not wait([asked], _BRIEFLY_SECONDS).done
        assert points.join("database")
        assert asked.result(_DEADLINE_SECONDS) == cut_off.info.backend_pid
    assert points.are_cut("broker", "database") == frozenset()


def test_what_was_not_cut_off_is_not_joined(points: FaultPoints) -> None:
    """An act that would do nothing is told from one that does something; the end of a scenario joins everything."""
    assert not points.join("broker")
    points.cut("broker", "consumer", 1)
    assert not points.join("broker", "bridge")
    points.disarm()
    assert points.are_cut("broker", "database") == frozenset()
    assert not points.are_armed


def test_who_is_not_there_cannot_be_cut_off(points: FaultPoints) -> None:
    """What was not done proves nothing."""
    with pytest.raises(Unreachable, match="no process consumer-7"):
        points.cut("broker", "consumer", 7)


def _pid(connection: Any) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (found,) = cursor.fetchone()
        return int(found)
