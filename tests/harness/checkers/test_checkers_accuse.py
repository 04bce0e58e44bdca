"""Every checker accuses what it is there for, and names exactly the clause that is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.checkers import CHECKERS
from harness.history import Event, History
from tests.harness.checkers.shapes import CHAIN, CONDITION, PARALLEL, fork_plan, history, loop_output, loop_plan
from tests.harness.checkers.story import Story, changed, clauses, judged, masked, steps

Bad = Callable[[], History]
BAD: list[tuple[str, str, str, Bad]] = []
"""(checker, clause, what is wrong, the history)."""


def bad(checker: str, clause: str) -> Callable[[Bad], Bad]:
    def note(make: Bad) -> Bad:
        BAD.append((checker, clause, make.__name__, make))
        return make

    return note


def is_message(topic: str, **fields: Any) -> Callable[[Event], bool]:
    def matches(event: Event) -> bool:
        value = event["value"] if isinstance(event["value"], dict) else {}
        return event.kind == "message" and event["topic"] == topic and all(value.get(k) == v for k, v in fields.items())

    return matches


def is_row(step: str, status: str) -> Callable[[Event], bool]:
    return lambda event: (
        event.kind == "step_row" and (event["row"]["step_id"], event["row"]["status"]) == (step, status)
    )


def value_set(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["value"].update(fields)


def rows_set(
    step: str, status: str, **columns: Any
) -> tuple[Callable[[Event], bool], Callable[[dict[str, Any]], None]]:
    """Columns of a step's rows in that status, wherever they were seen."""

    def at(event: Event) -> bool:
        return event.kind in ("step_row", "snapshot")

    def change(data: dict[str, Any]) -> None:
        for row in [data["row"]] if "row" in data else data["step_rows"]:
            if (row["step_id"], row["status"]) == (step, status):
                row.update(columns)

    return at, change


def begun(plan: dict[str, Any], given: Any = None) -> tuple[Story, str]:
    story = Story()
    run = story.run(plan, given or {})
    story.take_up(run)
    return story, run


@bad("runs_end", "CMP-01")
def never_ends() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, {"v": 1})
    return story.end()


@bad("runs_end", "RES-14")
def lost_by_a_death() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.process("killed")
    story.do(run, "a", {}, {"v": 1})
    story.process("started")
    return story.end()


@bad("runs_end", "RES-01")
def retry_that_leads_nowhere() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, error="no")
    story.over(run, "FAILED", "step a failed: no")
    story.rest("POST", f"/runs/{run}/retry", 202)
    story.set_run(run, status="PENDING", error_message=None, completed_at=None)
    return story.end()


@bad("runs_end", "AGT-22")
def task_without_result() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    story.answer(one, story.call(one), {"v": 1})
    return story.end()


@bad("runs_end", "DEL-09")
def blocked_behind_no_json() -> History:
    story = Story()
    story.message("requests", "{not json", run=None, by="harness", key=None)
    story.run(CHAIN, {"w": 1}, via="kafka")
    return story.end()


@bad("runs_end", "DEL-10")
def blocked_behind_another_schema() -> History:
    story = Story()
    story.message("requests", {"run_id": 1}, run=None, by="harness", key=None)
    story.run(CHAIN, {"w": 1}, via="kafka")
    return story.end()


@bad("offsets", "RES-14")
def request_committed_before_its_row() -> History:
    story = Story()
    run = story.run(CHAIN, {"w": 1}, via="kafka")
    assert run
    story.add("kafka", "committed", None, group="g", topic="requests", partition=0, offset=1)
    story.process("killed")
    story.process("started")
    return story.end()


@bad("offsets", "RES-16")
def result_committed_before_its_row() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    story.ask(one, {"v": 1})
    story.add("kafka", "committed", None, group="g", topic="results", partition=0, offset=1)
    story.process("killed")
    story.process("started")
    return story.end()


@bad("run_statuses", "TBL-02")
def unknown_status() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.set_run(run, status="DONE")
    return story.end()


@bad("run_statuses", "TBL-03")
def completed_becomes_failed() -> History:
    story = Story()
    run = story.run(CHAIN, {"w": 1})
    story.set_run(run, status="RUNNING")
    story.set_run(run, status="COMPLETED", completed_at=story.now())
    story.set_run(run, status="FAILED")
    return story.end()


@bad("run_statuses", "TBL-03")
def revived_more_often_than_retried() -> History:
    story = Story()
    run = story.run(CHAIN, {"w": 1})
    story.rest("POST", f"/runs/{run}/retry", 202)
    for _ in range(2):
        story.set_run(run, status="FAILED", completed_at=story.now())
        story.set_run(run, status="RUNNING", completed_at=None)
    return story.end()


@bad("run_statuses", "CAN-01")
def completed_over_cancelled() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.set_run(run, status="CANCELLED", cancelled_at=story.now())
    story.set_run(run, status="COMPLETED", completed_at=story.now(), cancelled_at=None)
    return story.end()


@bad("run_statuses", "CAN-07")
def cancelled_while_pending_and_revived() -> History:
    story = Story()
    run = story.run(CHAIN, {"w": 1})
    story.set_run(run, status="CANCELLED", cancelled_at=story.now())
    story.set_run(run, status="RUNNING", cancelled_at=None)
    return story.end()


