"""Shrinking, with executors that are told by what fails them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.document import MistakesFound
from harness.faults.grid.base import Base, UnusableWorkflow, ready_made, text, write
from harness.faults.grid.shrink import head, shrink
from harness.faults.grid.smaller import smaller
from harness.faults.points import Fault, Point
from harness.verdict import Finding, Outcome

FAULT = Fault(
    Point("consumer", "commit", 3, "step_executions"), "kill_after", Fault(Point("consumer", "join"), "kill_after")
)


def judged(verdict: str) -> Outcome:
    findings = (Finding("runs_end", "CMP-01", "lost run", "run r is RUNNING"),) if verdict == "failed" else ()
    return Outcome("w/x", "It holds.", ("RES-14",), "mutant", verdict, None, findings, 1.0, None, 0)  # type: ignore[arg-type]


def executor(fails: Callable[[dict[str, Any]], bool], directory: Path) -> Callable[[dict[str, Any]], Outcome]:
    """Judges scenarios, each of which must be a scenario that can be carried out."""

    def judge(data: dict[str, Any]) -> Outcome:
        write(data, directory / "trial.yaml")
        return judged("failed" if fails(data) else "passed")

    return judge


@pytest.mark.parametrize("name", ready_made())
def test_what_always_fails_shrinks_to_next_to_nothing(name: str, tmp_path: Path) -> None:
    """A mutant that any fault kills is shown by one fault in one step."""
    data = Base.find(name).trial(FAULT)
    shrunk = shrink(data, judged("failed"), executor(lambda _: True, tmp_path), most_trials=200)
    (workflow,) = shrunk.data["workflows"].values()
    assert shrunk.is_whole
    assert len(workflow["steps"]) == 1
    assert shrunk.data["timeline"][0] == {
        "fault": {"at": {"role": "consumer", "boundary": "commit"}, "do": "kill_after"}
    }
    assert len(text(shrunk.data).splitlines()) <= 14
    (scenario,) = [write(shrunk.data, tmp_path / "shrunk.yaml")]
    assert str(FAULT.at.role) in scenario.guarantee


def test_what_is_needed_stays(tmp_path: Path) -> None:
    """Steps and faults without which it does not fail are kept, and the fault point moves with what was taken away."""

    def fails(data: dict[str, Any]) -> bool:
        fault = data["timeline"][0]["fault"]
        steps = data["workflows"]["main"]["steps"]
        return len(steps) >= 2 and "then" in fault and fault["at"].get("nth", 1) == len(steps)

    shrunk = shrink(Base.find("sequential").trial(FAULT), judged("failed"), executor(fails, tmp_path))
    assert len(shrunk.data["workflows"]["main"]["steps"]) == 2
    assert shrunk.data["timeline"][0]["fault"]["at"] == {"role": "consumer", "boundary": "commit", "nth": 2}
    assert "then" in shrunk.data["timeline"][0]["fault"]


def test_want_of_time_is_no_failure(tmp_path: Path) -> None:
    """Trials are given less time, so that they are fast; what comes out fails with all the time that there was at first."""
    base = Base.find("sequential").trial(FAULT)
    shrunk = shrink(base, judged("failed"), executor(lambda _: True, tmp_path))
    assert shrunk.data["deadline_seconds"] == base["deadline_seconds"]
    hurried = shrink(base, judged("failed"), executor(lambda data: data["deadline_seconds"] < 30, tmp_path))
    assert hurried.data["workflows"] == base["workflows"]
    assert not hurried.is_whole


def test_another_failure_is_not_taken_for_it(tmp_path: Path) -> None:
    """What fails by another finding is another failure."""

    def judge(data: dict[str, Any]) -> Outcome:
        write(data, tmp_path / "trial.yaml")
        other = Finding("order", "OBS-03", "updates out of order", "…")
        return Outcome("w/x", "It holds.", ("RES-14",), "mutant", "failed", None, (other,), 1.0, None, 0)

    data = Base.find("sequential").trial(FAULT)
    shrunk = shrink(data, judged("failed"), judge)
    assert shrunk.data["workflows"] == data["workflows"]
    assert shrunk.trials > 5


def test_trials_are_bounded(tmp_path: Path) -> None:
    """Shrinking ends after so many trials, with the smallest that was found by then."""
    shrunk = shrink(
        Base.find("sequential").trial(FAULT), judged("failed"), executor(lambda _: True, tmp_path), most_trials=2
    )
    assert (shrunk.trials, shrunk.is_whole) == (3, False)


@pytest.mark.parametrize("name", ready_made())
def test_most_that_is_tried_is_a_scenario(name: str, tmp_path: Path) -> None:
    """What shrinking tries first from a ready-made workflow are, by and large, scenarios that can be carried out."""
    candidates = list(smaller(Base.find(name).trial(FAULT)))
    bad = 0
    for candidate in candidates:
        try:
            write(candidate, tmp_path / "candidate.yaml")
        except MistakesFound:
            bad += 1
    assert len(candidates) >= 8
    assert bad <= len(candidates) // 4


def test_a_shrunk_file_says_where_it_comes_from(tmp_path: Path) -> None:
    """The file can be read by whoever finds it, and loaded."""
    data = Base.find("sequential").trial(FAULT)
    path = tmp_path / "scenarios" / "faults" / "found.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(head("sequential/x", "mutant") + text(data), encoding="utf-8")
    assert write(data, path).timeline[0].word == "fault"


def test_a_workflow_of_its_own_needs_no_more_than_a_scenario(tmp_path: Path) -> None:
    """Any scenario file can be gridded, as long as it stands alone and has no faults of its own."""
    path = tmp_path / "own.yaml"
    path.write_text(text(Base.find("loop").data), encoding="utf-8")
    assert Base.find(str(path)).name == "own"
    path.write_text(text(Base.find("loop").trial(FAULT)), encoding="utf-8")
    with pytest.raises(UnusableWorkflow, match="without faults"):
        Base.find(str(path))
    with pytest.raises(UnusableWorkflow, match=r"one of cancel, fork_join, loop, parallel, retry, sequential"):
        Base.find("sequentiall")
