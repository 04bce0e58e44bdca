"""Results that are kept as they come, and a session that goes on from them."""

from __future__ import annotations

import importlib
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console

from harness.scenario import load
from tests.mutants import record, session, trial
from tests.mutants.catalogue import IMPOSTORS, MUTANTS
from tests.mutants.tally import Exposure, Fate, Judged
from tests.mutants.trial import ROOT, Limits, side_by_side

JUDGED = Judged("a/b[c]", ("LOP-01", "LOP-02"), ("CMP-01",), "failed", "because", 1.5)
KILLED = Fate("m", "LOP-01", "Wrong.", ("consumer",), JUDGED, (JUDGED,), 2.5)
SURVIVES = Fate("n", "LOP-01", "Wrong.", ("consumer",), None, (), 2.5, "it does not run")
SHOWN = Exposure("i", "Does nothing.", (JUDGED,), 3.0)


def test_what_is_read_is_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "below" / "results.jsonl"
    for one in (KILLED, SURVIVES, SHOWN):
        record.append(path, one)
    assert record.read(path) == {"m": KILLED, "n": SURVIVES, "i": SHOWN}


def test_a_line_that_was_cut_off_at_the_end_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    record.append(path, KILLED)
    whole = path.read_text()
    path.write_text(whole + whole[:40])
    assert record.read(path) == {"m": KILLED}


@pytest.mark.parametrize("line", ["[]", "{}", '{"kind": "Fate"}', '{"kind": "Other"}', "nonsense"])
def test_a_line_that_is_no_result_is_refused_with_its_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    record.append(path, KILLED)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(record.RecordError, match=r"results\.jsonl:2: expected a result"):
        record.read(path)


def test_a_session_goes_on_with_what_was_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for one in (KILLED, SURVIVES):
        record.append(path, one)
    assert session._known(path, ["m", "n", "x"]) == {"m": KILLED}
    assert session._known(tmp_path / "none.jsonl", ["m"]) == {}
    path.write_text("nonsense\n")
    with pytest.raises(click.ClickException, match="leave --resume away"):
        session._known(path, ["m"])


def test_what_is_known_is_not_judged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def results(names: list[str], limits: Limits, workers: int) -> Iterator[tuple[str, Fate | Exposure]]:
        asked.extend(names)
        yield from ((name, Fate(name, "LOP-01", "Wrong.", ("consumer",), JUDGED, (JUDGED,), 1.0)) for name in names)

    monkeypatch.setattr(session, "_results", results)
    monkeypatch.setattr(session, "_controls", lambda *_: [])
    first, second = MUTANTS[0].name, MUTANTS[1].name
    known = {first: Fate(first, "LOP-01", "Wrong.", ("consumer",), JUDGED, (), 1.0)}
    path = tmp_path / "results.jsonl"
    tally = session.judge([first, second], Limits(), 1, Console(quiet=True), path, known)
    assert asked == [second]
    assert [fate.mutant for fate in tally.fates] == [first, second]
    assert list(record.read(path)) == [second]


def ending_with_its_process(name: str, limits: Limits) -> Fate:
    """A trial that takes its process with it for one name."""
    if name == MUTANTS[0].name:
        os._exit(1)
    return Fate(name, "LOP-01", "Wrong.", ("consumer",), JUDGED, (JUDGED,), 1.0)


def test_a_trial_that_ends_its_process_is_given_up_and_the_others_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    # By the name under which another process finds it.
    work = importlib.import_module("tests.mutants.test_record").ending_with_its_process
    monkeypatch.setattr(session, "_work", lambda _: work)
    names = [mutant.name for mutant in MUTANTS[:3]]
    # A small suite, since it is handed to every process.
    limits = Limits(scenarios=ROOT / "scenarios" / "parallel")
    found: dict[str, Any] = dict(session._results(names, limits, 1))
    assert sorted(found) == sorted(names)
    assert "ended 2 times" in found[names[0]].trouble
    assert all(found[name].is_killed for name in names[1:])


def test_an_impostor_whose_process_ends_is_given_up_too() -> None:
    given_up = session._given_up(next(iter(IMPOSTORS)))
    assert isinstance(given_up, Exposure)
    assert given_up.trouble


def test_scenarios_go_side_by_side_in_their_order_but_for_those_that_must_be_alone() -> None:
    quick = load(ROOT / "scenarios/loop/counts.yaml")[0]
    alone = load(ROOT / "scenarios/resume/death_between_steps.yaml")[0]
    assert alone.alone
    assert not quick.alone
    groups = list(side_by_side([quick, quick, quick, alone, alone, quick], 2))
    assert [len(group) for group in groups] == [2, 1, 1, 1, 1]
    assert [scenario for group in groups for scenario in group] == [quick, quick, quick, alone, alone, quick]


def test_scenarios_can_be_handed_to_another_process() -> None:
    read = trial.all_scenarios(ROOT / "scenarios" / "loop")
    assert len(read) > 1
    assert pickle.loads(pickle.dumps(read)) == read


class _Crew:
    """Gives the verdicts that it was made with, the next one each time."""

    why_no_bench = None

    def __init__(self, *verdicts: tuple[str, str]) -> None:
        self.verdicts = list(verdicts)
        self.asked: list[str] = []

    def begin(self, scenarios: Any) -> None:
        pass

    def outcome(self, scenario: Any) -> Any:
        from harness.verdict import Finding, Outcome

        self.asked.append(scenario.id)
        verdict, anomaly = self.verdicts.pop(0)
        found = (Finding("c", "LOP-01", anomaly, "said"),) if verdict == "failed" else ()
        return Outcome(scenario.id, "", ("LOP-01",), "s", verdict, None, found, 0.0, None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdicts", "killed"),
    [
        ([("failed", "second terminal status")], True),
        ([("failed", "not met in time"), ("failed", "not met in time")], True),
        ([("failed", "not met in time"), ("passed", "")], False),
        ([("failed", "process died"), ("unknown", "")], False),
    ],
)
def test_what_may_come_of_a_busy_machine_kills_only_when_it_is_seen_again(
    verdicts: list[tuple[str, str]], killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = _Crew(*verdicts)

    @contextmanager
    def running(name: str, limits: Limits) -> Iterator[_Crew]:
        yield crew

    monkeypatch.setattr(trial, "_running", running)
    monkeypatch.setattr(trial, "all_scenarios", lambda _: tuple(load(ROOT / "scenarios/loop/counts.yaml"))[:1])
    mutant = next(one for one in MUTANTS if one.clause == "LOP-08")
    assert trial.try_mutant(mutant.name, Limits()).is_killed is killed
    assert len(crew.asked) == len(verdicts)
