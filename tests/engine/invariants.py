"""What holds after every event of every run: one function for each property, applied to what `decide` was seen to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from system.engine.decide import decide, restore
from system.engine.decisions import Decision, Ignored, PublishTask, RunChanged, SetTimer, StepChanged, StepSuperseded
from system.engine.definition import AgentStep, LoopStep, ParallelStep
from system.engine.events import BranchTimedOut, CancellationRequested, Event, ExecutionRequested
from system.engine.state import RunState, StepRecord, task_id

ENDED = ("COMPLETED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class Observation:
    """One call of `decide`: `frozen` is a picture of `before` that was taken ahead of it, `rows` what is written after."""

    before: RunState
    frozen: bytes
    event: Event
    now: datetime
    after: RunState
    decisions: list[Decision]
    rows: list[StepRecord]
    tasks_before: Mapping[str, PublishTask]

    def published(self) -> Iterator[PublishTask]:
        return (decision for decision in self.decisions if isinstance(decision, PublishTask))

    def is_resumed_at(self, record: StepRecord) -> bool:
        """Whether the event asks for the top-level step around a record, or for one before it, to run again."""
        if not isinstance(self.event, ExecutionRequested) or self.event.resume_from_step is None:
            return False
        assert self.after.definition is not None
        position = self.after.definition.chain_position
        while record.parent is not None:
            record = self.after.steps[record.parent]
        return position[record.step_id] >= position[self.event.resume_from_step]

    def resumes_before_the_end(self) -> bool:
        return isinstance(self.event, ExecutionRequested) and self.event.resume_from_step is not None


def snapshot(state: RunState) -> bytes:
    """Everything in a state but its definition, which no event changes."""
    mappings = (dict(state.steps), dict(state.frames), dict(state.in_flight))
    times = (state.created_at, state.clock, state.accepted_at)
    return pickle.dumps((state.status, state.error_message, state.generation, state.input_data, times, mappings))


def the_argument_is_not_changed(seen: Observation) -> None:
    assert snapshot(seen.before) == seen.frozen


def an_ended_run_stays_as_it_is(seen: Observation) -> None:
    if seen.before.status in ENDED:
        assert seen.after.status == seen.before.status
        assert not any(isinstance(decision, RunChanged) for decision in seen.decisions)


def a_run_goes_only_where_the_contract_lets_it(seen: Observation) -> None:
    legal = {
        "PENDING": {"RUNNING", "FAILED", "CANCELLED"},
        "RUNNING": {"COMPLETED", "FAILED", "CANCELLED"},
    }
    status = seen.before.status
    for decision in seen.decisions:
        if isinstance(decision, RunChanged):
            assert decision.status in legal[status]
            status = decision.status
    assert status == seen.after.status


def a_step_goes_only_from_running_to_an_end(seen: Observation) -> None:
    status = {(record.path, record.generation): record.status for record in seen.before.steps.values()}
    for decision in seen.decisions:
        if isinstance(decision, StepChanged):
            record = decision.record
            known = status.get((record.path, record.generation))
            assert known in (None, "RUNNING"), f"{record.path} has ended as {known}"
            assert known is not None or record.status in ("RUNNING", "FAILED")
            status[(record.path, record.generation)] = record.status


def no_task_is_published_by_an_ended_run(seen: Observation) -> None:
    if seen.after.status != "RUNNING":
        assert not list(seen.published())


def a_completed_step_is_not_dispatched_again(seen: Observation) -> None:
    if not seen.resumes_before_the_end():
        for task in seen.published():
            known = seen.before.steps.get(task.path)
            assert known is None or known.status != "COMPLETED"


def what_is_completed_is_superseded_only_by_resume_from_step(seen: Observation) -> None:
    if not seen.resumes_before_the_end():
        for decision in seen.decisions:
            if isinstance(decision, StepSuperseded):
                assert seen.before.steps[decision.path].status != "COMPLETED"


def what_was_in_flight_keeps_its_task_and_all_else_gets_a_new_one(seen: Observation) -> None:
    for task in seen.published():
        known = seen.before.steps.get(task.path)
        record = seen.after.steps[task.path]
        assert task.task_id == record.task_id == task_id(seen.after.run_id, task.path, record.attempt)
        if known is not None and known.status in ("CANCELLED", "RUNNING") and not seen.is_resumed_at(record):
            assert task.task_id == known.task_id
        else:
            assert task.task_id not in seen.tasks_before


def a_task_says_what_its_row_says(seen: Observation) -> None:
    definition = seen.after.definition
    assert definition is not None
    for task in seen.published():
        record, kind = seen.after.steps[task.path], definition.steps[task.step_id].kind
        assert isinstance(kind, AgentStep)
        assert (task.agent_name, task.input_data) == (kind.agent_name, record.input_data)
        assert seen.decisions.index(StepChanged(record)) < seen.decisions.index(task), "row first"


def the_limits_on_parallelism_hold(seen: Observation) -> None:
    definition = seen.after.definition
    assert definition is not None
    running: dict[str, set[str | int]] = {}
    for record in seen.after.steps.values():
        if record.status == "RUNNING" and record.parent is not None:
            place = record.step_id if record.iteration is None else record.iteration
            running.setdefault(record.parent, set()).add(place)
    for path, places in running.items():
        kind = definition.steps[seen.after.steps[path].step_id].kind
        if isinstance(kind, ParallelStep | LoopStep):
            assert len(places) <= kind.max_parallelism


def what_is_in_flight_is_what_is_running(seen: Observation) -> None:
    running = {
        record.task_id: record.path
        for record in seen.after.steps.values()
        if record.status == "RUNNING" and record.task_id is not None
    }
    assert dict(seen.after.in_flight) == running
    if seen.after.status == "RUNNING":
        assert running, "a run with nothing in flight would never end"


def nothing_runs_in_what_has_ended(seen: Observation) -> None:
    for record in seen.after.steps.values():
        if record.status == "RUNNING" and record.parent is not None:
            assert seen.after.steps[record.parent].status == "RUNNING"
    if seen.after.status in ("COMPLETED", "FAILED") and seen.before.status == "RUNNING":
        assert all(record.status != "RUNNING" for record in seen.after.steps.values())


def times_are_in_order(seen: Observation) -> None:
    for decision in seen.decisions:
        if isinstance(decision, StepChanged):
            record = decision.record
            assert record.started_at >= seen.after.created_at
            assert record.completed_at is None or record.completed_at >= record.started_at
            assert (record.completed_at is None) == (record.status == "RUNNING")
        elif isinstance(decision, RunChanged):
            assert all(decision.at >= record.started_at for record in seen.after.steps.values())
            assert all(
                decision.at >= record.completed_at
                for record in seen.after.steps.values()
                if record.completed_at is not None
            )


def failures_say_why_and_have_no_output(seen: Observation) -> None:
    for decision in seen.decisions:
        if isinstance(decision, StepChanged) and decision.record.status == "FAILED":
            assert decision.record.error_message
            assert decision.record.output_data is None
        elif isinstance(decision, RunChanged):
            assert bool(decision.error_message) == (decision.status == "FAILED")


def the_rows_are_the_state(seen: Observation) -> None:
    assert {record.path: record for record in seen.rows} == dict(seen.after.steps)


def the_rows_bring_the_state_back(seen: Observation) -> None:
    if seen.after.status == "RUNNING":
        bare = replace(seen.after, steps={}, frames={}, in_flight={})
        restored, decisions = restore(bare, seen.rows, seen.now)
        assert decisions == []
        assert restored == seen.after


def a_copy_of_the_event_changes_nothing(seen: Observation) -> None:
    again, decisions = decide(seen.after, seen.event, seen.now)
    assert again == seen.after
    if isinstance(seen.event, BranchTimedOut):
        assert len(decisions) == 1
        assert isinstance(decisions[0], Ignored | SetTimer)
    else:
        assert [type(decision) for decision in decisions] == [Ignored]


def what_is_ignored_leaves_the_state_alone(seen: Observation) -> None:
    if any(isinstance(decision, Ignored) for decision in seen.decisions):
        assert seen.after is seen.before
        assert len(seen.decisions) == 1


def a_cancellation_ends_all_that_is_open(seen: Observation) -> None:
    if isinstance(seen.event, CancellationRequested) and seen.after.status == "CANCELLED":
        assert all(record.status != "RUNNING" for record in seen.after.steps.values())


INVARIANTS: tuple[Callable[[Observation], None], ...] = (
    the_argument_is_not_changed,
    an_ended_run_stays_as_it_is,
    a_run_goes_only_where_the_contract_lets_it,
    a_step_goes_only_from_running_to_an_end,
    no_task_is_published_by_an_ended_run,
    a_completed_step_is_not_dispatched_again,
    what_is_completed_is_superseded_only_by_resume_from_step,
    what_was_in_flight_keeps_its_task_and_all_else_gets_a_new_one,
    a_task_says_what_its_row_says,
    the_limits_on_parallelism_hold,
    what_is_in_flight_is_what_is_running,
    nothing_runs_in_what_has_ended,
    times_are_in_order,
    failures_say_why_and_have_no_output,
    the_rows_are_the_state,
    the_rows_bring_the_state_back,
    a_copy_of_the_event_changes_nothing,
    what_is_ignored_leaves_the_state_alone,
    a_cancellation_ends_all_that_is_open,
)