@bad("run_statuses", "CAN-06")
def cancelled_after_its_end() -> History:
    story = Story()
    run = story.run(CHAIN, {"w": 1})
    story.set_run(run, status="FAILED", completed_at=story.now(), error_message="x")
    story.set_run(run, status="CANCELLED", completed_at=None, cancelled_at=story.now())
    return story.end()


@bad("run_statuses", "OBS-05")
def rest_shows_what_is_undone() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.rest("GET", f"/runs/{run}", 200, {**story.run_rows[run], "status": "COMPLETED"})
    story.wait(5)
    story.set_run(run, updated_at=story.now())
    return story.end()


@bad("run_statuses", "OBS-05")
def row_vanishes() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.add("database", "run_row", run, row=None)
    return story.end()


@bad("step_statuses", "OBS-05")
def completed_step_runs_again() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.do(run, "a", {}, {"v": 1})
    story.add("database", "step_row", run, row={**one.row, "status": "RUNNING"})
    return story.end()


@bad("step_statuses", "CAN-03")
def cancelled_step_completes() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    one.row["status"] = "CANCELLED"
    story.add("database", "step_row", run, row=one.row)
    story.serve(one, {"v": 1})
    return story.end()


@bad("step_statuses", "TBL-04")
def unknown_step_status() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    story.add("database", "step_row", run, row={**one.row, "status": "WAITING"})
    return story.end()


@bad("row_agents", "TBL-04")
def row_without_its_agent() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    one.row["agent_name"] = None
    story.add("database", "step_row", run, row=one.row)
    story.serve(one, {"v": 1})
    return story.end()


@bad("run_updates", "OBS-05")
def update_takes_the_end_back() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.tell_run(run, "CANCELLED")
    story.tell_run(run, "COMPLETED")
    return story.end()


@bad("accepted_cancellations", "CAN-01")
def accepted_cancellation_is_lost() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.rest("POST", f"/runs/{run}/cancel", 202)
    story.wait(5)
    story.over(run)
    return story.end()


@bad("row_inputs", "CMP-04")
def row_has_another_input() -> History:
    return changed(history("chain"), *rows_set("b", "COMPLETED", input_data={"x": 2}))


@bad("row_inputs", "CMP-05")
def input_without_mapping() -> History:
    return changed(history("chain"), *rows_set("a", "COMPLETED", input_data={"w": 1}))


@bad("row_inputs", "REF-13")
def items_swapped() -> History:
    return changed(history("loop"), *rows_set("x", "COMPLETED", input_data={"item": "p", "at": 1}))


@bad("row_inputs", "PAR-01")
def uses_another_output_of_a_parallel() -> History:
    story, run = begun(PARALLEL)
    story.do(run, "x", {"n": 1}, {"o": 1})
    story.do(run, "y", {"n": 2}, {"o": 2})
    story.do(run, "z", {"all": {"x": {"o": 1}}}, {})
    story.over(run)
    return story.end()


@bad("row_inputs", "LOP-01")
def iteration_without_item() -> History:
    story, run = begun(loop_plan(collection=[]))
    story.do(run, "x", {"item": 1, "at": 0}, {"v": 1})
    return story.end()


@bad("row_inputs", "REF-11")
def unresolvable_reference_used() -> History:
    story, run = begun(steps("a", "b", b={"input_mapping": {"x": "${a.output.nothing}"}}))
    story.do(run, "a", {}, {"v": 1})
    story.do(run, "b", {"x": None}, {})
    story.over(run)
    return story.end()


@bad("task_inputs", "CMP-04")
def task_has_another_input() -> History:
    return changed(history("chain"), is_message("tasks", input_data={"x": 1}), value_set(input_data={"x": 3}))


@bad("task_inputs", "MSG-12")
def task_for_another_agent() -> History:
    return changed(history("chain"), is_message("tasks", input_data={"x": 1}), value_set(agent_name="nobody"))


@bad("rows_have_tasks", "MSG-12")
def completed_without_calling() -> History:
    story, run = begun(steps("a"))
    row = {
        "id": 1,
        "run_id": run,
        "step_id": "a",
        "status": "COMPLETED",
        "input_data": {},
        "output_data": {},
        "agent_name": "worker",
    }
    story.step_rows[run] = [row]
    story.add("database", "step_row", run, row=row)
    story.over(run)
    return story.end()


@bad("call_inputs", "AGT-02")
def agent_gets_another_input() -> History:
    return changed(
        history("chain"),
        lambda event: event.kind == "call" and event["input"] == {"x": 1},
        lambda data: data.update(input={}),
    )


@bad("unresolvable", "REF-11")
def reference_is_not_named() -> History:
    story, run = begun(steps("a", "b", b={"input_mapping": {"x": "${a.output.nothing}"}}))
    story.do(run, "a", {}, {"v": 1})
    row = {
        "id": 9,
        "run_id": run,
        "step_id": "b",
        "status": "FAILED",
        "input_data": None,
        "output_data": None,
        "error_message": "bad input",
    }
    story.step_rows[run].append(row)
    story.add("database", "step_row", run, row=row)
    story.tell(run, "b", "FAILED")
    story.over(run, "FAILED", "step b: bad input")
    return story.end()


