"""Conditions, judged on what a history has so far."""

from __future__ import annotations

from typing import Any

import pytest

from harness.history import HistoryWriter
from harness.observer import Answer
from harness.runner.conditions import judge
from harness.runner.probes import Probes, requests_in
from harness.runner.view import View

RUN = "run-1"
VALUES = {"r": {"id": RUN}, "workflows": {}, "unique": "u"}
PLAN = {"steps": {"a": {"id": "a", "agent_name": "one"}, "b": {"id": "b", "agent_name": "two"}}}


class Told:
    """A history that a test tells, and the view on it."""

    def __init__(self) -> None:
        self.writer = HistoryWriter(None)
        self.view = View()
        self.writer.listen(self.view.hear)
        self.writer.add("harness", "run", RUN, alias="r", plan=PLAN)

    def run_row(self, **row: Any) -> None:
        self.writer.add("database", "run_row", RUN, row={"run_id": RUN, "error_message": None, **row})

    def step_row(self, identity: int, step: str, **row: Any) -> None:
        given = {"id": identity, "run_id": RUN, "step_id": step, "started_at": f"2026-01-01T00:00:0{identity}", **row}
        self.writer.add("database", "step_row", RUN, row=given)

    def task(self, task_id: str, agent: str, input_data: Any = None) -> None:
        value = {"run_id": RUN, "task_id": task_id, "agent_name": agent, "input_data": input_data or {}}
        self.writer.add("kafka", "message", RUN, topic="tasks", value=value, key=RUN, headers={}, by="subject")

    def call(self, number: int, task_id: str, key: str | None = "k", input_data: Any = None) -> None:
        self.writer.add(
            "agent", "call", RUN, call=number, agent="w", task_id=task_id, idempotency_key=key, input=input_data or {}
        )

    def answer(self, number: int) -> None:
        self.writer.add("agent", "answer", RUN, call=number, agent="w", ending="answered")

    def holds(self, condition: dict[str, Any], **bound: Any) -> bool | None:
        return judge(condition, self.view, {**VALUES, **bound}, Probes()).holds


@pytest.fixture
def told() -> Told:
    return Told()


def test_nothing_is_said_of_a_run_that_has_no_row_yet(told: Told) -> None:
    assert told.holds({"run": "r", "is": "RUNNING"}) is None
    assert told.holds({"not": {"run": "r", "is": "RUNNING"}}) is None
    assert told.holds({"run": "nobody", "is": "RUNNING"}) is None


def test_a_run_is_what_its_latest_row_says(told: Told) -> None:
    told.run_row(status="RUNNING")
    assert told.holds({"run": "r", "is": "RUNNING"}) is True
    told.run_row(status="FAILED", error_message="step a: no luck")
    assert told.holds({"run": "r", "is": "RUNNING"}) is False
    assert told.holds({"run": "r", "is": "FAILED", "error": {"contains": "no luck"}}) is True
    assert told.holds({"run": "r", "row": {"completed_at": {"exists": False}}}) is True


def test_a_snapshot_is_as_good_as_a_row(told: Told) -> None:
    row = {"id": 1, "run_id": RUN, "step_id": "a", "status": "COMPLETED", "started_at": "1", "output_data": {"x": 1}}
    told.writer.add("database", "snapshot", RUN, because=0, run_row={"status": "RUNNING"}, step_rows=[row])
    assert told.holds({"run": "r", "is": "RUNNING"}) is True
    assert told.holds({"run": "r", "step": "a", "is": "COMPLETED", "output": {"x": 1.0}}) is True


def test_the_newest_row_of_a_step_counts_and_an_iteration_chooses_one(told: Told) -> None:
    told.step_row(1, "a", status="FAILED")
    told.step_row(2, "a", status="COMPLETED", branch_name="left")
    assert told.holds({"run": "r", "step": "a", "is": "COMPLETED"}) is True
    assert told.holds({"run": "r", "step": "a", "iteration": 0, "is": "FAILED"}) is True
    assert told.holds({"run": "r", "step": "a", "branch": "left", "is": "COMPLETED"}) is True
    assert told.holds({"run": "r", "step": "a", "branch": "right", "is": "COMPLETED"}) is None


def test_a_row_that_vanished_is_no_row(told: Told) -> None:
    told.step_row(1, "a", status="RUNNING")
    told.writer.add("database", "step_row", RUN, row=None, id=1, step_id="a")
    assert told.holds({"run": "r", "step": "a", "is": "RUNNING"}) is None


