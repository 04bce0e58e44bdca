"""What an act does to processes, and that an act which would do nothing says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from kafka import KafkaAdminClient

from harness.history import HistoryWriter
from harness.runner import Bench
from harness.runner.errors import SetUpBroke
from harness.runner.processes import Processes
from harness.stack import Stack
from harness.subject import RunningSubject


class Process:
    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"consumer-{number}"
        self.is_running = True
        self.exit_code = 0

    def kill(self) -> None:
        self.is_running = False

    stop = kill

    def pause(self) -> None:
        assert self.is_running

    resume = pause


class Watch:
    def why_not(self) -> None:
        return None

    def close(self) -> None:
        return None


class Role(list[Process]):
    def launch(self, processes: list[Process]) -> Watch:
        for process in processes:
            process.is_running = True
        return Watch()


class Subject:
    def __init__(self) -> None:
        self.roles = {"consumer": Role([Process(1), Process(2)])}

    def role(self, name: str) -> Role:
        return self.roles[name]


@pytest.fixture
def subject() -> Subject:
    return Subject()


@pytest.fixture
def processes(subject: Subject) -> Processes:
    return Processes(cast(Stack, None), cast(RunningSubject, subject))


@pytest.mark.parametrize("word", ["kill", "stop", "restart", "pause", "resume", "start"])
@pytest.mark.parametrize("number", [3, 0])
def test_an_act_on_a_number_that_no_process_has_is_the_harness_s_own_failure(
    processes: Processes, word: str, number: int
) -> None:
    with pytest.raises(SetUpBroke) as caught:
        getattr(processes, word)(HistoryWriter(None), "consumer", number)
    told = str(caught.value)
    assert f"of the role consumer with the number {number}" in told
    assert "consumer-1 (runs), consumer-2 (runs)" in told


def test_an_act_on_a_process_that_has_ended_already_says_so(processes: Processes, subject: Subject) -> None:
    writer = HistoryWriter(None)
    processes.kill(writer, "consumer", 2)
    for word in ("kill", "stop", "pause"):
        with pytest.raises(SetUpBroke, match=r"consumer-2 \(does not run\)"):
            getattr(processes, word)(writer, "consumer", 2)
    processes.start(writer, "consumer", 2)
    with pytest.raises(SetUpBroke, match="a stopped process of the role consumer with the number 2"):
        processes.start(writer, "consumer", 2)
    assert [event.kind for event in writer.history().events] == ["killed", "started"]


@pytest.mark.parametrize("word", ["kill", "stop", "pause", "resume", "restart"])
def test_an_act_on_a_role_of_which_nothing_runs_says_so(processes: Processes, word: str) -> None:
    writer = HistoryWriter(None)
    processes.kill(writer, "consumer", None)
    with pytest.raises(SetUpBroke, match="expected a running process of the role consumer, found"):
        getattr(processes, word)(writer, "consumer", None)


@pytest.mark.parametrize(
    ("act", "events"),
    [
        (lambda of, writer: of.kill(writer, "consumer", None), [("killed", "consumer-1"), ("killed", "consumer-2")]),
        (lambda of, writer: of.kill(writer, "consumer", 2), [("killed", "consumer-2")]),
        (lambda of, writer: of.restart(writer, "consumer", 1), [("stopped", "consumer-1"), ("started", "consumer-1")]),
        (lambda of, writer: of.pause(writer, "consumer", 2), [("paused", "consumer-2")]),
    ],
)
def test_an_act_that_hits_something_is_noted(
    processes: Processes, act: Callable[[Processes, HistoryWriter], Any], events: list[tuple[str, str]]
) -> None:
    writer = HistoryWriter(None)
    act(processes, writer)
    assert [(event.kind, event["process"]) for event in writer.history().events] == events


def test_a_process_that_ended_is_out_of_its_group_before_the_next_scenario(bench: Bench) -> None:
    """A static member that stops in order stays until its session times out, and its partitions with it."""
    group = bench.running.description.groups["bridge"]
    processes, writer = bench.processes, HistoryWriter(None)
    admin = KafkaAdminClient(bootstrap_servers=bench.stack.kafka_brokers.split(","))
    try:
        processes.add(writer, "bridge")
        deadline = time.monotonic() + 60
        while processes.lacking("bridge") is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(admin.describe_groups([group])[group]["members"]) == 2
        processes.remove(writer, "bridge")
        processes.restore()
        processes.await_departures()
        assert len(admin.describe_groups([group])[group]["members"]) == 1
    finally:
        admin.close()
