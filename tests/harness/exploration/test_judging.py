"""A generated run is judged by its history alone: by the oracle, by the checkers, and by what could not be done to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.exploration.deaths import SIMPLEST, _with_deaths
from harness.exploration.judging import WISHED, judge
from harness.generation import Case
from harness.history import Event, HistoryWriter
from harness.shrinking.mending import with_changes

RUN = "run-11111111-1111-4111-8111-111111111111"
STARTED, ENDED = "2026-01-01T00:00:01+00:00", "2026-01-01T00:00:02+00:00"
CASE = Case(
    {"name": "main", "start_step": "a", "steps": {"a": {"id": "a", "agent_name": "w"}}}, {"w": [{"ok": {"n": 1}}]}, {}
)


def _history(output: Any, status: str = "COMPLETED") -> tuple[Event, ...]:
    writer = HistoryWriter(None)
    plan = {"workflow_id": "wf-main-1", "version": "1", **CASE.workflow}
    plan["steps"] = {"a": {"id": "a", "agent_name": "w-0"}}
    writer.add(
        "harness", "begin", scenario="generated/1", agents={"w": "w-0"}, roles=["consumer"], played=["api", "bridge"]
    )
    writer.add("harness", "run", RUN, alias="r", workflow="main", plan=plan, input={}, via="kafka")
    task = {
        "run_id": RUN,
        "task_id": "t",
        "agent_name": "w-0",
        "input_data": {},
        "correlation_id": "c",
        "timestamp": STARTED,
    }
    writer.add(
        "kafka", "message", RUN, topic="tasks", partition=0, offset=0, key=RUN, value=task, headers={}, by="subject"
    )  # fmt: skip
    row = {
        "run_id": RUN, "workflow_id": "wf-main-1", "workflow_name": "main", "status": status, "input_data": {},
        "error_message": None if status == "COMPLETED" else "step 'a'", "created_at": STARTED, "completed_at": ENDED,
    }  # fmt: skip
    step = {
        "id": 1, "run_id": RUN, "step_id": "a", "step_name": "a", "agent_name": "w-0", "status": status, "input_data": {},
        "output_data": output if status == "COMPLETED" else None, "error_message": row["error_message"],
        "started_at": STARTED, "completed_at": ENDED,
    }  # fmt: skip
    writer.add("database", "run_row", RUN, row=row)
    writer.add("database", "step_row", RUN, row=step)
    return writer.history().events


def _told(*arguments: Any) -> list[tuple[str, str]]:
    return [
        (one.checker, one.clause)
        for one in judge(CASE.key, *arguments).findings
        if one.checker in ("oracle", "timeline")
    ]


def test_a_run_as_it_must_be_is_left_alone() -> None:
    """No finding, no crash, and the oracle had something to say."""
    judged = judge(CASE.key, "COMPLETED", _history({"n": 1}))
    assert (judged.findings, judged.crashes, judged.undecided) == ((), (), None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("COMPLETED", _history({"n": 2})), [("oracle", "CMP-07")]),
        (("FAILED", _history(None, "FAILED")), [("oracle", "CMP-02"), ("oracle", "CMP-03")]),
        ((None, _history({"n": 1})), [("oracle", "CMP-01")]),
        (("COMPLETED", _history({"n": 1}), "the retry was refused"), [("timeline", "CMP-01")]),
    ],
)
def test_what_is_not_allowed_is_found(arguments: Any, told: list[tuple[str, str]]) -> None:
    """An output, an end, no end, and an act that the subject would not do."""
    assert _told(*arguments) == told


@pytest.mark.parametrize(("is_disturbed", "told"), [(False, ["act not possible"]), (True, [])])
def test_what_could_not_be_done_accuses_nobody_where_the_outcome_is_not_known(
    is_disturbed: bool, told: list[str]
) -> None:
    """A process that died may have had an agent called twice, whose second answer is another: the run need not be COMPLETED."""
    act = {"when": {"run": "r", "is": "COMPLETED"}, "duplicate": {"topic": "requests", "where": {"run_id": "{{r.id}}"}}}
    case = with_changes(CASE, agents={"w": [{"ok": {"n": 1}}, {"fail": "no"}]}, timeline=(act,))
    judged = judge(
        case.key, "COMPLETED", _history({"n": 1}), "what the timeline waits for has not come", is_disturbed=is_disturbed
    )
    assert [one.anomaly for one in judged.findings if one.checker == "timeline"] == told


def test_a_process_dies_only_at_what_is_sure_to_come_about() -> None:
    """An agent behind one that fails is not called, and a process that waits for it would never die."""
    steps = {"a": {"id": "a", "agent_name": "w", "next_step": "b"}, "b": {"id": "b", "agent_name": "v"}}
    case = Case({"name": "main", "start_step": "a", "steps": steps}, {"w": [{"fail": "no"}], "v": [{"ok": {}}]}, {})
    found = [one for one in _with_deaths(case, ["consumer"]) if one.agents.keys() != SIMPLEST.agents.keys()]
    assert {act["when"]["agent"] for one in found for act in one.timeline if "kill" in act} == {"w"}
    assert any("held" in script[0] for one in found for script in one.agents.values())


def test_what_an_api_ought_to_have_refused_names_its_clause() -> None:
    ended = {"run": "r", "is": "COMPLETED"}
    asked = {"method": "POST", "path": "/runs/{{r.id}}/retry", "body": {}, "status": {"one_of": [400, 409]}}
    case = with_changes(CASE, timeline=({"when": ended, "rest": asked},))
    judged = judge(case.key, "COMPLETED", _history({"n": 1}), "answered with 202")
    assert [(one.checker, one.clause) for one in judged.findings] == [("timeline", "API-24")]


def test_what_should_be_counts_for_those_who_ask() -> None:
    events = list(_history({"n": 1}))
    number = len(events)
    at = events[-1].at
    said: list[tuple[str, str, str | None, dict[str, Any]]] = [
        (
            "agent",
            "call",
            RUN,
            {"call": 1, "agent": "w-0", "task_id": "t", "idempotency_key": "x", "correlation_id": "c"},
        ),
    ]
    for source, kind, run, data in said:
        events.append(Event(number, at, STARTED, source, kind, run, {"breach": None, "lacking": None, **data}))  # type: ignore[arg-type]
    played = [
        replace(event, data={**event.data, "roles": ["bridge"]}) if event.kind == "begin" else event for event in events
    ]
    assert not [one for one in judge(CASE.key, "COMPLETED", played).findings if one.clause == "AGT-04"]
    assert [one for one in judge(CASE.key, "COMPLETED", played, also=WISHED).findings if one.clause == "AGT-04"]


def test_a_neighbour_is_judged_as_well() -> None:
    """Its row is not what the oracle says of its input."""
    case = with_changes(CASE, timeline=({"execute": {"as": "other"}},))
    mine = list(_history({"n": 1}))
    other = [
        replace(
            event,
            seq=len(mine) + number,
            run="run-2",
            data={**event.data, **({"alias": "other"} if event.kind == "run" else {})},
        )
        for number, event in enumerate(mine[1:])
    ]
    wrong = [
        replace(event, data={**event.data, "row": {**event.data["row"], "output_data": {"n": 2}}})
        if event.kind == "step_row"
        else event
        for event in other
    ]
    told = {
        one.clause: one.run for one in judge(case.key, "COMPLETED", [*mine, *wrong]).findings if one.checker == "oracle"
    }
    assert told == {"CMP-07": "run-2"}
    assert not [one for one in judge(case.key, "COMPLETED", [*mine, *other]).findings if one.checker == "oracle"]
