"""The stack in containers: serves, keeps its data over every fault, takes proxies, and leaves nothing on the engine."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from kafka import KafkaConsumer, KafkaProducer

from harness.faults.ports import FaultPorts
from harness.stack import ContainerStack, NotRunning, StackError, kafka_probe
from harness.stack.engine import LABEL
from harness.stack.server_container import ServerContainer

ROOT = Path(__file__).parents[2]
FAULTS = ("kill", "stop", "pause", "cut")
GONE_SECONDS = 60

pytestmark = pytest.mark.timeout(600)


def made_on_the_engine(session: str | None) -> set[str]:
    """The ids of everything that bears the label of a session."""
    wanted = ["--filter", f"label={LABEL}={session}"]
    return {
        line
        for words in (["ps", "-aq", *wanted], ["network", "ls", "-q", *wanted])
        for line in subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.split()
    }


@pytest.fixture(scope="module")
def ports(engine: None) -> Iterator[FaultPorts]:
    with FaultPorts(1) as held:
        yield held


@pytest.fixture(scope="module")
def stack(ports: FaultPorts) -> Iterator[ContainerStack]:
    with ContainerStack(ports.advertised) as started:
        session = started.session_id
        assert len(made_on_the_engine(session)) == 3, "a network and two containers"
        yield started
    assert made_on_the_engine(session) == set(), "something was left on the engine"


@pytest.mark.parametrize("fault", FAULTS)
def test_rows_outlive_every_fault_of_the_database(stack: ContainerStack, fault: str) -> None:
    with psycopg2.connect(stack.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        cursor.execute("INSERT INTO kept VALUES (%s)", (fault,))
    connection.close()
    suffer(stack.database, fault)
    with psycopg2.connect(stack.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kept WHERE word = %s", (fault,))
        assert cursor.fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_messages_outlive_every_fault_of_the_broker(stack: ContainerStack, fault: str) -> None:
    topic = f"kept-{fault}"
    producer = KafkaProducer(bootstrap_servers=stack.kafka_brokers, acks="all")
    producer.send(topic, fault.encode()).get(timeout=30)
    producer.close()
    suffer(stack.broker, fault)
    consumer = KafkaConsumer(
        topic, bootstrap_servers=stack.kafka_brokers, auto_offset_reset="earliest", consumer_timeout_ms=30_000
    )
    try:
        assert next(iter(consumer)).value == fault.encode()
    finally:
        consumer.close()


def suffer(part: ServerContainer, fault: str) -> None:
    """Nobody is served while it lasts; a start ends each of them, and another one changes nothing."""
    address = part.container_id
    getattr(part, fault)()
    assert not part.is_serving()
    part.start()
    part.start()
    assert part.is_serving()
    assert part.container_id == address, "it is the same server"


def test_what_does_not_run_is_neither_killed_nor_paused(stack: ContainerStack) -> None:
    stack.database.stop()
    for fault in (stack.database.kill, stack.database.pause, stack.database.resume):
        with pytest.raises(NotRunning, match=r"PostgreSQL is not running.*Start it first"):
            fault()
    stack.database.stop()
    stack.database.start()


def test_a_listener_advertises_the_proxy_before_it(stack: ContainerStack, ports: FaultPorts) -> None:
    """Whoever comes in by it is sent on to the proxy, which stands on this side of the container network."""
    host, _, port = stack.broker.listener_address("FAULT1").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection, connection.makefile("rwb") as stream:
        stream.write(kafka_probe._REQUEST)
        stream.flush()
        size, _, brokers, _, name_size = struct.unpack(">iiiih", stream.read(18))
        assert (brokers, size > name_size) == (1, True)
        name, port_number = struct.unpack(f">{name_size}si", stream.read(name_size + 4))
    assert f"{name.decode()}:{port_number}" == ports.advertised["FAULT1"]


def test_a_stack_is_started_once(stack: ContainerStack) -> None:
    with pytest.raises(StackError, match="started already"):
        stack.start()


_LEFT_ALONE = """
import sys, time
from harness.stack import ContainerStack
stack = ContainerStack()
stack.start()
print(stack.session_id, flush=True)
time.sleep(600)
"""


def test_nothing_outlives_a_killed_harness(engine: None) -> None:
    harness = subprocess.Popen([sys.executable, "-c", _LEFT_ALONE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    try:
        session = harness.stdout.readline().strip()
        assert len(made_on_the_engine(session)) == 3
    finally:
        harness.send_signal(signal.SIGKILL)
        harness.wait()
        harness.stdout.close()
    deadline = time.monotonic() + GONE_SECONDS
    while left := made_on_the_engine(session):
        assert time.monotonic() < deadline, f"left after {GONE_SECONDS} s: {sorted(left)}"
        time.sleep(0.2)