@bad("before_dispatch", "CMP-09")
def dispatched_before_the_output_is_durable() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    story.ask(one, {"v": 1})
    two = story.begin(run, "b", {"x": 1})
    story.finish(one, {"v": 1})
    story.serve(two, {"v": "2"})
    return story.end()


@bad("before_update", "OBS-04")
def told_before_the_row() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.ask(one, {"v": 1})
    story.tell(run, "a", "COMPLETED")
    one.row.update(status="COMPLETED", output_data={"v": 1})
    story.add("database", "step_row", run, row=one.row)
    story.over(run)
    return story.end()


@bad("row_before_request", "MSG-11")
def request_before_the_row() -> History:
    story = Story()
    run = story.run(steps("a"), {})
    request = story.message("requests", story.request(run), run=run)
    story.add("database", "snapshot", run, because=request.seq, run_row=None, step_rows=[])
    return story.end()


@bad("after_end", "FAI-04")
def task_after_a_failure() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, {"v": 1})
    story.over(run, "FAILED", "x")
    story.wait(10)
    story.begin(run, "b", {"x": 1})
    return story.end()


@bad("after_end", "CMP-02")
def task_after_completion() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, {"v": 1})
    story.over(run)
    story.wait(10)
    story.begin(run, "b", {"x": 1})
    return story.end()


@bad("after_end", "CAN-02")
def task_long_after_a_cancellation() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, {"v": 1})
    story.over(run, "CANCELLED")
    story.wait(10)
    story.begin(run, "b", {"x": 1})
    return story.end()


@bad("after_cancellation", "CAN-02")
def goes_on_after_a_cancellation() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    call = story.call(one)
    story.over(run, "CANCELLED")
    story.answer(one, call, {"v": 1})
    story.result(one, {"v": 1})
    story.finish(one, {"v": 1})
    story.begin(run, "b", {"x": 1})
    return story.end()


@bad("late_results", "CAN-03")
def late_result_is_applied() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.begin(run, "a")
    call = story.call(one)
    story.over(run, "CANCELLED")
    story.answer(one, call, {"v": 1})
    story.result(one, {"v": 1})
    story.finish(one, {"v": 1})
    return story.end()


@bad("shared_ids", "MSG-13")
def two_runs_share_an_id() -> History:
    story = Story()
    for alias in ("one", "two"):
        run = story.run(steps("a"), {}, alias=alias)
        story.take_up(run)
        story.serve(story.begin(run, "a", task_id="task-shared"), {})
        story.over(run)
    return story.end()


@bad("unequal_copies", "MSG-13")
def one_id_for_two_agents() -> History:
    story, run = begun(steps("a", "b", b={"agent_name": "other"}))
    story.do(run, "a", {}, {})
    one = story.begin(run, "b", agent="other", task_id=next(row["id"] for row in story.step_rows[run]) and "task-x")
    story.task(one, agent_name="worker")
    story.serve(one, {})
    story.over(run)
    return story.end()


@bad("unequal_copies", "MSG-14")
def copy_with_another_input() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.task(one, input_data={"more": 1})
    story.serve(one, {})
    story.over(run)
    return story.end()


@bad("too_many_ids", "RES-09")
def new_id_after_a_death() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.process("killed")
    story.process("started")
    story.task(one, task_id="task-anew")
    story.serve(one, {})
    story.over(run)
    return story.end()


@bad("too_many_ids", "CMP-08")
def asked_twice_for_no_reason() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.task(one, task_id="task-anew")
    story.serve(one, {})
    story.over(run)
    return story.end()


@bad("too_many_ids", "DEL-01")
def copy_of_a_request_starts_twice() -> History:
    story = Story()
    run = story.run(steps("a"), {}, via="kafka")
    story.message("requests", story.request(run), run=run, by="harness")
    story.take_up(run)
    one = story.begin(run, "a")
    story.task(one, task_id="task-anew")
    story.serve(one, {})
    story.over(run)
    return story.end()


def retried_from_the_start(**body: Any) -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, {"v": 1})
    story.do(run, "b", {"x": 1}, error="no")
    story.over(run, "FAILED", "step b: no")
    story.wait(1)
    request, _ = story.rest("POST", f"/runs/{run}/retry", 202)
    story.events[request.seq].data["body"] = body  # type: ignore[index]
    story.set_run(run, status="PENDING", error_message=None, completed_at=None)
    story.take_up(run)
    story.do(run, "a", {}, {"v": 1})
    story.do(run, "b", {"x": 1}, {"v": "2"})
    story.do(run, "c", {"text": "got 2", "w": 1}, {})
    story.over(run)
    return story.end()


@bad("too_many_ids", "RES-02")
def retry_from_the_start() -> History:
    return retried_from_the_start()


@bad("too_many_ids", "RES-06")
def retry_from_before_its_step() -> History:
    return retried_from_the_start(resume_from_step="b")


@bad("too_many_ids", "RES-08")
def two_attempts_for_one_retry() -> History:
    story, run = begun(steps("a"))
    story.do(run, "a", {}, error="no")
    story.over(run, "FAILED", "step a: no")
    story.rest("POST", f"/runs/{run}/retry", 202)
    story.set_run(run, status="PENDING", error_message=None, completed_at=None)
    story.take_up(run)
    one = story.begin(run, "a")
    story.task(one, task_id="task-anew")
    story.serve(one, {})
    story.over(run)
    return story.end()


