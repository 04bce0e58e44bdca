"""No checker accuses what keeps the contract, however it is seen."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checkers import CHECKERS, Crash, check_all
from harness.checkers.checker import Checker
from harness.history import Event, History, read_history
from tests.harness.checkers.shapes import CHAIN, CONDITION, GOOD, PARALLEL, fork_plan, history, loop_output, loop_plan
from tests.harness.checkers.story import Story, clauses, judged, masked, steps
from tests.profiles import bounded

REAL = sorted((Path(__file__).parent / "histories").glob("*.jsonl"))


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_accuses_nobody(name: str) -> None:
    assert judged(history(name)) == []


@pytest.mark.parametrize("path", REAL, ids=[path.stem for path in REAL])
def test_a_history_of_the_reference_accuses_nobody(path: Path) -> None:
    assert judged(read_history(path)) == []


def test_a_task_that_the_broker_had_before_the_end_was_read_accuses_nobody_however_late_it_is_seen() -> None:
    """The same message is a finding where the broker took it after the end had been read."""

    def told(appended: str) -> History:
        story = Story()
        run = story.run(steps("a", "b"), {})
        story.take_up(run)
        one = story.begin(run, "a")
        story.serve(one, {"v": 1})
        story.over(run)
        story.wait(30)
        late = story.message(
            "tasks", {"run_id": run, "task_id": "late", "agent_name": "worker", "input_data": {}}, run=run
        )
        late.data["appended"] = appended
        return story.end()

    assert "after_end" not in {finding.checker for finding in judged(told("2026-01-01T00:00:00.000+00:00"))}
    assert "after_end" in {finding.checker for finding in judged(told("2026-01-01T00:00:29.000+00:00"))}


def test_an_equal_copy_of_an_update_accuses_nobody() -> None:
    story = Story()
    run = story.run(steps("a"), {})
    story.take_up(run)
    one = story.begin(run, "a")
    told = next(event for event in reversed(story.events) if event.kind == "message" and event["topic"] == "updates")
    story.message("updates", dict(told["value"]), run=run)
    story.serve(one, {"v": 1})
    story.over(run)
    assert judged(story.end()) == []


@pytest.mark.parametrize("told", ["I was given ***", "", "I was given s3cret"])
def test_a_bridge_may_hide_a_secret_that_an_agent_repeats(told: str) -> None:
    assert judged(masked({"v": 1, "said": "nothing to hide", "echo": told, "text": ""})) == []


def test_there_are_histories_of_the_reference() -> None:
    assert len(REAL) >= 3


def seen_otherwise(good: History, chance: random.Random) -> History:
    """The same run as another observer could have seen it: messages later, within each topic in order, snapshots with what the
    database held by then, and some rows not polled between their changes."""
    keyed: list[tuple[float, Event]] = []
    latest: dict[str, float] = {}
    for event in good:
        place = float(event.seq)
        if event.kind == "message":
            place = max(latest.get(event["topic"], 0.0), place + chance.choice((0, 0, 1, 3, 8)))
            latest[event["topic"]] = place
        if event.kind == "end":
            place = float("inf")
        if event.kind != "snapshot":
            keyed.append((place, event))
    keyed.sort(key=lambda pair: (pair[0], pair[1].seq))
    wanted = {event["because"] for event in good.of("snapshot")}
    last_poll = {str((e.run, (e["row"] or {}).get("id"))): e.seq for e in good if e.kind in ("run_row", "step_row")}
    runs: dict[Any, Any] = {}
    rows: dict[Any, dict[Any, Any]] = {}
    events: list[Event] = []

    def add(old: Event, **data: Any) -> None:
        now = max(old.at, events[-1].at if events else 0.0)
        events.append(Event(len(events), now, old.wall, old.source, old.kind, old.run, {**old.data, **data}))

    for _, event in keyed:
        if event.kind == "run_row":
            runs[event.run] = event["row"]
        elif event.kind == "step_row":
            rows.setdefault(event.run, {})[event["row"]["id"]] = event["row"]
        if event.kind in ("run_row", "step_row"):
            is_last = last_poll[str((event.run, (event["row"] or {}).get("id")))] == event.seq
            if not is_last and chance.random() < 0.3:
                continue
        add(event)
        if event.seq in wanted:
            state = {
                "because": len(events) - 1,
                "run_row": runs.get(event.run),
                "step_rows": list(rows.get(event.run, {}).values()),
            }
            events.append(
                Event(len(events), events[-1].at, event.wall, "database", "snapshot", event.run, copy.deepcopy(state))
            )
    return History(tuple(events))


@pytest.mark.parametrize("name", GOOD)
@bounded(25)
@given(seed=st.integers(0, 2**32))
def test_what_is_seen_later_or_not_at_all_accuses_nobody(name: str, seed: int) -> None:
    assert judged(seen_otherwise(history(name), random.Random(seed))) == []


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_breaks_off_anywhere_accuses_nobody(name: str) -> None:
    good = history(name)
    for length in range(1, len(good), 3):
        assert judged(History(good.events[:length])) == []


def begun(plan: dict[str, Any], given_input: Any = None, **story: Any) -> tuple[Story, str]:
    told = Story(**story)
    run = told.run(plan, given_input or {})
    told.take_up(run)
    return told, run


def test_a_run_that_nobody_waited_for_may_stay_open() -> None:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, {"v": 1})
    story.add("harness", "end", reason="done")
    assert judged(History(tuple(story.events))) == []


def test_a_run_may_stay_open_while_its_consumer_is_down() -> None:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, {"v": 1})
    story.process("killed")
    assert judged(story.end()) == []


@pytest.mark.parametrize(
    "field", [{"max_parallelism": -1}, {"parallel_steps": ["x"]}, {"parallel_steps": None}, {"type": "no such type"}]
)
def test_a_run_with_a_plan_that_is_not_valid_may_fail_without_any_step(field: dict[str, Any]) -> None:
    plan = copy.deepcopy(PARALLEL)
    plan["steps"]["p"].update(field)
    story = Story()
    run = story.run(plan, {}, via="kafka")
    story.over(run, "FAILED", "the plan is not valid: p")
    assert judged(story.end()) == []


def test_keys_that_are_no_texts_in_the_harness_are_texts_in_json() -> None:
    story, run = begun(steps("a", a={"input_mapping": {"x": "${workflow.input}"}}), {True: 1, 5: 2})
    story.do(run, "a", {"x": {"true": 1, "5": 2}}, {})
    story.over(run)
    assert judged(story.end()) == []


def test_a_run_may_stay_open_while_its_agent_hangs() -> None:
    story, run = begun(CHAIN, {"w": 1})
    story.call(story.begin(run, "a"))
    assert judged(story.end()) == []


def test_an_expectation_that_timed_out_tells_that_its_run_was_waited_for() -> None:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, {"v": 1})
    story.add(
        "harness",
        "expectation",
        expectation={"run": "r", "is": "COMPLETED"},
        mode="eventually",
        state="timed out",
        found="",
    )
    story.add("harness", "end", reason="timed out")
    assert clauses(History(tuple(story.events))) == {("runs_end", "CMP-01")}


def test_a_result_in_flight_may_arrive_after_a_cancellation_and_change_nothing() -> None:
    assert judged(history("cancelled")) == []


def test_a_task_that_was_on_its_way_may_be_seen_right_after_a_cancellation() -> None:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    story.ask(one, {"v": 1})
    story.finish(one, {"v": 1})
    story.set_run(run, status="CANCELLED", cancelled_at=story.now())
    two = story.begin(run, "b", {"x": 1})
    two.row["status"] = "CANCELLED"
    story.add("database", "step_row", run, row=two.row)
    story.ask(two, {"v": "2"})
    assert judged(story.end()) == []


def test_a_cancelled_step_in_flight_keeps_its_id_over_a_retry() -> None:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    call = story.call(one)
    story.rest("POST", f"/runs/{run}/cancel", 202)
    one.row["status"] = "CANCELLED"
    story.over(run, "CANCELLED")
    story.add("database", "step_row", run, row=one.row)
    story.rest("POST", f"/runs/{run}/retry", 202)
    story.set_run(run, status="PENDING", cancelled_at=None)
    story.take_up(run)
    one.row["status"] = "RUNNING"
    story.add("database", "step_row", run, row=one.row)
    story.wait(3)
    story.task(one)
    story.answer(one, call, {"v": 0})
    story.result(one, {"v": 0})
    story.ask(one, {"v": 1})
    story.finish(one, {"v": 1})
    story.do(run, "b", {"x": 1}, {"v": "2"})
    story.do(run, "c", {"text": "got 2", "w": 1}, {})
    story.over(run)
    assert judged(story.end()) == []


def test_a_retry_from_a_step_runs_it_and_what_follows_again() -> None:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, {"v": 1})
    story.do(run, "b", {"x": 1}, {"v": "2"})
    story.do(run, "c", {"text": "got 2", "w": 1}, error="no")
    story.over(run, "FAILED", "step c: no")
    story.wait(1)
    request, _ = story.rest("POST", f"/runs/{run}/retry", 202)
    request.data["body"] = {"resume_from_step": "b"}  # type: ignore[index]
    story.set_run(run, status="PENDING", error_message=None, completed_at=None)
    story.take_up(run)
    story.do(run, "b", {"x": 1}, {"v": "3"})
    story.do(run, "c", {"text": "got 3", "w": 1}, {})
    story.over(run)
    assert judged(story.end()) == []


def test_a_refused_retry_changes_nothing_and_excuses_nothing() -> None:
    story, run = begun(steps("a"))
    story.rest("POST", f"/runs/{run}/retry", 409)
    one = story.begin(run, "a")
    story.task(one, task_id="task-anew")
    story.serve(one, {})
    story.over(run)
    assert clauses(story.end()) == {("too_many_ids", "CMP-08")}


def test_iterations_with_equal_items_have_equal_inputs_and_ids_of_their_own() -> None:
    story, run = begun(
        steps(
            "l",
            l={"type": "loop", "loop_config": {"collection": [7, 7], "loop_body": ["x"]}},
            x={"input_mapping": {"i": "${loop.item}"}},
        )
    )
    story.do(run, "x", {"i": 7}, {"v": 1})
    story.do(run, "x", {"i": 7}, {"v": 1})
    story.composite(run, "l", loop_output(("x", {"v": 1}), ("x", {"v": 1})))
    story.over(run)
    assert judged(story.end()) == []


def test_nested_loops_resolve_the_innermost_item() -> None:
    plan = steps(
        "o",
        o={"type": "loop", "loop_config": {"collection": "${workflow.input.rows}", "loop_body": ["i"]}},
        i={"type": "loop", "loop_config": {"collection": "${loop.item}", "loop_body": ["x"]}},
        x={"input_mapping": {"cell": "${loop.item}", "at": "${loop.index}"}},
    )
    story, run = begun(plan, {"rows": [[1, 2], [3]]})
    for cell, at in ((1, 0), (2, 1), (3, 0)):
        story.do(run, "x", {"cell": cell, "at": at}, {"v": cell})
    story.over(run)
    assert judged(story.end()) == []
    story, run = begun(plan, {"rows": [[1, 2], [3]]})
    story.do(run, "x", {"cell": 3, "at": 1}, {"v": 3})
    assert ("row_inputs", "REF-13") in clauses(story.end())


def test_a_branch_that_timed_out_fails_without_a_result_and_its_late_result_changes_nothing() -> None:
    story, run = begun(fork_plan("any", branch_timeout_seconds=0.1))
    left, right = story.begin(run, "x", {"n": 1}), story.begin(run, "v", {"n": 3})
    call = story.call(left)
    story.serve(right, {"o": 1})
    story.wait(0.2)
    story.finish(left, error="branch left timed out")
    output = {"left": None, "right": {"o": 1}}
    story.composite(run, "f", output)
    story.do(run, "z", {"all": output}, {})
    story.over(run)
    story.answer(left, call, {"v": 2})
    story.result(left, {"v": 2})
    assert judged(story.end()) == []


@pytest.mark.parametrize(
    ("numbers", "branch", "given_input"),
    [({"n": 4, "tags": ["x"]}, "e", False), ({"n": 4, "tags": 5}, "e", False), ({"n": 5, "tags": "y"}, "t", True)],
)
def test_the_branch_that_the_condition_takes_may_run(numbers: Any, branch: str, given_input: bool) -> None:
    story, run = begun(CONDITION)
    story.do(run, "a", {}, numbers)
    story.do(run, branch, {"big": given_input}, {"o": 1})
    story.do(run, "z", {"took": "then" if given_input else "else"}, {})
    story.over(run)
    assert judged(story.end()) == []


def test_an_executor_may_leave_out_rows_of_composites_and_updates_of_the_run() -> None:
    story = Story()
    run = story.run(PARALLEL, {})
    story.set_run(run, status="RUNNING")
    story.do(run, "x", {"n": 1}, {"o": 1})
    story.do(run, "y", {"n": 2}, {"o": 2})
    story.do(run, "z", {"all": {"x": {"o": 1}, "y": {"o": 2}}}, {})
    story.set_run(run, status="COMPLETED", completed_at=story.now())
    assert judged(story.end()) == []


def test_collected_entries_may_have_their_error_and_further_fields() -> None:
    story, run = begun(loop_plan(on_error="collect"), {"items": ["p"]})
    story.do(run, "x", {"item": "p", "at": 0}, error="torn")
    output = loop_output(("x", None))
    output["iterations"][0].update(error_message="torn", index=0)
    story.composite(run, "l", output)
    story.do(run, "z", {"n": 1}, {})
    story.over(run)
    assert judged(story.end()) == []


def test_what_happens_in_a_played_role_is_not_the_subjects() -> None:
    story, run = begun(steps("a"), roles=["api"])
    one = story.begin(run, "a")
    story.task(one, by="harness", task_id="task-anew", input_data={"wrong": 1})
    assert judged(story.end()) == []


def test_a_reference_in_an_objects_text_is_not_judged_by_the_order_of_its_keys() -> None:
    story, run = begun(steps("a", "b", b={"input_mapping": {"t": "is ${a.output}"}}))
    story.do(run, "a", {}, {"k": 1, "a": 2})
    story.do(run, "b", {"t": 'is {"a":2,"k":1}'}, {})
    story.over(run)
    assert judged(story.end()) == []


def test_a_checker_that_raises_is_a_crash_with_its_traceback_and_the_others_still_judge() -> None:
    def stumble(_: History) -> list[Any]:
        raise LookupError("no such thing")

    findings, crashes = check_all(history("chain"), (Checker("stumbles", "…", (), stumble), *CHECKERS))
    assert findings == []
    assert [type(crash) for crash in crashes] == [Crash]
    assert crashes[0].checker == "stumbles"
    assert "LookupError: no such thing" in crashes[0].traceback


@bounded(60)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
    topic=st.sampled_from(["requests", "cancellations", "tasks", "results", "updates", "dead_letters"]),
)
def test_no_checker_crashes_on_whatever_a_subject_publishes(value: Any, topic: str) -> None:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    event = story.message(topic, value, run=run)
    event.data["from_topic"] = "results"  # type: ignore[index]
    if isinstance(value, dict):
        event.data["value"] = {"run_id": run, "task_id": one.task_id, "step_id": "a", "status": "COMPLETED", **value}  # type: ignore[index]
    judged(story.end())


@pytest.mark.parametrize(
    ("config", "found"), [({"branch_timeout_seconds": 1}, set()), ({}, {("composite_rows", "LOP-12"), ("composite_rows", "FJN-03")})]
)  # fmt: skip
def test_a_loop_that_the_time_out_of_its_branch_ended(config: dict[str, Any], found: set[tuple[str, str]]) -> None:
    """All that was open in the branch is FAILED, a loop that collects errors too; without a time-out it is accused."""
    branches = {"left": {"steps": ["l"]}, "right": {"steps": ["v"]}}
    plan = steps(
        "f",
        f={"type": "fork_join", "fork_join_config": {"branches": branches, "join_policy": "any", **config}},
        l={"type": "loop", "loop_config": {"collection": [1], "loop_body": ["x"], "on_error": "collect"}},
        x={"input_mapping": {"n": 1}},
        v={"input_mapping": {"n": 3}},
    )
    story, run = begun(plan)
    story.do(run, "x", {"n": 1}, error="the branch timed out")
    story.do(run, "v", {"n": 3}, {"v": 2})
    story.composite(run, "l", None, "FAILED")
    story.composite(run, "f", {"left": None, "right": {"v": 2}})
    story.over(run)
    assert clauses(story.end()) == found


def test_any_of_several_references_that_lead_to_nothing_may_be_named() -> None:
    """A database may keep the fields of an object in another order than they were sent in (REF-11)."""
    story = Story()
    run = story.run(steps("a", a={"input_mapping": {"b": "${workflow.input.x}", "a": "${workflow.input.y}"}}), {})
    story.take_up(run)
    for named in ("x", "y"):
        row = {"id": named, "run_id": run, "step_id": "a", "agent_name": "worker", "status": "FAILED", "input_data": None,
               "output_data": None, "error_message": f"${{workflow.input.{named}}} cannot be resolved"}  # fmt: skip
        story.add("database", "step_row", run, row=row)
    assert not [one for one in judged(History(tuple(story.events))) if one.clause == "REF-11"]


def test_what_stands_behind_the_iteration_that_stopped_a_loop_has_no_end() -> None:
    """The loop has failed, and one around it that collects goes on with what it collected (LOP-06, LOP-12)."""

    def loop(*body: str, over: int, **config: Any) -> dict[str, Any]:
        return {"type": "loop", "loop_config": {"collection": [1, 2][:over], "loop_body": list(body), **config}}

    plan = steps(
        "a",
        a=loop("b", "l", over=1),
        b={"id": "b", **loop("c", over=1, on_error="collect")},
        c={"id": "c", **loop("d", over=2)},
        d={"id": "d", "agent_name": "worker", "input_mapping": {"n": "${loop.item}"}},
        l={"id": "l", "agent_name": "other", "input_mapping": {"a": "${b.output.iterations}"}},
    )
    story = Story()
    run = story.run(plan, {})
    story.take_up(run)
    story.do(run, "d", {"n": 1}, error="no")
    collected = [{"step_id": "c", "status": "FAILED", "output_data": None, "error_message": "step d failed: no"}]
    story.do(run, "l", {"a": collected}, {}, agent="other")
    story.over(run)
    assert not {one.clause for one in judged(story.end())} & {"REF-11", "LOP-06"}


def test_a_step_that_ran_in_one_iteration_may_not_have_run_in_another_with_equal_inputs() -> None:
    """What refers to it fails there (REF-11, REF-21), and the loop's output tells of it (LOP-06)."""
    plan = steps(
        "c",
        c={"type": "loop", "loop_config": {"collection": [1, 2], "on_error": "continue", "loop_body": ["d", "l"]}},
        d={
            "type": "fork_join",
            "fork_join_config": {
                "branches": {"x": {"steps": ["e", "f"]}, "y": {"steps": ["h"]}, "z": {"steps": ["i"]}},
                "join_policy": "majority",
            },
        },
        e={"id": "e", "agent_name": "first"},
        f={"id": "f", "agent_name": "worker"},
        h={"id": "h", "agent_name": "other"},
        i={"id": "i", "agent_name": "another"},
        l={"id": "l", "agent_name": "last", "input_mapping": {"j": "${f.output.j}"}},
    )
    story = Story()
    run = story.run(plan, {})
    story.take_up(run)
    story.do(run, "e", {}, error="no", agent="first")
    for _ in range(2):
        story.do(run, "h", {}, {}, agent="other")
        story.do(run, "i", {}, {}, agent="another")
    story.do(run, "e", {}, {}, agent="first")
    story.do(run, "f", {}, {"j": 1})
    story.do(run, "l", {"j": 1}, {}, agent="last")
    row = {"id": 70, "run_id": run, "step_id": "l", "step_name": "l", "status": "FAILED", "input_data": None,
           "output_data": None, "error_message": "reference ${f.output.j} cannot be resolved"}  # fmt: skip
    story.add("database", "step_row", run, row=row)
    entries = [
        {"step_id": "l", "status": "FAILED", "output_data": None},
        {"step_id": "l", "status": "COMPLETED", "output_data": {}},
    ]
    output = {"iterations": entries, "total_count": 2, "failed_count": 1}
    row = {
        **row,
        "id": 71,
        "step_id": "c",
        "step_name": "c",
        "status": "COMPLETED",
        "output_data": output,
        "error_message": None,
    }
    story.add("database", "step_row", run, row=row)
    story.over(run)
    assert not {one.clause for one in judged(story.end())} & {"REF-11", "LOP-06"}
