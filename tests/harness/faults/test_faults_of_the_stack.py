"""Faults of the stack's servers: a disk that is full, and one of several brokers."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import psycopg2
import pytest

from harness.history import HistoryWriter
from harness.runner.errors import NotSupported, SetUpBroke
from harness.runner.processes import Processes
from harness.stack import EmbeddedStack, NotInOurHands, NotRunning
from harness.stack.cluster import BrokerCluster
from harness.stack.external import NobodysPart
from harness.stack.small_disk import small_disk

_CAN_MOUNT = sys.platform == "linux" and os.geteuid() == 0
_ROWS = "INSERT INTO filled SELECT n, repeat(md5(n::text), 50) FROM generate_series(1, 300) AS n"


def _execute(url: str, statement: str) -> list[Any]:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.skipif(not _CAN_MOUNT, reason="a small disk is mounted on Linux, as root")
def test_a_database_whose_disk_is_full_refuses_and_goes_on_when_there_is_space(fault_stack: EmbeddedStack) -> None:
    """It says so with its own error, keeps what it had, and what was written on the small disk is there afterwards."""
    url = fault_stack.database_url
    _execute(url, "DROP TABLE IF EXISTS filled; CREATE TABLE filled (n int, text text)")
    before = fault_stack.database.data_directory
    with small_disk(fault_stack.database, 24) as disk:
        assert before.is_symlink()
        assert disk.fill() > 0
        with pytest.raises(psycopg2.errors.DiskFull):
            _execute(url, _ROWS)
        assert disk.was_noticed()
        disk.free()
        _execute(url, "INSERT INTO filled VALUES (-1, 'there is space again')")
    assert before.is_dir()
    assert not before.is_symlink()
    assert _execute(url, "SELECT text FROM filled WHERE n = -1") == [("there is space again",)]
    assert [path.name for path in before.parent.iterdir() if path.name.startswith(f"{before.name}.")] == []


def test_the_disk_of_somebody_else_is_left_alone() -> None:
    """An external server's disk cannot be filled, and the refusal says why."""
    with pytest.raises(NotInOurHands, match="somebody else runs"), small_disk(NobodysPart("database"), 8):
        pass


class _Broker:
    """A broker that notes what is done to it, for the cluster around it."""

    def __init__(self, number: int) -> None:
        self.cluster_id = f"cluster of {number}"
        self.more_settings: dict[str, object] = {}
        self.address = f"127.0.0.1:{9000 + number}"
        self.is_up = True

    def kill(self) -> None:
        """SIGKILL."""
        self.resume()
        self.is_up = False

    def resume(self) -> None:
        """SIGCONT."""
        if not self.is_up:
            raise NotRunning("it is not running")

    def prepare(self) -> None:
        """Nothing to write down."""

    def launch(self) -> None:
        """Start it."""
        self.is_up = True

    def await_ready(self) -> None:
        """Serve at once."""
        assert self.is_up

    def start(self) -> None:
        """Start it, alone."""
        self.launch()


class _Held:
    def __init__(self, port: int) -> None:
        self.port = port


def _cluster() -> tuple[list[Any], Any]:
    members: list[Any] = [_Broker(number) for number in (1, 2, 3)]
    held: list[Any] = [_Held(9100 + number) for number in (1, 2, 3)]
    return members, BrokerCluster(members, held)


def test_the_brokers_of_a_cluster_are_one_cluster() -> None:
    """One id, a node each, all of them voters, and every topic on all three."""
    members, cluster = _cluster()
    assert {member.cluster_id for member in members} == {"cluster of 1"}
    assert [member.more_settings["node.id"] for member in members] == [1, 2, 3]
    voters = "1@127.0.0.1:9101,2@127.0.0.1:9102,3@127.0.0.1:9103"
    assert {member.more_settings["controller.quorum.voters"] for member in members} == {voters}
    assert {member.more_settings["default.replication.factor"] for member in members} == {3}
    assert cluster.address == "127.0.0.1:9001,127.0.0.1:9002,127.0.0.1:9003"


def test_what_is_done_to_a_cluster_is_done_to_those_that_run() -> None:
    """That one is away already hinders nothing; that all are is told."""
    members, cluster = _cluster()
    members[1].kill()
    cluster.kill()
    assert not any(member.is_up for member in members)
    with pytest.raises(NotRunning):
        cluster.resume()


class _Stack:
    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.database = _Broker(9)


class _Nobody:
    roles: dict[str, Any] = {}


def test_one_broker_of_several_is_killed_and_started() -> None:
    """The others run on, and the history names which one it was."""
    members, cluster = _cluster()
    stack: Any = _Stack(cluster)
    running: Any = _Nobody()
    processes, writer = Processes(stack, running), HistoryWriter(None)
    processes.kill(writer, "broker", 2)
    assert [member.is_up for member in members] == [True, False, True]
    assert not processes.are_all_running
    processes.start(writer, "broker", 2)
    assert processes.are_all_running
    told = [(event.kind, event["process"]) for event in writer.history()]
    assert told == [("killed", "broker-2"), ("started", "broker-2")]
    processes.kill(writer, "broker", 1)
    processes.start(writer, "broker", None)
    assert processes.are_all_running
    with pytest.raises(SetUpBroke, match="3 brokers"):
        processes.kill(writer, "broker", 4)


def test_a_single_broker_has_no_numbers() -> None:
    """Killing the second one of one is not supported, and the message names the stack that has three."""
    stack: Any = _Stack(_Broker(1))
    running: Any = _Nobody()
    with pytest.raises(NotSupported, match="--stack cluster"):
        Processes(stack, running).kill(HistoryWriter(None), "broker", 2)