@bad("completed_again", "CMP-08")
def completed_step_is_dispatched_again() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.do(run, "a", {}, {"v": 1})
    two = story.begin(run, "b", {"x": 1})
    story.task(one)
    story.serve(two, {"v": "2"})
    return story.end()


@bad("completed_again", "RES-02")
def completed_step_again_under_its_id_after_a_retry() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.do(run, "a", {}, {"v": 1})
    story.do(run, "b", {"x": 1}, error="no")
    story.over(run, "FAILED", "step b: no")
    story.rest("POST", f"/runs/{run}/retry", 202)
    story.set_run(run, status="RUNNING", error_message=None, completed_at=None)
    story.task(one)
    return story.end()


@bad("completed_again", "DEL-01")
def copy_of_a_request_starts_from_the_beginning() -> History:
    story = Story()
    run = story.run(CHAIN, {"w": 1}, via="kafka")
    story.take_up(run)
    one = story.do(run, "a", {}, {"v": 1})
    two = story.begin(run, "b", {"x": 1})
    story.message("requests", story.request(run), run=run, by="harness")
    story.task(one)
    story.serve(two, {"v": "2"})
    return story.end()


@bad("completed_again", "DEL-02")
def copy_of_a_result_dispatches_again() -> History:
    story, run = begun(CHAIN, {"w": 1})
    one = story.do(run, "a", {}, {"v": 1})
    two = story.begin(run, "b", {"x": 1})
    story.result(one, {"v": 1}, by="harness")
    story.task(one)
    story.serve(two, {"v": "2"})
    return story.end()


@bad("old_ids", "RES-08")
def failed_attempt_is_asked_again() -> History:
    story, run = begun(steps("a"))
    one = story.do(run, "a", {}, error="no")
    story.over(run, "FAILED", "step a: no")
    story.rest("POST", f"/runs/{run}/retry", 202)
    story.wait(3)
    story.set_run(run, status="RUNNING", error_message=None, completed_at=None)
    story.task(one)
    return story.end()


@bad("after_failed", "FAI-04")
def next_step_after_a_failure() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.do(run, "a", {}, error="no")
    story.do(run, "b", {"x": 1}, {})
    return story.end()


@bad("after_failed", "FJN-02")
def branch_goes_on_after_a_failure() -> History:
    story, run = begun(fork_plan())
    story.do(run, "x", {"n": 1}, error="no")
    story.do(run, "y", {"n": 2}, {})
    return story.end()


@bad("too_early", "CMP-03")
def next_step_too_early() -> History:
    story, run = begun(steps("a", "b", b={"input_mapping": {"n": 1}}))
    story.begin(run, "a")
    story.begin(run, "b", {"n": 1})
    return story.end()


@bad("too_early", "LOP-02")
def body_out_of_order() -> History:
    story, run = begun(loop_plan(execution_mode="parallel"), {"items": ["p"]})
    story.begin(run, "y", {"from": 1, "last": True})
    return story.end()


@bad("completed_means_all", "CMP-02")
def completed_at_once() -> History:
    story, run = begun(CHAIN, {"w": 1})
    story.over(run)
    return story.end()


@bad("completed_means_all", "FAI-01")
def completed_with_a_failed_step() -> History:
    story, run = begun(steps("a"))
    story.do(run, "a", {}, error="no")
    story.over(run)
    return story.end()


@bad("open_rows", "PAR-03")
def parallel_limit_ignored() -> History:
    story, run = begun(PARALLEL)
    story.begin(run, "x", {"n": 1})
    story.begin(run, "y", {"n": 2})
    return story.end()


@bad("open_rows", "LOP-04")
def sequential_loop_in_parallel() -> History:
    story, run = begun(loop_plan(), {"items": [1, 2]})
    story.begin(run, "x", {"item": 1, "at": 0})
    story.begin(run, "x", {"item": 2, "at": 1})
    return story.end()


@bad("open_rows", "LOP-05")
def loop_limit_ignored() -> History:
    story, run = begun(loop_plan(execution_mode="parallel", max_parallelism=1), {"items": [1, 2]})
    story.begin(run, "x", {"item": 1, "at": 0})
    story.begin(run, "x", {"item": 2, "at": 1})
    return story.end()


@bad("open_tasks", "PAR-03")
def tasks_beyond_the_limit() -> History:
    story, run = begun(PARALLEL)
    one, two = story.begin(run, "x", {"n": 1}), story.begin(run, "y", {"n": 2})
    story.serve(one, {})
    story.serve(two, {})
    return story.end()


@bad("in_index_order", "LOP-04")
def items_backwards() -> History:
    story, run = begun(loop_plan(), {"items": [1, 2]})
    story.do(run, "x", {"item": 2, "at": 1}, {"v": 2})
    story.do(run, "x", {"item": 1, "at": 0}, {"v": 1})
    return story.end()


def one_item(**config: Any) -> History:
    story, run = begun(loop_plan(**config), {"items": ["p", "q"]})
    story.do(run, "x", {"item": "p", "at": 0}, {"v": 1})
    story.do(run, "y", {"from": 1, "last": False}, {})
    story.composite(run, "l", loop_output(("y", {})))
    story.do(run, "z", {"n": 1}, {})
    story.over(run)
    return story.end()