def test_steps_are_in_the_order_in_which_they_began(told: Told) -> None:
    told.step_row(2, "b", status="RUNNING")
    told.step_row(1, "a", status="COMPLETED")
    assert told.holds({"run": "r", "steps": ["a", "b"]}) is True
    assert told.holds({"run": "r", "steps": ["b", "a"]}) is False


def test_times_counts_different_tasks_not_copies(told: Told) -> None:
    for task_id in ("t1", "t1", "t2"):
        told.task(task_id, "one")
    told.task("t3", "two")
    assert told.holds({"run": "r", "step": "a", "times": 2}) is True
    assert told.holds({"run": "r", "step": "b", "times": {"at_least": 1, "at_most": 1}}) is True


def test_steps_that_share_an_agent_are_told_apart_by_their_inputs() -> None:
    told = Told()
    plan = {"steps": {"a": {"id": "a", "agent_name": "one"}, "b": {"id": "b", "agent_name": "one"}}}
    told.writer.add("harness", "run", RUN, alias="r", plan=plan)
    told.step_row(1, "a", status="COMPLETED", input_data={"n": 1})
    told.step_row(2, "b", status="RUNNING", input_data={"n": 2})
    told.task("t2", "one", {"n": 2})
    told.task("t1", "one", {"n": 1})
    told.task("t3", "one", {"n": 2})
    assert told.holds({"run": "r", "step": "a", "times": 1}) is True
    assert told.holds({"run": "r", "step": "b", "times": 2}) is True


def test_calls_open_together_are_counted_at_their_most(told: Told) -> None:
    told.call(1, "t1")
    told.call(2, "t2")
    told.answer(1)
    told.call(3, "t3")
    assert told.holds({"agent": "w", "calls": 3, "answered": 1, "at_once": 2}) is True


def test_keys_are_the_same_only_when_every_call_of_a_task_has_one_key(told: Told) -> None:
    told.call(1, "t1", "k1")
    told.call(2, "t1", "k1")
    assert told.holds({"agent": "w", "keys": "same"}) is True
    told.call(3, "t1", "k2")
    assert told.holds({"agent": "w", "keys": "same"}) is False


def test_messages_are_counted_by_their_fields_sender_and_key(told: Told) -> None:
    told.task("t1", "one", {"x": 1})
    condition = {"message": {"topic": "tasks", "by": "subject", "key": RUN, "where": {"input_data": {"x": 1}}}}
    assert told.holds(condition) is True
    assert told.holds({**condition, "count": 2}) is False
    assert told.holds({"message": {"topic": "tasks", "by": "harness"}, "count": 0}) is True


@pytest.mark.parametrize(
    ("topic", "first", "second", "by", "count"),
    [
        ("tasks", {"task_id": "t", "timestamp": 1}, {"task_id": "t", "timestamp": 2}, "subject", 1),
        ("tasks", {"task_id": "t"}, {"task_id": "u"}, "subject", 2),
        ("dead_letters", {"x": 1, "y": 2}, {"y": 2, "x": 1}, "subject", 1),
        ("dead_letters", {"x": 1}, {"x": 2}, "subject", 2),
        ("results", {"task_id": "t"}, {"task_id": "t"}, "harness", 2),
        # Those of two iterations may be equal.
        ("updates", {"step_id": "a"}, {"step_id": "a"}, "subject", 2),
    ],
)
def test_copies_of_what_the_subject_publishes_count_once(
    told: Told, topic: str, first: Any, second: Any, by: str, count: int
) -> None:
    for value in (first, second):
        told.writer.add("kafka", "message", RUN, topic=topic, value=value, key=RUN, headers={}, by=by)
    assert told.holds({"message": {"topic": topic}, "count": count}) is True


def test_a_value_is_bound_once_and_compared_later(told: Told) -> None:
    values: dict[str, Any] = {**VALUES}
    told.step_row(1, "a", status="COMPLETED", output_data={"n": 5})
    binding = {"run": "r", "step": "a", "output": {"n": {"bind": "number"}}}
    assert judge(binding, told.view, values, Probes()).holds is True
    assert values["number"] == 5
    told.step_row(2, "b", status="COMPLETED", output_data={"n": 6})
    other = {"run": "r", "step": "b", "output": {"n": "{{number}}"}}
    assert judge(other, told.view, values, Probes()).holds is False


def test_what_does_not_hold_binds_nothing(told: Told) -> None:
    values: dict[str, Any] = {**VALUES}
    told.step_row(1, "a", status="RUNNING", output_data={"n": 5})
    condition = {"run": "r", "step": "a", "is": "COMPLETED", "output": {"n": {"bind": "number"}}}
    assert judge(condition, told.view, values, Probes()).holds is False
    assert "number" not in values


