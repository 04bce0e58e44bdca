"""Scenario files written out mean the same; what is smaller than one is a scenario again, and as sound as it is asked to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.exploration.files import document, text_of
from harness.generation import Case
from harness.minimizing.reading import case_of
from harness.scenario import Scenario, load
from harness.shrinking import document_of, smaller_documents

ROOT = Path(__file__).parents[3] / "scenarios"
SOME = (
    "loop/stop_parallel.yaml", "failure/others_in_flight.yaml", "resume/death_between_steps.yaml", "definitions/a_cycle.yaml",
    "cancellation/of_one_among_many.yaml", "references/embedded.yaml",
)  # fmt: skip


def _read(path: Path) -> Scenario:
    return load(path)[0]


def _written(document: dict[str, Any], folder: Path) -> Scenario:
    path = folder / "scenarios" / "x" / "one.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(document, ["one"]), encoding="utf-8")
    return _read(path)


@pytest.mark.parametrize("name", [name for name in SOME if (ROOT / name).exists()])
def test_a_scenario_written_out_is_the_same(name: str, tmp_path: Path) -> None:
    """Includes, variants and parameters are filled in, and nothing else is changed."""
    whole = _read(ROOT / name)
    again = _written(document_of(whole, {}), tmp_path)
    assert again.workflows == whole.workflows
    assert dict(again.agents) == dict(whole.agents)
    assert [(act.word, act.when) for act in again.timeline] == [(act.word, act.when) for act in whole.timeline]
    assert [(one.mode, one.what) for one in again.expectations] == [(one.mode, one.what) for one in whole.expectations]


def test_what_is_smaller_is_smaller_and_mostly_a_scenario(tmp_path: Path) -> None:
    """Steps that are gone are named nowhere any more."""
    document = document_of(_read(ROOT / "loop" / "stop_parallel.yaml"), {})
    found = list(smaller_documents(document))
    assert len(found) >= 10
    assert all(len(repr(one)) <= len(repr(document)) + 60 for one in found)
    for one in found[:40:4]:
        _written(one, tmp_path)


TWO: dict[str, Any] = {
    "guarantee": "Two runs.",
    "clauses": ["CMP-01"],
    "workflows": {"main": {"start_step": "a", "steps": {"a": {"id": "a", "agent_name": "w"}}}},
    "agents": {"w": [{"ok": {}}]},
    "timeline": [
        {"execute": {"as": "one"}},
        {"execute": {"as": "two"}},
        {"when": {"run": "one", "step": "a", "is": "RUNNING"}, "kill": "consumer"},
        {"start": "consumer"},
        {"cancel": "two"},
    ],
    "expect": {"eventually": [{"run": "one", "is": "COMPLETED"}, {"run": "two", "is": "CANCELLED"}]},
}


def test_neutral_changes_leave_what_an_expectation_rests_on() -> None:
    """A run goes with all that is about it, and processes are left alone; no cancellation goes while its end is expected."""
    found = list(smaller_documents(TWO, "neutral"))
    assert any(not [act for act in one["timeline"] if "kill" in act] for one in found)
    alone = [one for one in found if [act["execute"]["as"] for act in one["timeline"] if "execute" in act] == ["one"]]
    assert alone
    assert alone[0]["expect"] == {"eventually": [{"run": "one", "is": "COMPLETED"}]}
    for one in found:
        ends = [listed for listed in one["expect"]["eventually"] if listed["run"] == "two"]
        assert not ends or {"cancel": "two"} in one["timeline"]
    counted = list(smaller_documents(TWO, "expectations"))
    assert all(one["timeline"] == TWO["timeline"] for one in counted)


def test_a_plain_scenario_is_a_case() -> None:
    """Its run is called r, and what is waited for belongs to the act behind it."""
    one = {
        **TWO,
        "timeline": [
            {"execute": {"as": "mine", "input": {"n": 1}}},
            {"wait": {"run": "mine", "step": "a", "is": "RUNNING"}},
            {"cancel": "mine"},
            {"kill": "consumer"},
            {"start": "consumer"},
            {"wait": {"ready": "consumer"}},
        ],
    }
    case = case_of(one)
    assert case is not None
    assert case.input == {"n": 1}
    assert case.timeline == (
        {"when": {"run": "r", "step": "a", "is": "RUNNING"}, "cancel": "r"},
        {"kill": "consumer"},
        {"start": "consumer"},
    )


@pytest.mark.parametrize(
    "timeline",
    [
        TWO["timeline"],
        [{"execute": {"as": "r", "count": 3}}],
        [{"execute": {"as": "r"}}, {"publish": {"topic": "results", "raw": "{"}}],
        [{"execute": {"as": "r"}}, {"rest": {"path": "/runs"}}],
        [{"execute": {"as": "r", "input": {"text": "{{unique}}"}}}],
    ],
)
def test_what_no_case_can_say_is_none(timeline: list[Any]) -> None:
    """Several runs, messages made up, requests, and values of the world."""
    assert case_of({**TWO, "timeline": timeline}) is None


def test_nothing_smaller_takes_away_what_it_never_gives_back() -> None:
    document = document_of(_read(ROOT / "faults" / "one_consumer_cut_off.yaml"), {})
    assert {"cut", "join"} <= {word for entry in document["timeline"] for word in entry}
    for one in smaller_documents(document):
        words = [word for entry in one["timeline"] for word in entry]
        assert "join" in words or "cut" not in words


def test_a_run_that_was_cancelled_before_it_was_made_is_read_as_a_case_again() -> None:
    """With what its request waits for; a file whose request waits for nothing says something else."""
    case = Case(
        {"name": "main", "start_step": "a", "steps": {"a": {"id": "a", "agent_name": "w"}}},
        {"w": [{"ok": {}}]},
        {"n": 1},
        ({"before": True, "cancel": {"run": "r", "via": "message"}},),
        "kafka",
    )
    written = document(case, "One run.", ["CAN-05"])
    assert [sorted(entry) for entry in written["timeline"]] == [["cancel"], ["execute", "when"]]
    assert case_of(written) == case
    del written["timeline"][1]["when"]
    assert case_of(written) is None