@bad("items_once", "LOP-01")
def item_left_out() -> History:
    return one_item()


@bad("items_once", "LOP-09")
def max_iterations_ignored() -> History:
    story, run = begun(
        steps(
            "l",
            l={"type": "loop", "loop_config": {"collection": [1, 2], "loop_body": ["x"], "max_iterations": 1}},
            x={},
        )
    )
    story.do(run, "x", {}, {})
    story.do(run, "x", {}, {})
    story.composite(run, "l", loop_output(("x", {}), ("x", {})))
    story.over(run)
    return story.end()


@bad("branches", "CON-01")
def wrong_branch() -> History:
    story, run = begun(CONDITION)
    story.do(run, "a", {}, {"n": 1, "tags": []})
    story.do(run, "t", {"big": True}, {})
    return story.end()


@bad("branches", "CND-08")
def wrong_branch_for_missing_values() -> History:
    story, run = begun(CONDITION)
    story.do(run, "a", {}, {"n": 4, "tags": 5})
    story.do(run, "t", {"big": True}, {})
    return story.end()


def output_of(name: str, step: str, change: Callable[[dict[str, Any]], object]) -> History:
    def alter(data: dict[str, Any]) -> None:
        for row in [data["row"]] if "row" in data else data["step_rows"]:
            if row["step_id"] == step and row["output_data"] is not None:
                change(row["output_data"])

    return changed(history(name), lambda event: event.kind in ("step_row", "snapshot"), alter)


@bad("composite_rows", "PAR-01")
def parallel_output() -> History:
    return output_of("parallel", "p", lambda output: output.update(x=None))


@bad("composite_rows", "CON-02")
def conditional_output() -> History:
    return output_of("condition", "c", lambda output: output.update(branch_output=None))


@bad("composite_rows", "CON-01")
def conditional_says_the_other_branch() -> History:
    return output_of("condition", "c", lambda output: output.update(branch_taken="else", condition_result=False))


@bad("composite_rows", "LOP-07")
def entries_out_of_order() -> History:
    return output_of(
        "loop", "l", lambda output: output["iterations"].sort(key=lambda entry: -entry["output_data"]["w"])
    )


@bad("composite_rows", "LOP-08")
def counts() -> History:
    return output_of("loop", "l", lambda output: output.update(failed_count=1))


@bad("composite_rows", "LOP-06")
def entry_of_another_step() -> History:
    return output_of("loop", "l", lambda output: output["iterations"][0].update(step_id="x"))


@bad("composite_rows", "FJN-03")
def branch_left_out() -> History:
    return output_of("fork", "f", lambda output: output.pop("right", None))


@bad("composite_rows", "FJN-06")
def any_fails() -> History:
    def fail(data: dict[str, Any]) -> None:
        for row in [data["row"]] if "row" in data else data["step_rows"]:
            if row["step_id"] == "f":
                row.update(status="FAILED", output_data=None, error_message="x")

    return changed(history("fork"), lambda event: event.kind in ("step_row", "snapshot"), fail)


@pytest.mark.parametrize(("policy", "clause"), [("all", "FJN-05"), ("majority", "FJN-07"), ("n_of_m", "FJN-08")])
def test_a_policy_that_is_not_met_and_a_composite_that_completes(policy: str, clause: str) -> None:
    story, run = begun(fork_plan(policy, n_required=2))
    story.do(run, "v", {"n": 3}, error="no")
    story.do(run, "x", {"n": 1}, {"v": 2})
    story.do(run, "y", {"n": 2}, {"w": 1})
    output = {"left": {"w": 1}, "right": None}
    story.composite(run, "f", output)
    story.do(run, "z", {"all": output}, {})
    story.over(run)
    assert clauses(story.end()) == {("composite_rows", clause)}


@bad("composite_rows", "PAR-05")
def parallel_completes_with_a_failure() -> History:
    story, run = begun(PARALLEL)
    story.do(run, "x", {"n": 1}, error="no")
    story.do(run, "y", {"n": 2}, {})
    story.composite(run, "p", {"x": None, "y": {}})
    story.do(run, "z", {"all": {"x": None, "y": {}}}, {})
    story.over(run)
    return story.end()


@bad("collected", "LOP-12")
def error_not_collected() -> History:
    story, run = begun(loop_plan(on_error="collect"), {"items": ["p"]})
    story.do(run, "x", {"item": "p", "at": 0}, error="torn")
    story.composite(run, "l", loop_output(("x", None)))
    return story.end()


@bad("run_and_parts", "LOP-11")
def continue_that_stops() -> History:
    story, run = begun(loop_plan(on_error="continue"), {"items": ["p", "q"]})
    story.do(run, "x", {"item": "p", "at": 0}, error="torn")
    story.over(run, "FAILED", "x: torn")
    return story.end()


@bad("run_and_parts", "FJN-06")
def policy_met_and_run_failed() -> History:
    story, run = begun(fork_plan())
    story.do(run, "v", {"n": 3}, error="closed")
    story.do(run, "x", {"n": 1}, {"v": 2})
    story.do(run, "y", {"n": 2}, {"w": 1})
    story.over(run, "FAILED", "f: v: closed")
    return story.end()


