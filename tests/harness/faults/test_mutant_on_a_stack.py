"""The force of a grid: a cell that the reference passes fails a mutant, and says why."""

from __future__ import annotations

import contextlib
from pathlib import Path

from harness.faults.grid.base import Base
from harness.faults.grid.bench import TrialBench
from harness.faults.grid.cells import Cell
from harness.faults.points import Fault, Point
from harness.faults.ports import FaultPorts
from harness.runner import Bench
from harness.stack import EmbeddedStack
from harness.subject import Subject
from tests.mutants.subjects import write

MUTANT = "random-ids-after-a-death"


def test_a_mutant_is_shown_by_a_cell(fault_stack: EmbeddedStack, fault_ports: FaultPorts, tmp_path: Path) -> None:
    """An executor that sends in-flight work again under random ids is caught when it dies with its first commit."""
    subject = Subject.load(write(MUTANT, tmp_path))

    def make(ending: contextlib.ExitStack) -> Bench:
        return ending.enter_context(Bench(subject, fault_stack, fault_ports=fault_ports))

    point = Point("consumer", "commit", 1, "step_executions")
    with TrialBench(make, tmp_path) as bench:
        result = bench.attempt(Base.find("sequential"), Cell("sequential", Fault(point, "kill_after")))
    assert result.outcome.verdict == "failed"
    assert "2 task ids" in (result.outcome.reason or "")
