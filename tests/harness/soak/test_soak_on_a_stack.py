"""A short soak of the reference on a real stack, and one of a subject that has stopped working."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.history import HistoryWriter
from harness.runner import Bench
from harness.soak import Soak
from harness.stack import EmbeddedStack
from harness.subject import Subject

REFERENCE = Path(__file__).parents[3] / "subjects" / "reference.yaml"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """The reference with two consumers."""
    with EmbeddedStack() as stack, Bench(Subject.load(REFERENCE), stack, counts={"consumer": 2}) as made:
        yield made


def test_the_reference_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    """Under kills and messages that are none, every accepted run is judged and as it may be, faults and processes are told."""
    soak = Soak(6.0, 4.0, ("kill", "message"), 48, 0.8, tmp_path)
    ledger, data = soak.carry_out(bench, lambda *_: None)
    assert (ledger.verdict, data["troubles"], data["unknown_for"]) == ("passed", [], {})
    counts = ledger.counts
    assert counts.accepted == counts.ended == counts.judged >= 20
    assert set(counts.ends) >= {"COMPLETED"}
    assert any(one.kind.startswith("kill") and one.outcome == "done" for one in ledger.done)
    assert counts.bad_messages > 0
    assert {"api-1", "consumer-1", "consumer-2", "bridge-1", "broker", "database", "harness"} <= set(data["resources"])
    assert not (tmp_path / "histories").exists()


def test_runs_that_nobody_takes_up_are_lost(bench: Bench, tmp_path: Path) -> None:
    """Without a consumer, accepted runs stay PENDING: the soak fails, and keeps their histories."""
    writer = HistoryWriter(None)
    bench.processes.stop(writer, "consumer", None)
    for process in bench.running.role("consumer"):
        assert not process.is_running
    soak = Soak(1.5, 2.0, (), 0, 5.0, tmp_path, stuck_seconds=1.5, drain_seconds=4.0)
    ledger, data = soak.carry_out(bench, lambda *_: None)
    assert ledger.verdict == "failed"
    assert ledger.counts.lost == ledger.counts.accepted >= 2
    assert {one["what"] for one in data["troubles"]} == {"lost"}
    assert len(list((tmp_path / "histories").glob("*.jsonl"))) == ledger.counts.lost