@bad("ends_last", "FJN-04")
def any_ends_early() -> History:
    story, run = begun(fork_plan())
    story.begin(run, "x", {"n": 1})
    story.do(run, "v", {"n": 3}, {"o": 1})
    story.composite(run, "f", {"left": None, "right": {"o": 1}})
    story.begin(run, "z", {"all": {"left": None, "right": {"o": 1}}})
    return story.end()


@bad("invalid_plans", "FAI-06")
def invalid_plan_executed() -> History:
    story, run = begun(steps("a", a={"type": "parallel", "parallel_steps": ["a"], "max_parallelism": -1}))
    story.begin(run, "a")
    return story.end()


@bad("failed_rows", "FAI-08")
def failure_without_message() -> History:
    return changed(history("failed"), *rows_set("b", "FAILED", error_message=None))


@bad("failed_rows", "FAI-08")
def failure_with_output() -> History:
    return changed(history("failed"), *rows_set("b", "FAILED", output_data={}))


@bad("messages_kept", "FAI-02")
def agents_message_lost() -> History:
    return changed(history("failed"), *rows_set("b", "FAILED", error_message="step failed"))


def run_rows(change: Callable[[dict[str, Any]], object], *statuses: str) -> tuple[Any, Any]:
    def alter(data: dict[str, Any]) -> None:
        row = data["row"] if "row" in data else data["run_row"]
        if row["status"] in statuses:
            change(row)

    return (lambda event: event.kind in ("run_row", "snapshot")), alter


@bad("messages_kept", "FAI-02")
def runs_message_lost() -> History:
    return changed(history("failed"), *run_rows(lambda row: row.update(error_message="step b failed"), "FAILED"))


@bad("messages_kept", "FAI-03")
def failed_step_not_named() -> History:
    return changed(history("failed"), *run_rows(lambda row: row.update(error_message="no more paper"), "FAILED"))


@bad("nothing_left", "FAI-05")
def absorbed_failure_still_told() -> History:
    return changed(history("fork"), *run_rows(lambda row: row.update(error_message="closed"), "COMPLETED"))


@bad("nothing_left", "RES-13")
def undone_end_still_told() -> History:
    return changed(history("retried"), *run_rows(lambda row: row.update(cancelled_by="someone"), "PENDING"))


@bad("outputs", "CMP-07")
def output_of_nobody() -> History:
    return changed(history("chain"), *rows_set("c", "COMPLETED", output_data={"done": 0}))


@bad("outputs", "DEL-03")
def second_result_counts() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.ask(one, {"v": 1})
    story.result(one, {"v": 2}, by="harness")
    story.finish(one, {"v": 2})
    story.over(run)
    return story.end()


def offsets_swapped(one: Callable[[Event], bool], two: Callable[[Event], bool], of: History) -> History:
    first, second = next(event for event in of if one(event)), next(event for event in of if two(event))
    offsets = {first.seq: second["offset"], second.seq: first["offset"]}
    for event in (first, second):
        event.data["offset"] = offsets[event.seq]  # type: ignore[index]
    return of


@bad("updates_in_order", "OBS-03")
def end_told_before_running() -> History:
    return offsets_swapped(
        is_message("updates", step_id="c", status="RUNNING"),
        is_message("updates", step_id="c", status="COMPLETED"),
        history("chain"),
    )


@bad("updates_in_order", "OBS-03")
def next_told_before_the_end() -> History:
    return offsets_swapped(
        is_message("updates", step_id="a", status="COMPLETED"),
        is_message("updates", step_id="b", status="RUNNING"),
        history("chain"),
    )


@bad("all_told", "OBS-01")
def end_never_told() -> History:
    return changed(
        history("chain"), is_message("updates", step_id="c", status="COMPLETED"), lambda data: data.update(by="harness")
    )


@bad("all_told", "OBS-01")
def running_never_told() -> History:
    return changed(
        history("chain"), is_message("updates", step_id="c", status="RUNNING"), lambda data: data.update(by="harness")
    )


@bad("all_told", "OBS-02")
def update_contradicts_its_row() -> History:
    return changed(
        history("failed"), is_message("updates", step_id="b", status="FAILED"), value_set(status="COMPLETED")
    )


@bad("nothing_new", "OBS-07")
def update_after_the_end() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.over(run, "CANCELLED")
    story.tell(run, "a", "FAILED")
    assert one
    return story.end()


@bad("rest_steps", "OBS-05")
def rest_disagrees_with_the_row() -> History:
    story, run = begun(steps("a"))
    story.do(run, "a", {}, {})
    story.rest("GET", f"/runs/{run}/steps", 200, {"items": [{"step_id": "a", "status": "RUNNING"}], "total": 1})
    story.over(run)
    return story.end()


@bad("listed_in_order", "API-20")
def steps_newest_first() -> History:
    story, run = begun(CHAIN, {"w": 1})
    times = ["2026-01-01T00:00:02Z", None, "2026-01-01T00:00:01+00:00"]
    items = [{"step_id": step, "status": "RUNNING", "started_at": at} for step, at in zip("bca", times, strict=True)]
    story.rest("GET", f"/runs/{run}/steps", 200, {"items": items, "total": 3})
    return story.end()