def test_all_any_and_not_keep_what_is_not_known_apart_from_what_is_false(told: Told) -> None:
    told.run_row(status="RUNNING")
    yes, no = {"run": "r", "is": "RUNNING"}, {"run": "r", "is": "FAILED"}
    open_one = {"run": "r", "step": "a", "is": "RUNNING"}
    assert told.holds({"all": [yes, open_one]}) is None
    assert told.holds({"all": [no, open_one]}) is False
    assert told.holds({"any": [yes, open_one]}) is True
    assert told.holds({"any": [no, open_one]}) is None
    assert told.holds({"not": no}) is True


def test_rest_conditions_ask_for_their_requests_and_are_held_to_the_answers(told: Told) -> None:
    condition = {"rest": {"path": "/runs/{{r.id}}"}, "status": 200, "answer": {"like": {"status": "RUNNING"}}}
    ((key, request),) = requests_in(condition, VALUES)
    assert request == {"path": f"/runs/{RUN}"}
    assert told.holds(condition) is None
    for answer, expected in (
        (Answer(200, {"status": "RUNNING"}), True),
        (Answer(200, {"status": "FAILED"}), False),
        (Answer(404, {"status": "RUNNING"}), False),
        (Answer(None, "refused"), False),
    ):
        probes = Probes(answers={key: answer})
        assert judge(condition, told.view, dict(VALUES), probes).holds is expected


def test_the_status_that_readers_saw_is_of_the_last_answer(told: Told) -> None:
    for number, status in enumerate(("PENDING", "RUNNING")):
        told.writer.add("rest", "request", RUN, request=number, method="GET", path=f"/runs/{RUN}")
        told.writer.add("rest", "answer", RUN, request=number, status=200, body={"status": status})
    assert told.holds({"run": "r", "rest": "RUNNING"}) is True
    assert told.holds({"run": "r", "rest": "PENDING"}) is False


def test_rows_of_a_table_are_counted_by_their_columns() -> None:
    rows = [{"name": "x", "version": 1, "description": None}, {"name": "y", "version": 2}]
    view, values = View(), {"workflows": {"main": {"name": "x"}}}

    def holds(condition: dict[str, Any], **tables: Any) -> bool | None:
        return judge(condition, view, dict(values), Probes(tables=tables)).holds

    wanted = {"name": "{{workflows.main.name}}", "version": {"type": "integer"}, "description": {"exists": True}}
    assert holds({"table": "agents", "where": wanted}, agents=rows) is True
    assert holds({"table": "agents", "where": {**wanted, "created_by": {"exists": True}}}, agents=rows) is False
    assert holds({"table": "agents", "where": {"name": "y", "description": {"exists": True}}}, agents=rows) is False
    assert holds({"table": "agents", "count": 2}, agents=rows) is True
    assert holds({"table": "agents", "count": {"at_least": 0}}, agents="there is no table agents") is False
    assert holds({"table": "agents", "where": wanted}) is None


def test_a_list_of_inputs_can_be_held_to_any_matcher(told: Told) -> None:
    told.call(1, "t1", input_data={"n": 1})
    told.call(2, "t2", input_data={"n": 2})
    assert told.holds({"agent": "w", "inputs": {"contains": {"n": 2}}}) is True
    assert told.holds({"agent": "w", "inputs": {"contains": {"n": 3}}}) is False
    assert told.holds({"agent": "w", "inputs": {"length": 2}}) is True
    assert told.holds({"agent": "w", "inputs": [{"n": 1}, {"n": 2}]}) is True


def test_a_message_is_consumed_once_an_offset_behind_it_is_committed(told: Told) -> None:
    """On its own partition; an offset that is set back later changes nothing."""

    def committed(partition: int, offset: int) -> None:
        told.writer.add(
            "kafka", "committed", group="g", topic="cancellations", partition=partition, offset=offset
        )  # fmt: skip

    data = {"topic": "cancellations", "partition": 3, "offset": 7, "key": RUN, "headers": {}, "by": "harness"}
    told.writer.add("kafka", "message", RUN, value={"run_id": RUN}, **data)
    consumed = {"message": {"topic": "cancellations", "where": {"run_id": "{{r.id}}"}, "consumed": True}}
    assert told.holds(consumed) is False
    committed(2, 90)
    committed(3, 7)
    assert told.holds(consumed) is False
    committed(3, 8)
    assert told.holds(consumed) is True
    committed(3, 0)
    assert told.holds(consumed) is True
