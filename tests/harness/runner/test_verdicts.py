"""Scenarios on the running reference: each of the verdicts comes about for its own reason."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.history import read_history
from harness.runner import Bench, run
from harness.runner.reporting import told
from harness.scenario import Scenario
from harness.subject import KnownFailure, Subject
from harness.verdict import Outcome

Named = Callable[[str], Scenario]


@pytest.fixture
def carry_out(bench: Bench, scenario: Named, tmp_path: Path) -> Callable[..., Outcome]:
    """Carries a scenario file out on the reference."""

    def carried(name: str, *, keep_passed: bool = False) -> Outcome:
        return run(scenario(name), bench, history_directory=tmp_path, seed=1, keep_passed=keep_passed)

    return carried


def test_what_holds_is_passed_and_leaves_no_history(carry_out: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = carry_out("passes")
    assert (outcome.verdict, outcome.reason, outcome.findings, outcome.history) == ("passed", None, (), None)
    assert list(tmp_path.iterdir()) == []


def test_the_history_of_what_passed_is_kept_when_asked_for(carry_out: Callable[..., Outcome]) -> None:
    outcome = carry_out("passes", keep_passed=True)
    assert outcome.history is not None
    history = read_history(outcome.history)
    kinds = {(event.source, event.kind) for event in history}
    assert {
        ("harness", "begin"),
        ("harness", "run"),
        ("harness", "act"),
        ("harness", "expectation"),
        ("harness", "end"),
        ("rest", "request"),
        ("rest", "answer"),
        ("kafka", "message"),
        ("database", "run_row"),
        ("database", "snapshot"),
        ("agent", "call"),
        ("agent", "answer"),
    } <= kinds
    assert history.begin is not None
    assert set(history.begin["agents"]) == {"first", "second"}
    (end,) = history.of("end")
    assert end["drained"] is True
    assert end["waited"] == list(history.runs)
    topics = {event["topic"] for event in history.of("message")}
    assert topics >= {"requests", "tasks", "results", "updates"}
    assert {event["by"] for event in history.of("message")} == {"subject"}


def test_every_act_of_a_long_timeline_is_done(carry_out: Callable[..., Outcome]) -> None:
    outcome = carry_out("everything")
    assert (outcome.verdict, outcome.reason) == ("passed", None)


def test_snapshots_come_after_their_messages(carry_out: Callable[..., Outcome]) -> None:
    outcome = carry_out("passes", keep_passed=True)
    assert outcome.history is not None
    history = read_history(outcome.history)
    told = {
        event.seq
        for event in history.of("message")
        if event["topic"] in ("tasks", "updates") and event["by"] == "subject"
    }
    snapshots = list(history.of("snapshot"))
    assert {event["because"] for event in snapshots} == told
    assert all(event["because"] < event.seq for event in snapshots)


def test_an_expectation_that_does_not_come_about_fails_with_what_was_seen(carry_out: Callable[..., Outcome]) -> None:
    outcome = carry_out("fails_at_its_deadline")
    assert outcome.verdict == "failed"
    (finding,) = outcome.findings
    assert (finding.clause, finding.checker) == ("CMP-07", "expectation")
    assert "fails_at_its_deadline.yaml:9:7: eventually" in finding.explanation
    assert "expected 2, found 1" in finding.explanation
    assert outcome.history is not None
    assert outcome.history.exists()


def test_never_ends_a_scenario_at_the_event_that_breaks_it(carry_out: Callable[..., Outcome]) -> None:
    begun = time.monotonic()
    outcome = carry_out("fails_at_once")
    assert time.monotonic() - begun < 30, "the deadline of this scenario is a minute"
    (finding,) = outcome.findings
    assert outcome.verdict == "failed"
    assert outcome.history is not None
    history = read_history(outcome.history)
    # One read of the database finds the run and its step changed together: the finding names both rows.
    named = [history.events[seq] for seq in finding.events]
    rows = [
        event["row"] if event.kind == "run_row" else event["run_row"] for event in named if event.kind != "step_row"
    ]
    assert "COMPLETED" in [row["status"] for row in rows if row is not None]


def test_a_condition_of_the_timeline_that_never_comes_is_a_failure_of_the_subject(
    carry_out: Callable[..., Outcome],
) -> None:
    outcome = carry_out("fails_in_its_timeline")
    assert outcome.verdict == "failed"
    assert outcome.reason is not None
    assert "{run: r, is: FAILED}; last seen: run r is COMPLETED" in outcome.reason


def test_the_smallest_draw_that_fails_is_told(carry_out: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = carry_out("fails_for_one_draw")
    assert outcome.verdict == "failed"
    assert outcome.reason is not None
    assert '(drawn: {"n": 5})' in outcome.reason
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["fails_for_one_draw.jsonl"]


def test_what_the_harness_cannot_do_is_unknown(carry_out: Callable[..., Outcome]) -> None:
    outcome = carry_out("unknown")
    assert (outcome.verdict, outcome.findings) == ("unknown", ())
    assert outcome.reason == "1 messages 1000000 times are more than 100000"


def test_a_broken_observer_is_unknown_and_never_passed(
    bench: Bench, carry_out: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise ValueError("no eyes")

    monkeypatch.setattr(bench.observer._tap, "_take", explode)
    outcome = carry_out("passes")
    assert outcome.verdict == "unknown"
    assert outcome.reason is not None
    assert "could not be taken in: ValueError('no eyes')" in outcome.reason


def test_a_crashed_checker_is_unknown_and_never_passed(
    carry_out: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import checkers

    monkeypatch.setattr(checkers, "check_all", lambda _: ([], ["a checker crashed"]))
    outcome = carry_out("passes")
    assert (outcome.verdict, outcome.reason) == ("unknown", "a checker crashed")


def test_what_the_subject_does_not_claim_is_not_supported(bench: Bench, scenario: Named, tmp_path: Path) -> None:
    claims = dataclasses.replace(bench.subject.description, step_types=frozenset({"agent"}))
    subject = bench.subject
    bench.subject = Subject(claims)
    try:
        outcome = run(scenario("needs_loops"), bench, history_directory=tmp_path, seed=1)
    finally:
        bench.subject = subject
    assert outcome.verdict == "not supported"
    assert outcome.reason == "reference does not claim the step type loop"


def test_a_known_failure_still_runs_and_says_why(bench: Bench, scenario: Named, tmp_path: Path) -> None:
    known = (KnownFailure("fails_at_*", "outputs are lost"),)
    subject = bench.subject
    bench.subject = Subject(dataclasses.replace(subject.description, known_failures=known))
    try:
        outcome = run(scenario("fails_at_once"), bench, history_directory=tmp_path, seed=1)
    finally:
        bench.subject = subject
    assert (outcome.verdict, outcome.known_failure) == ("failed", "outputs are lost")


def test_scenarios_at_the_same_time_see_only_their_own(bench: Bench, scenario: Named, tmp_path: Path) -> None:
    def one(number: int) -> Outcome:
        directory = tmp_path / str(number)
        return run(scenario("passes"), bench, history_directory=directory, seed=number, keep_passed=True)

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(one, range(6)))
    assert [outcome.verdict for outcome in outcomes] == ["passed"] * 6
    for outcome in outcomes:
        assert outcome.history is not None
        history = read_history(outcome.history)
        assert len({event.run for event in history if event.run is not None}) == 1


def test_after_a_kill_the_bench_is_as_it_was(bench: Bench, carry_out: Callable[..., Outcome]) -> None:
    outcome = carry_out("kills_the_consumer", keep_passed=True)
    assert (outcome.verdict, outcome.reason) == ("passed", None)
    assert outcome.history is not None
    done = [(event.kind, event["process"]) for event in read_history(outcome.history) if event.source == "process"]
    assert done[0] == ("killed", "consumer-1")
    assert done[1][0] == "started"
    assert bench.processes.are_disturbed
    bench.processes.restore()
    assert [process.name for process in bench.running.role("consumer") if process.is_running] == ["consumer-1"]
    assert bench.processes.lacking("consumer") is None
    assert not bench.processes.are_disturbed
    assert carry_out("passes").verdict == "passed"


def test_a_process_that_dies_by_itself_is_a_finding_and_is_started_again(
    bench: Bench, carry_out: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.runner import acts

    real = acts.do

    def killing(act: object, world: object) -> object:
        # Behind the harness's back, as if the process had crashed.
        process = bench.running.role("bridge")[0]
        process._process.kill()
        return real(act, world)  # type: ignore[arg-type]

    monkeypatch.setattr(acts, "do", killing)
    outcome = carry_out("fails_at_its_deadline")
    assert any("bridge-1 has ended by itself" in finding.explanation for finding in outcome.findings)
    monkeypatch.undo()
    bench.revive()
    assert bench.running.died() == []
    assert carry_out("passes").verdict == "passed"


def test_what_the_processes_logged_meanwhile_stays_beside_the_history_of_a_failure(
    carry_out: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = carry_out("fails_with_a_new_consumer")
    assert outcome.history is not None
    logs = outcome.history.with_suffix(".logs")
    of_consumers = [path.read_text() for path in logs.glob("consumer-*.log")]
    assert any("Starting ExecutionConsumer main loop" in log for log in of_consumers)
    assert f"  logs:      {logs}" in told(outcome, "again").splitlines()
    carry_out("passes")
    assert {path.name for path in tmp_path.iterdir()} == {outcome.history.name, logs.name}