@bad("listed_in_order", "API-25")
def log_backwards() -> History:
    story, run = begun(CHAIN, {"w": 1})
    items = [{"event": "x", "timestamp": f"2026-01-01T00:00:0{second}Z"} for second in (1, 1, 0)]
    story.rest("GET", f"/runs/{run}/logs", 200, {"items": items, "total": 3})
    return story.end()


@bad("own_rows", "CMP-13")
def row_without_the_name_of_the_plan() -> History:
    story = Story()
    run = story.run(steps("a"), {"w": 1}, via="message")
    story.set_run(run, status="RUNNING", workflow_id="wf-x-1", workflow_name=None, input_data={"w": 1})
    return story.end()


@bad("own_rows", "CMP-13")
def row_with_another_input() -> History:
    story = Story()
    run = story.run(steps("a"), {"w": 1}, via="message")
    story.set_run(run, status="RUNNING", workflow_id="wf-x-1", input_data={"w": 1.5})
    return story.end()


@bad("cancellers", "CAN-06")
def cancelled_by_two() -> History:
    story, run = begun(steps("a"))
    for who in (None, "one", "another"):
        story.set_run(run, status="CANCELLED", cancelled_at=story.now(), cancelled_by=who)
    return story.end()


def _cancelled_with_an_open_step(committed: int) -> History:
    story, run = begun(steps("a"))
    story.begin(run, "a")
    story.message("cancellations", {"run_id": run}, run=run, by="harness")
    story.set_run(run, status="CANCELLED", cancelled_at=story.now())
    story.add("kafka", "committed", None, group="g", topic="cancellations", partition=0, offset=committed)
    return story.end()


@bad("open_steps", "CAN-08")
def step_of_a_cancelled_run_left_open() -> History:
    return _cancelled_with_an_open_step(1)


def test_a_cancellation_that_the_executor_is_not_through_with_leaves_steps_open() -> None:
    assert not judged(_cancelled_with_an_open_step(0))


@bad("markers", "ISO-01")
def foreign_marker() -> History:
    return changed(
        history("two_runs"),
        lambda event: event.kind == "answer" and event["output"] == {"done": True} and str(event.run).endswith("1"),
        lambda data: data.update(output={"done": True, "seen": "marker-two"}),
    )


@bad("foreign_results", "MSG-16")
def result_names_another_run() -> History:
    story = Story()
    runs = [story.run(steps("a"), {}, alias=alias) for alias in ("one", "two")]
    one = story.begin(runs[0], "a")
    story.message("results", {**story.result(one, {})["value"], "run_id": runs[1]}, run=runs[1])
    return story.end()


@bad("times_in_order", "CMP-10")
def ended_before_it_started() -> History:
    return changed(history("chain"), *rows_set("c", "COMPLETED", completed_at="2025-01-01T00:00:00+00:00"))


@bad("times_in_order", "CMP-10")
def run_ended_before_it_was_created() -> History:
    return changed(
        history("chain"), *run_rows(lambda row: row.update(completed_at="2025-01-01T00:00:00Z"), "COMPLETED")
    )


@bad("times_of_end", "CMP-11")
def no_time_of_the_end() -> History:
    return changed(history("chain"), *run_rows(lambda row: row.update(completed_at=None), "COMPLETED"))


@bad("times_of_end", "CMP-11")
def cancelled_and_completed() -> History:
    return changed(
        history("cancelled"), *run_rows(lambda row: row.update(completed_at=row["cancelled_at"]), "CANCELLED")
    )


@bad("published", "MSG-05")
def message_not_valid() -> History:
    return changed(history("chain"), is_message("results", output_data={"done": True}), value_set(output_data=[1]))


@bad("published", "MSG-02")
def wrong_key() -> History:
    return changed(history("chain"), is_message("tasks", input_data={"x": 1}), lambda data: data.update(key="b"))


@bad("published", "MSG-07")
def local_time() -> History:
    return changed(
        history("chain"), is_message("tasks", input_data={"x": 1}), value_set(timestamp="2026-01-01T02:00:00+02:00")
    )


@bad("correlation", "MSG-15")
def correlation_per_task() -> History:
    return changed(history("chain"), is_message("tasks", input_data={"x": 1}), value_set(correlation_id="another"))


@bad("set_aside", "DEL-14")
def valid_message_set_aside() -> History:
    story, run = begun(steps("a"))
    one = story.do(run, "a", {}, {})
    value = {
        "run_id": run, "task_id": one.task_id, "status": "SUCCESS", "output_data": {}, "correlation_id": run,
        "error_message": None, "timestamp": story.now(),
    }  # fmt: skip
    event = story.message("dead_letters", value, run=run)
    event.data["from_topic"] = "results"  # type: ignore[index]
    story.over(run)
    return story.end()


@bad("bad_requests", "DEL-11")
def bad_envelope_applied() -> History:
    story = Story()
    story.message("requests", {"run_id": "run-x", "message_type": "execution_request"}, run="run-x", by="harness")
    story.add("database", "run_row", "run-x", row={"run_id": "run-x", "status": "FAILED"})
    return story.end()


@bad("equal_copies", "OBS-06")
def told_again_with_another_time() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    again = dict(
        next(event for event in story.events if is_message("updates", step_id="a", status="RUNNING")(event))["value"]
    )
    story.message("updates", {**again, "timestamp": story.now()}, run=run)
    story.serve(one, {"v": 1})
    story.over(run)
    return story.end()


