"""Definitions that are invalid in one way are drawn, offered, judged, and made small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.exploration.files import document, expected_of, text_of
from harness.exploration.judging import LEFT_BEHIND, Judged, judge
from harness.exploration.profiles import Drawn, keys_of
from harness.generation import WAYS, Case
from harness.generation.flawed import small_flawed
from harness.history import Event, HistoryWriter
from harness.scenario import load
from harness.shrinking import smaller_cases

RUN = "run-11111111-1111-4111-8111-111111111111"


def _case(via: str | None) -> Case:
    return small_flawed("a cycle", via)[0]


def test_a_batch_has_some_of_both_kinds_and_draws_them_again() -> None:
    """As definitions and as runs where there is an API, as runs alone where there is none."""
    keys = [key for seed in range(4) for key in keys_of(Drawn("smoke", seed, 30))]
    assert keys[:30] == keys_of(Drawn("smoke", 0, 30))[:30]
    flawed = [case for case in map(Case.of_key, keys) if case.flaw is not None]
    assert {case.via for case in flawed} == {None, "rest"}
    alone = [Case.of_key(key) for seed in range(2) for key in keys_of(Drawn("smoke", seed, 30, has_api=False))]
    assert {case.via for case in alone if case.flaw is not None} == {None}


@pytest.mark.parametrize("via", [None, "rest"])
def test_every_way_is_a_scenario_file(via: str | None, tmp_path: Path) -> None:
    """That loads without a mistake."""
    folder = tmp_path / "scenarios" / "found"
    folder.mkdir(parents=True)
    for number, way in enumerate(list(WAYS)[:: 3 if via is None else 2]):
        cases = small_flawed(way, via)
        if not cases or (via is None and "name" in way):
            continue
        path = folder / f"case_{number}.yaml"
        expect = expected_of(cases[0], Judged((), (), None, ()))
        path.write_text(text_of(document(cases[0], "It is refused.", ["DEF-16"], expect), ["one"]), encoding="utf-8")
        (scenario,) = load(path)
        assert [act.word for act in scenario.timeline] == ["rest" if via == "rest" else "execute"]
        # An API of the subject must not come to see the plan that the run is to fail of.
        assert via == "rest" or scenario.timeline[0].arguments["via"] == "kafka"


def _offered(status: int) -> tuple[Event, ...]:
    writer = HistoryWriter(None)
    writer.add("harness", "begin", scenario="generated/1", agents={}, roles=["api"], played=[])
    writer.add("rest", "request", request=1, method="POST", path="/workflows", body={})
    writer.add("rest", "answer", request=1, status=status, body={})
    return writer.history().events


@pytest.mark.parametrize(
    ("status", "refusal", "clauses"),
    [(422, None, []), (201, "201, expected 400 or 422", ["DEF-09"]), (422, "no text holds 'a'", ["DEF-16"]), (422, LEFT_BEHIND, ["DEF-09"])],
)  # fmt: skip
def test_a_definition_must_be_refused_with_its_place_and_leave_nothing(
    status: int, refusal: str | None, clauses: list[str]
) -> None:
    """Each with the clause that it is about."""
    judged = judge(_case("rest").key, None, _offered(status), refusal)
    assert [one.clause for one in judged.findings if one.checker == "oracle"] == clauses


def _run(status: str, error: str | None, tasks: int) -> tuple[Event, ...]:
    writer = HistoryWriter(None)
    writer.add("harness", "begin", scenario="generated/1", agents={}, roles=["consumer"], played=["api", "bridge"])
    plan: Any = {"workflow_id": "wf-main-1", "version": "1", **_case(None).workflow}
    writer.add("harness", "run", RUN, alias="r", workflow="main", plan=plan, input={}, via="kafka")
    for number in range(tasks):
        value = {"run_id": RUN, "task_id": f"t{number}", "agent_name": "w", "input_data": {}}
        writer.add("kafka", "message", RUN, topic="tasks", partition=0, offset=number, key=RUN, value=value, headers={}, by="subject")  # fmt: skip
    writer.add("database", "run_row", RUN, row={"run_id": RUN, "status": status, "error_message": error})
    return writer.history().events


@pytest.mark.parametrize(
    ("status", "error", "tasks", "wrong"),
    [("FAILED", "a cycle at a", 0, 0), ("COMPLETED", None, 0, 1), ("FAILED", None, 0, 1), ("FAILED", "late", 1, 1)],
)
def test_a_run_of_one_must_fail_with_a_reason_and_without_a_task(
    status: str, error: str | None, tasks: int, wrong: int
) -> None:
    """FAI-06."""
    judged = judge(_case(None).key, status, _run(status, error, tasks))
    assert [one.clause for one in judged.findings if one.checker == "oracle"] == ["FAI-06"] * wrong


def test_a_large_one_becomes_a_small_one_with_the_same_flaw() -> None:
    """And its key holds the flaw."""
    large = next(
        case
        for seed in range(20)
        for case in map(Case.of_key, keys_of(Drawn("ci", seed, 15)))
        if case.flaw is not None and len(case.workflow["steps"]) > 3
    )
    small = min(smaller_cases(large), key=lambda case: len(case.key))
    assert small.flaw is not None
    assert large.flaw is not None
    assert (small.flaw["way"], small.via) == (large.flaw["way"], large.via)
    assert len(small.workflow["steps"]) < len(large.workflow["steps"])
    assert Case.of_key(small.key) == small
