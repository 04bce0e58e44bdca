"""What the benchmark concludes from what it has measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import contenders
from benchmarks.contender import Contender
from benchmarks.measurement import Measurement, Spread, paired_ratios, percentile
from benchmarks.measures import Sizes
from benchmarks.profile import read_stacks
from benchmarks.reference import Reference
from benchmarks.trial import Results, Trial
from benchmarks.workload import Workload


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """The nearest rank, whatever the order of the values."""
    values = [float(value) for value in range(200, 0, -1)]
    assert percentile(values, 50) == 100.0
    assert percentile(values, 99) == 198.0
    assert percentile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_spread_tells_the_middle_and_both_ends() -> None:
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0, 3)
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])


def test_ratios_are_taken_within_a_repetition() -> None:
    """What slowed both contenders down in one repetition cancels out; one that a contender lacks counts for nothing."""
    assert paired_ratios({0: 100.0, 1: 50.0, 2: 7.0}, {0: 10.0, 1: 5.0}) == [10.0, 10.0]


def _results(*, with_peer: bool) -> Results:
    class Peer(Reference):
        name = "peer"

    contenders: list[Contender] = [Reference(), Peer()]
    trial = Trial(contenders, Workload(), Sizes(), 2, ("latency", "backlog"))
    results = Results(trial, machine={"cores": "2"})
    for repetition in range(2):
        for name, speed in (("reference", 10.0), *([("peer", 1.0)] if with_peer else [])):
            cpu = {"engine": 2.0 / speed, "postgresql": 0.5, "kafka": 0.25, "agent": 9.0, "driver": 9.0}
            drained = {"runs_per_second": 100.0 * speed * (repetition + 1)}
            peak = dict.fromkeys(cpu, 64.0)
            results.measurements.append(Measurement(name, "backlog", repetition, drained, cpu, peak, 0.1))
            waited = {"p50_ms": 40.0, "p99_ms": 80.0} | ({"direct_p50_ms": 20.0} if name == "peer" else {})
            results.measurements.append(Measurement(name, "latency", repetition, waited, cpu, peak, 0.1))
    if not with_peer:
        results.skipped["peer"] = "it is not installed"
    return results


def test_the_table_shows_medians_and_paired_ratios() -> None:
    table = {cells[0]: cells[1:] for cells in report.lines(_results(with_peer=True))}
    assert table[""][-1] == "reference : peer"
    assert table["backlog drained, runs/s"] == [
        "1,500.0 [1,000.0–2,000.0]",
        "150.0 [100.0–200.0]",
        "10.00× [10.00–10.00]",
    ]
    assert table["one run, p50, ms"][-1] == "1.00× [1.00–1.00]"
    assert table["one run, p50, ms, peer called directly"][-1] == "2.00× [2.00–2.00]"


def test_a_peer_that_is_measured_without_the_reference_is_still_told_as_called_directly() -> None:
    results = _results(with_peer=True)
    results.skipped["reference"] = "it was not asked for"
    table = {cells[0]: cells[1:] for cells in report.lines(results)}
    assert table["one run, p50, ms"] == ["40.0 [40.0–40.0]"]
    assert table["one run, p50, ms, peer called directly"] == ["20.0 [20.0–20.0]"]


def test_what_servers_agent_and_driver_cost_is_not_counted_to_the_engine() -> None:
    table = {cells[0]: cells[1:] for cells in report.lines(_results(with_peer=True))}
    assert table["CPU of the engine, backlog, ms/run"][0].startswith("0.20 ")
    assert table["CPU of PostgreSQL and Kafka, backlog, ms/run"][0].startswith("0.75 ")
    assert table["peak memory of the engine, backlog, MiB"][0].startswith("64 ")


def test_an_absent_peer_is_named_with_the_reason() -> None:
    results = _results(with_peer=False)
    assert "**Skipped: peer** (it is not installed)." in report.markdown(results)
    assert report.as_json(results)["skipped"] == {"peer": "it is not installed"}
    assert [cells for cells in report.lines(results) if len(cells) != 2] == []


def test_other_workloads_stand_in_one_table_with_their_sizes() -> None:
    first, other = _results(with_peer=True), _results(with_peer=True)
    further = dataclasses.replace(
        other, trial=dataclasses.replace(other.trial, workload=Workload(10, shape="parallel"))
    )
    rows = list(report.further_lines([further, further]))
    assert rows[0] == ["workload", "measure", *next(report.lines(first))[1:]]
    assert {len(row) for row in rows} == {len(rows[0])}
    told = {(row[0], row[1]): row[-1] for row in rows[1:]}
    assert told["10 parallel branches, 32 B payload", "backlog drained, runs/s"] == "10.00× [10.00–10.00]"
    assert not any("called directly" in row[1] for row in rows)
    text = report.markdown(first, [further])
    assert "Other workloads:" in text
    assert "10 parallel branches, 32 B payload: 2,000 and 200." in text
    assert "Other workloads:" not in report.markdown(first)


def test_the_page_tells_the_configurations_as_the_code_has_them() -> None:
    """`nox -s bench -- --write-docs` puts them there; so does `put_between` with what stands on the left here."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    told = page.partition("<!-- configurations -->\n")[2].partition("<!-- /configurations -->")[0]
    assert report.configurations(contenders()).strip() == told.strip()


def test_sampled_stacks_are_counted_by_function_without_those_that_wait() -> None:
    text = (
        "main (/a/b/system/loop.py:1);decide (/a/b/system/engine/decide.py:9);loads (/x/site-packages/json/x.py:1) 30\n"
        "main (/a/b/system/loop.py:1);decide (/a/b/system/engine/decide.py:9) 10\n"
        "main (/a/b/system/loop.py:1);Condition.wait (threading.py:295) 500\n"
        "this line is no stack\n"
    )
    sampled = read_stacks(text)
    assert sampled.total == 40
    assert sampled.own() == {"loads (json/x.py:1)": 30, "decide (system/engine/decide.py:9)": 10}
    assert sampled.inclusive(lambda frame: "(system/" in frame) == {
        "main (system/loop.py:1)": 40,
        "decide (system/engine/decide.py:9)": 40,
    }