@bad("call_headers", "AGT-03")
def no_correlation() -> History:
    return changed(history("chain"), lambda event: event.kind == "call", lambda data: data.update(correlation_id=None))


@bad("call_headers", "AGT-04")
def random_idempotency_key() -> History:
    return changed(
        history("chain"), lambda event: event.kind == "call", lambda data: data.update(idempotency_key="random")
    )


@bad("envelopes", "AGT-01")
def calls_another_method() -> History:
    return changed(
        history("chain"),
        lambda event: event.kind == "call",
        lambda data: data.update(breach="expected the method message/send, found none"),
    )


@bad("envelopes", "AGT-01")
def calls_under_an_id_of_no_task() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.add(
        "agent", "call", run, call=99, agent="worker", task_id="backwards", headers={}, idempotency_key=None,
        correlation_id=run, input={},
    )  # fmt: skip
    story.serve(one, {"v": 1})
    story.over(run)
    return story.end()


@bad("credentials", "AGT-18")
def calls_without_credentials() -> History:
    return changed(
        history("chain"),
        lambda event: event.kind == "call",
        lambda data: data.update(lacking="expected the header Authorization: Bearer t, found none"),
    )


@bad("answers", "AGT-05")
def masks_more_than_the_secret() -> History:
    return masked({"v": 1, "said": "***", "echo": "I was given ***"})


def called_again(**first: Any) -> History:
    story = Story(agent_records={"worker": {"retry_config": {"max_retries": 1}}})
    run = story.run(steps("a"), {})
    story.take_up(run)
    one = story.begin(run, "a")
    story.answer(one, story.call(one), **first)
    story.wait(0.9)
    story.serve(one, {"v": 1})
    story.over(run)
    return story.end()


@bad("retries", "AGT-12")
def retries_a_404() -> History:
    return called_again(status=404)


@bad("retries", "AGT-11")
def asks_again_after_an_answer() -> History:
    return called_again(output={"v": 1})


@bad("retries", "AGT-11")
def more_retries_than_configured() -> History:
    story = Story(agent_records={"worker": {"retry_config": {"max_retries": 1}}})
    run = story.run(steps("a"), {})
    story.take_up(run)
    one = story.begin(run, "a")
    for _ in range(2):
        story.answer(one, story.call(one), status=503)
        story.wait(0.9)
    story.serve(one, {"v": 1})
    story.over(run)
    return story.end()


@bad("backoff", "AGT-14")
def no_pause_at_all() -> History:
    story = Story(agent_records={"worker": {"retry_config": {"max_retries": 6, "initial_delay_ms": 500}}})
    run = story.run(steps("a"), {})
    story.take_up(run)
    one = story.begin(run, "a")
    for _ in range(6):
        story.answer(one, story.call(one), status=503)
    story.serve(one, {"v": 1})
    story.over(run)
    return story.end()


@bad("answers", "AGT-05")
def success_out_of_nothing() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.answer(one, story.call(one), status=None, ending="caller left")
    story.result(one, {"v": 1})
    story.finish(one, {"v": 1})
    story.over(run)
    return story.end()


@bad("answers", "AGT-05")
def input_echoed_as_output() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.answer(one, story.call(one), {"v": 1})
    story.result(one, {})
    story.finish(one, {})
    story.over(run)
    return story.end()


@bad("answers", "AGT-09")
def failed_state_as_success() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    output = {"status": {"state": "failed"}}
    story.answer(one, story.call(one), output)
    story.result(one, output)
    story.finish(one, output)
    story.over(run)
    return story.end()


@bad("results", "MSG-16")
def result_with_another_correlation() -> History:
    return changed(
        history("chain"), is_message("results", output_data={"done": True}), value_set(correlation_id="another")
    )


@bad("results", "DEL-08")
def two_results_of_one_call() -> History:
    story, run = begun(steps("a"))
    one = story.begin(run, "a")
    story.ask(one, {"v": 1})
    story.result(one, {"v": 1, "text": "more"})
    story.finish(one, {"v": 1})
    story.over(run)
    return story.end()


@pytest.mark.parametrize(("checker", "clause", "name", "make"), BAD, ids=[f"{c}-{k}-{n}" for c, k, n, _ in BAD])
def test_a_bad_history_is_accused_of_its_clause_by_its_checker(checker: str, clause: str, name: str, make: Bad) -> None:
    found = judged(make())
    assert (checker, clause) in {(finding.checker, finding.clause) for finding in found}, f"{name}: {found}"


@pytest.mark.parametrize(("checker", "clause", "name", "make"), BAD, ids=[f"{c}-{k}-{n}" for c, k, n, _ in BAD])
def test_every_finding_of_a_bad_history_names_events_that_exist_and_a_clause_of_its_checker(
    checker: str, clause: str, name: str, make: Bad
) -> None:
    bad_history = make()
    known = {one.name: one.clauses for one in CHECKERS}
    for finding in judged(bad_history):
        assert finding.clause in known[finding.checker]
        assert finding.events
        assert all(0 <= seq < len(bad_history) for seq in finding.events)
        assert len(finding.events) <= 5


def test_there_is_a_bad_history_for_every_checker() -> None:
    assert {checker for checker, *_ in BAD} == {checker.name for checker in CHECKERS}
