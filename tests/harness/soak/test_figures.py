"""What a soak measures and counts: recoveries, memory, verdicts, and the page that shows them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from harness.soak.ledger import Done, Ledger, sorted_out
from harness.soak.page import html
from harness.soak.recovery import GIVEN_UP_SECONDS, Recoveries
from harness.soak.resources import Resources, Series, Watched
from harness.verdict import Finding


def test_a_recovery_is_over_when_every_run_has_moved_on() -> None:
    """The first and the last of those that were under way count; others, and what was before the fault, do not."""
    recoveries = Recoveries()
    recoveries.begin("kill consumer", 100.0, {"r1", "r2"})
    recoveries.moved("r3", 100.1)
    recoveries.moved("r1", 99.9)
    recoveries.moved("r1", 100.5)
    recoveries.moved("r1", 100.7)
    recoveries.moved("r2", 103.0)
    assert recoveries.figures() == {
        "kill consumer": {
            "count": 1,
            "open": 0,
            "first_p50_seconds": 0.5,
            "first_most_seconds": 0.5,
            "all_p50_seconds": 3.0,
            "all_most_seconds": 3.0,
        }
    }


def test_a_run_that_never_moves_on_leaves_its_recovery_open() -> None:
    """It has no time until all had moved on, and is counted; what is kept of it is bounded."""
    recoveries = Recoveries()
    recoveries.begin("stop bridge", 100.0, {"r1", "r2"})
    recoveries.moved("r1", 101.0)
    recoveries.begin("stop bridge", 101.0 + GIVEN_UP_SECONDS, {"r3"})
    recoveries.moved("r2", 102.0 + GIVEN_UP_SECONDS)
    found = recoveries.figures()["stop bridge"]
    assert (found["count"], found["open"], found["all_p50_seconds"]) == (2, 2, None)


def test_a_fault_without_runs_is_not_measured() -> None:
    """Nothing was there to move on."""
    recoveries = Recoveries()
    recoveries.begin("kill api", 100.0, ())
    assert recoveries.figures() == {}


def test_samples_are_bounded_and_span_all_the_time() -> None:
    """However long it lasts."""
    series = Series()
    for second in range(10_000):
        series.add(float(second), 1, 50.0, 2, 3)
    assert len(series.at_seconds) == len(series.pid) <= 1201
    assert series.at_seconds[0] == 0
    assert series.at_seconds[-1] > 9_000


@pytest.mark.parametrize(("last", "is_flat"), [(104.0, True), (190.0, False)])
def test_memory_that_grows_is_told(last: float, is_flat: bool) -> None:
    """The last quarter is held against the second, since processes take a while to come to their size."""
    series = Series()
    for second in range(40):
        series.add(float(second), 1, 60.0 if second < 10 else last if second >= 30 else 100.0, 0, 0)
    assert series.is_flat is is_flat


def test_a_living_process_is_measured_and_a_dead_one_left_out() -> None:
    """Of this very process the memory is told in MiB."""
    resources = Resources(lambda: {"harness": Watched(os.getpid()), "gone": Watched(None)}, lambda: 1.0, 60.0)
    resources.sample()
    assert list(resources.series) == ["harness"]
    assert 10 < resources.latest()["harness"] < 10_000


def _finding(clause: str, anomaly: str) -> Finding:
    return Finding("checker", clause, anomaly, "because", (1,), "run-1")


def test_what_was_done_twice_is_told_apart_from_what_is_wrong() -> None:
    """By the anomaly, or by the clause that work is done once."""
    assert sorted_out([]) is None
    wrong, twice = _finding("OBS-01", "transition not told"), _finding("RES-09", "same work, new task id")
    assert sorted_out([wrong]) == ("wrong", wrong)
    assert sorted_out([wrong, twice]) == ("duplicated", twice)
    assert sorted_out([_finding("CMP-08", "not allowed: row")]) is not None


@pytest.mark.parametrize("what", ["lost", "stuck", "duplicated", "wrong"])
def test_one_run_that_is_not_as_it_should_be_fails_the_soak(what: str) -> None:
    """Whatever else was judged."""
    ledger = Ledger()
    assert ledger.verdict == "unknown"
    ledger.counts.judged = 1000
    assert ledger.verdict == "passed"
    ledger.trouble(what, 1.0, "run-1", "CMP-01", "why", None)
    assert ledger.verdict == "failed"


def test_a_run_of_which_nothing_can_be_said_keeps_the_soak_from_passing() -> None:
    """It is unknown, with the reason."""
    ledger = Ledger()
    ledger.counts.judged = 1000
    ledger.unknown("the observer was blind")
    assert (ledger.verdict, ledger.data()["unknown_for"]) == ("unknown", {"the observer was blind": 1})


def test_the_page_shows_what_there_is_and_no_markup_of_others() -> None:
    """Counts, troubles, recoveries, and lines of memory; whatever a subject wrote is text."""
    ledger = Ledger()
    ledger.counts.judged = ledger.counts.accepted = 12
    ledger.counts.seconds = 60.0
    ledger.fault(Done(20.0, 20.2, "kill consumer", "consumer-1", "done"))
    ledger.trouble("lost", 30.0, "run-<b>", "CMP-01", "<script>alert(1)</script>", None)
    data: dict[str, Any] = {
        **ledger.data(),
        "subject": "reference",
        "asked_for": {
            "seconds": 60.0, "rate": 1.0, "faults": ["kill"], "seed": 0, "every_seconds": 5.0, "processes": {"consumer": 2},
        },
        "recovery": {
            "kill consumer": {
                "count": 1, "open": 0, "first_p50_seconds": 0.1, "first_most_seconds": 0.1, "all_p50_seconds": 1.25,
                "all_most_seconds": 1.25,
            }
        },
        "resources": {
            "consumer-1": {
                "at_seconds": [0.0, 30.0, 60.0], "rss_mib": [40.0, 60.0, 60.0], "database": [2, 2, 2], "kafka": [3, 3, 3],
                "pid": [1, 1, 1], "is_flat": True,
            }
        },
    }  # fmt: skip
    page = html(data)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "1.25 s" in page
    assert page.count("<polyline") == 3
    assert "20 s: kill consumer consumer-1" in page
