"""A handful of cells of the reference's grid, on a real stack: the faults are done, and the runs end as they should."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.faults import director
from harness.faults.director import Recording
from harness.faults.grid.base import Base
from harness.faults.grid.bench import TrialBench
from harness.faults.grid.cells import Cell, points_in
from harness.faults.grid.page import write
from harness.faults.points import Fault, Kind, Point
from harness.faults.ports import FaultPorts
from harness.history import read_history
from harness.runner import Bench
from harness.stack import EmbeddedStack
from harness.subject import Subject

REFERENCE = Path(__file__).parents[3] / "subjects" / "reference.yaml"
COMMIT = Point("consumer", "commit", 2, "step_executions")
_MOST_TRIES = 3


@pytest.fixture(scope="module")
def subject() -> Subject:
    """The reference."""
    return Subject.load(REFERENCE)


@pytest.fixture(scope="module")
def trials(
    fault_stack: EmbeddedStack, fault_ports: FaultPorts, subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrialBench]:
    """The reference with two consumers behind proxies."""

    def make(ending: contextlib.ExitStack) -> Bench:
        environment = {"KAFKA_SESSION_TIMEOUT_MS": "1500"}
        return ending.enter_context(
            Bench(subject, fault_stack, counts={"consumer": 2}, environment=environment, fault_ports=fault_ports)
        )

    with TrialBench(make, tmp_path_factory.mktemp("faults")) as bench:
        yield bench


@pytest.fixture(scope="module")
def recording(trials: TrialBench) -> Recording:
    """The crossings of a run to which nothing happens."""
    outcome, found = trials.record(Base.find("sequential"))
    assert outcome.verdict == "passed", outcome.reason
    return found


def test_a_run_has_its_fault_points(recording: Recording) -> None:
    """Every effect of a run of three steps is found: rows, tasks, updates, offsets, results and calls, in each role."""
    found = set(map(str, points_in(recording.crossings)))
    expected = {
        "api commit workflow_runs 1", "api produce requests 1", "consumer offsets requests 1",
        *(f"consumer {boundary} step_executions {nth}" for nth in range(1, 5) for boundary in ("write", "commit")),
        *(f"consumer produce tasks {nth}" for nth in range(1, 4)),
        *(f"bridge produce results {nth}" for nth in range(1, 4)),
        *(f"bridge call {agent} 1" for agent in ("alpha", "beta", "gamma")),
    }  # fmt: skip
    assert expected <= found


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        (COMMIT, "kill_after"),
        (COMMIT, "deadlock"),
        (Point("bridge", "call", 1, "beta"), "drop_after"),
        (Point("consumer", "produce", 2, "tasks"), "error_retriable"),
        (Point("api", "commit", 1, "workflow_runs"), "error_lost"),
        (Point("consumer", "write", 3, "step_executions"), "freeze_before"),
    ],
    ids=str,
)
def test_the_reference_survives(trials: TrialBench, recording: Recording, point: Point, kind: Kind) -> None:
    """The fault is done at its point, once, and nothing comes of it."""
    assert recording.crossings
    result = trials.attempt(Base.find("sequential"), Cell("sequential", Fault(point, kind)))
    assert (result.outcome.verdict, result.outcome.reason) == ("passed", None)
    assert result.outcome.history is not None
    history = read_history(result.outcome.history)
    done = [event for event in history if event.kind == "fault" and event["state"] == "done"]
    assert [(event["do"], event["at_point"]) for event in done] == [(kind, str(point))]
    if kind == "kill_after":
        lives = [event.kind for event in history if event.source == "process"]
        assert lives[:2] == ["killed", "started"]
        assert result.recovery is not None


def test_a_point_that_never_comes_is_unknown(
    trials: TrialBench, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried a bounded number of times, is never passed, and the grid's page says so."""
    monkeypatch.setattr(director, "GRACE_SECONDS", 0.1)
    cell = Cell("sequential", Fault(Point("consumer", "commit", 99), "kill_before"))
    result = trials.attempt(Base.find("sequential"), cell)
    assert (result.outcome.verdict, result.tries) == ("unknown", _MOST_TRIES)
    assert "was not reached" in (result.outcome.reason or "")
    write([result], subject, {"sequential": ["1 fault point."]}, tmp_path, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"consumer commit 99, kill_before, once: unknown after {_MOST_TRIES} tries" in text
    assert "was not reached" in text
    assert '"unknown": 1' in (tmp_path / "faults.json").read_text(encoding="utf-8")
