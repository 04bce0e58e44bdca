"""A failure becomes a scenario file that fails: of the run alone, of many of its kind, or with a death among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.exploration import found as module
from harness.exploration.deaths import SIMPLEST, roles_met
from harness.exploration.fleet import Landed
from harness.exploration.judging import Judged
from harness.exploration.profiles import Drawn
from harness.exploration.session import Failure
from harness.exploration.shrinking import Replayed, Shrunk
from harness.history import Event
from harness.scenario import load
from harness.scenario.model import Scenario
from harness.verdict import Finding, Outcome

JUDGED = Judged((Finding("oracle", "CMP-01", "not allowed: status", "the run has not ended"),), (), None, ())
BENCH: Any = SimpleNamespace(subject=SimpleNamespace(name="some"))
KILLED = Event(0, 0.0, "2026-01-01T00:00:00Z", "process", "killed", None, {"process": "consumer-1"})


def _failure(*, is_disturbed: bool) -> Failure:
    events = (KILLED,) if is_disturbed else ()
    landed = Landed(SIMPLEST, 1, 2, None, events, None, None, 1.0, is_disturbed)
    return Failure(landed, JUDGED, Drawn("smoke", 2, 60))


def _of_alone(scenario: Scenario) -> bool:
    return "count" not in scenario.timeline[0].arguments


def _with_a_death(scenario: Scenario) -> bool:
    return [act.word for act in scenario.timeline] == ["execute", "kill", "start"]


@pytest.mark.parametrize(
    ("is_disturbed", "fails", "tried", "ends_as"),
    [
        (False, _of_alone, 1, ["execute"]),
        (False, lambda one: len(one.workflows) > 1, 2, ["execute", "execute", "release"]),
        (False, lambda one: not _of_alone(one), 3, ["execute"]),
        (True, _with_a_death, 4, ["execute", "kill", "start"]),
        (False, lambda _: False, 3, None),
    ],
    ids=["alone", "beside one that waits", "among many", "with a death behind many", "not at all"],
)
def test_the_first_form_that_fails_is_kept(
    is_disturbed: bool,
    fails: Callable[[Scenario], bool],
    tried: int,
    ends_as: list[str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failure = _failure(is_disturbed=is_disturbed)
    seen: list[Scenario] = []

    def carried_out(path: Path, *_: Any) -> Outcome:
        (scenario,) = load(path)
        seen.append(scenario)
        verdict: Any = "failed" if fails(scenario) else "passed"
        return Outcome(scenario.id, "g", ("CMP-01",), "some", verdict, None, (), 0.0, None, 0)

    monkeypatch.setattr(module, "_tried", carried_out)
    shrunk = Shrunk(Replayed(failure.landed, JUDGED), 5, 1, 1)
    one = module.write_up(failure, shrunk, BENCH, tmp_path, "plumbline explore it")
    assert len(seen) == tried
    assert one.fails is (ends_as is not None)
    (kept,) = load(one.scenario)
    assert [act.word for act in kept.timeline] == (ends_as or ["execute"])
    assert _of_alone(kept) is (ends_as is None or tried <= 2)
    assert (tmp_path / "histories" / f"found_{one.scenario.stem}.jsonl").exists()
    if ends_as is None:
        assert one.outcome.verdict == "failed"
        assert "as a scenario file it is passed" in str(one.outcome.reason)


@pytest.mark.parametrize("is_disturbed", [False, True])
def test_what_felt_a_death_and_does_not_fail_alone_is_tried_with_one(
    is_disturbed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = _failure(is_disturbed=is_disturbed)
    small = Replayed(failure.landed, JUDGED)
    asked: list[str] = []
    monkeypatch.setattr(module, "shrink", lambda *_: asked.append("alone") or Shrunk(None, 12, 0, 12))
    monkeypatch.setattr(module, "shrink_with_deaths", lambda *_: asked.append("deaths") or Shrunk(small, 3, 1, 1))

    def carried_out(*_: Any) -> Outcome:
        verdict: Any = "failed" if "deaths" in asked else "passed"
        return Outcome("found/x", "g", ("CMP-01",), "some", verdict, None, (), 0.0, None, 0)

    monkeypatch.setattr(module, "_tried", carried_out)
    one = module.made_small(failure, BENCH, tmp_path, "again", 1.0, lambda _: None)
    assert asked == (["alone", "deaths"] if is_disturbed else ["alone"])
    assert one.fails is is_disturbed
    assert [path.name for path in (tmp_path / "scenarios" / "found").iterdir()] == [one.scenario.name]


def test_the_roles_that_were_ended_are_told_by_the_history() -> None:
    assert roles_met([KILLED]) == ["consumer"]
    assert roles_met([]) == ["consumer", "bridge"]
