"""Fault points, cells and results: pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.faults.director import Recording
from harness.faults.grid.cells import Cell, Result, Results, cells_of, points_in, points_of, recovery_of, spread
from harness.faults.points import KINDS, Crossing, Fault, Point, applies
from harness.verdict import Outcome

COMMIT = Crossing("consumer-2", "commit", ("outbox", "step_executions", "workflow_runs"))
SETTLED = Crossing("consumer-2", "commit", ("outbox",))
TASK = Crossing("consumer-2", "produce", ("tasks",))
BEAT = Crossing("consumer-1", "heartbeat")
CALL = Crossing("bridge-1", "call", ("alpha",))


def outcome(verdict: str = "passed") -> Outcome:
    return Outcome("w/x", "It holds.", ("RES-14",), "reference", verdict, None, (), 1.0, None, 0)  # type: ignore[arg-type]


def test_points_are_counted_by_role_boundary_and_name() -> None:
    """The nth is counted among what fits the point: a commit of several tables counts for each of them."""
    found = points_in([COMMIT, TASK, SETTLED, COMMIT, CALL])
    assert found == [
        Point("consumer", "commit", 1, "step_executions"),
        Point("consumer", "produce", 1, "tasks"),
        Point("consumer", "commit", 2, "outbox"),
        Point("consumer", "commit", 2, "step_executions"),
        Point("bridge", "call", 1, "alpha"),
    ]


def test_points_do_not_depend_on_which_process_takes_the_run() -> None:
    """The same run on another consumer has the same points."""
    elsewhere = [Crossing("consumer-1", one.boundary, one.names) for one in (COMMIT, TASK, SETTLED)]
    assert points_in(elsewhere) == points_in([COMMIT, TASK, SETTLED])


def test_heartbeats_without_end_are_few_points() -> None:
    """Of what goes on for ever only the first ones are points."""
    assert len(points_in([BEAT] * 50)) == 2


def test_writes_of_polling_are_no_points() -> None:
    """A write counts when its transaction commits a change; where some of a name do not, none of that name is a point."""
    idle = Crossing("consumer-1", "write", ("outbox",))
    write = Crossing("consumer-2", "write", COMMIT.names)
    settling = Crossing("consumer-2", "write", ("outbox",))
    found = points_in([idle, write, COMMIT, idle, settling, SETTLED, idle])
    assert [point for point in found if point.boundary == "write"] == [Point("consumer", "write", 1, "step_executions")]


def test_only_points_of_every_recording_are_taken() -> None:
    """What one recording lacks is left out, and counted."""
    points, unstable = points_of([Recording([COMMIT, TASK, TASK]), Recording([TASK, COMMIT])])
    assert points == [Point("consumer", "commit", 1, "step_executions"), Point("consumer", "produce", 1, "tasks")]
    assert unstable == 1


def test_a_point_of_one_process_fits_that_one_alone() -> None:
    """A number narrows a point down."""
    assert Point("consumer", "produce", number=2).fits(TASK)
    assert not Point("consumer", "produce", number=1).fits(TASK)
    assert not Point("bridge", "produce").fits(TASK)


def test_recovery_is_hit_at_its_first_effect() -> None:
    """The first effect of the role after the fault, counted from it; heartbeats and what came before it do not count."""
    recording = Recording([COMMIT, TASK, BEAT, Crossing("consumer-1", "join"), CALL, SETTLED, COMMIT], marks=[2])
    assert recovery_of(recording, "consumer") == Point("consumer", "commit", 1, "outbox")
    assert recovery_of(Recording([COMMIT, TASK, CALL], marks=[2]), "consumer") == Point("bridge", "call", 1, "alpha")
    assert recovery_of(Recording([COMMIT], marks=[1]), "consumer") is None
    assert recovery_of(Recording([COMMIT]), "consumer") is None


def test_cells_are_what_the_protocol_has() -> None:
    """A deadlock is a database's, and only messages overtake one that is refused late; an agent's call has neither, and a
    heartbeat no lost answer."""
    kinds = {cell.fault.do for cell in cells_of("w", [Point("bridge", "call", 1, "alpha")])}
    assert kinds == set(KINDS) - {"deadlock", "error_late"}
    assert applies("deadlock", "commit")
    assert applies("freeze_before", "write")
    assert not applies("kill_after", "write")
    assert not applies("error_lost", "heartbeat")
    assert len(cells_of("w", [Point("consumer", "commit")])) == len(KINDS) - 1
    assert len(cells_of("w", [Point("consumer", "produce")])) == len(KINDS) - 1


def test_results_are_taken_up_again(tmp_path: Path) -> None:
    """A later session knows what has been settled, by the same keys; what is unknown is tried again."""
    fault = Fault(Point("consumer", "commit", 3, "runs"), "kill_after", Fault(Point("consumer", "join"), "kill_after"))
    first, second = Cell("w", fault), Cell("w", Fault(Point("bridge", "call"), "delay"))
    results = Results(tmp_path / "cells.jsonl")
    results.add(Result(first, outcome("passed"), 2, Point("consumer", "join")))
    results.add(Result(second, outcome("unknown"), 3))
    again = Results(tmp_path / "cells.jsonl")
    assert again.all == results.all
    assert first.key == "w/consumer commit runs 3/kill_after/again"
    assert again.has_settled(first.key)
    assert not again.has_settled(second.key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_written_as_it_is_read(kind: str) -> None:
    """What a scenario file says of a fault comes back from it."""
    fault = Fault(Point("consumer", "commit", 3, "runs", 2), kind, Fault(Point("bridge", "call"), "delay"), 1.5)  # type: ignore[arg-type]
    assert Fault.read(fault.written()) == fault


def test_a_sample_is_spread_over_workflows_kinds_and_points() -> None:
    """Each workflow has its share, no kind comes twice before all have come, every boundary of every role is hit, and the seed
    alone decides."""
    points = [Point(role, boundary, nth, None) for role in ("api", "consumer", "bridge") for boundary in ("produce", "commit")
              for nth in range(1, 6)]  # fmt: skip
    cells = [cell for workflow in ("chain", "loop", "cancel") for cell in cells_of(workflow, points)]
    sample = spread(cells, 12, 3)
    assert len(set(sample)) == 12
    assert {name: sum(cell.workflow == name for cell in sample) for name in ("chain", "loop", "cancel")} == {
        "chain": 4, "loop": 4, "cancel": 4,
    }  # fmt: skip
    assert len({cell.fault.do for cell in sample}) == 12
    assert len({(cell.fault.at.role, cell.fault.at.boundary) for cell in sample}) == 6
    assert spread(cells, 12, 3) == sample != spread(cells, 12, 4)
    assert sorted(map(str, spread(cells, 10_000, 0))) == sorted(map(str, cells))
