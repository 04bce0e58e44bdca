"""Functions that stand in for the consumer's own in mutants that a change of text cannot make.

Each takes the reference's function and gives what replaces it. Nothing of the system is imported before a replacement
is made, so that the catalogue can be read without the system's libraries.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text

Function = Callable[..., Any]


def deaf_to_cancellations(execute: Function) -> Function:
    """`ConsumerLoop._execute` that drops cancellations."""
    from system.consumer.messages import CancellationRequest

    def replaced(self: Any, items: Sequence[Any], batch: Any, stop: Any) -> None:
        heard = [item for item in items if not isinstance(item.content, CancellationRequest)]
        if heard:
            execute(self, heard, batch, stop)

    return replaced


def remembering_cancellations_in_memory(execute: Function) -> Function:
    """`ConsumerLoop._execute` of a process that ignores what is about runs whose cancellation it has read itself."""
    from system.consumer.messages import AgentResult, CancellationRequest

    cancelled: set[str] = set()

    def replaced(self: Any, items: Sequence[Any], batch: Any, stop: Any) -> None:
        heard = [i for i in items if not (isinstance(i.content, AgentResult) and i.run_id in cancelled)]
        cancelled.update(item.run_id for item in items if isinstance(item.content, CancellationRequest))
        if heard:
            execute(self, heard, batch, stop)

    return replaced


def noting_every_cancellation(execute: Function) -> Function:
    """`ConsumerLoop._execute` that writes cancelled_at and cancelled_by anew with each cancellation of the run."""
    from system.consumer.messages import CancellationRequest

    again = text(
        "UPDATE workflow_runs SET cancelled_at = now(), cancelled_by = :by WHERE run_id = :run_id AND status = 'CANCELLED'"
    )

    def replaced(self: Any, items: Sequence[Any], batch: Any, stop: Any) -> None:
        execute(self, items, batch, stop)
        with self._engine.begin() as connection:
            for item in items:
                if isinstance(item.content, CancellationRequest):
                    connection.execute(again, {"run_id": item.run_id, "by": item.content.cancelled_by or "nobody"})

    return replaced


def applying_results_to(
    step_statuses: tuple[str, ...], run_statuses: tuple[str, ...]
) -> Callable[[Function], Function]:
    """A maker of `ConsumerLoop._execute` that writes successful results into step rows in these statuses of runs in those."""

    def make(execute: Function) -> Function:
        from system import json_values
        from system.consumer.messages import AgentResult

        apply = text(
            """
            UPDATE step_executions s SET status = 'COMPLETED', output_data = cast(:output AS jsonb), error_message = NULL
            FROM workflow_runs r
            WHERE s.run_id = :run_id AND s.task_id = :task_id AND s.status = ANY(:step_statuses)
              AND r.run_id = s.run_id AND r.status = ANY(:run_statuses)
            """
        )

        def replaced(self: Any, items: Sequence[Any], batch: Any, stop: Any) -> None:
            with self._engine.begin() as connection:
                for item in items:
                    if isinstance(item.content, AgentResult) and item.content.succeeded:
                        connection.execute(
                            apply,
                            {
                                "run_id": item.run_id,
                                "task_id": item.content.task_id,
                                "output": json_values.dumps(item.content.output_data).decode(),
                                "step_statuses": list(step_statuses),
                                "run_statuses": list(run_statuses),
                            },
                        )
            execute(self, items, batch, stop)

        return replaced

    return make


def finding_runs_by_task_alone(execute: Function) -> Function:
    """`ConsumerLoop._execute` that applies a result to whatever run has a step with its task_id."""
    from system.consumer.messages import AgentResult

    owner = text("SELECT run_id FROM step_executions WHERE task_id = :task_id LIMIT 1")

    def replaced(self: Any, items: Sequence[Any], batch: Any, stop: Any) -> None:
        found = []
        with self._engine.connect() as connection:
            for item in items:
                if isinstance(item.content, AgentResult):
                    run_id = connection.execute(owner, {"task_id": item.content.task_id}).scalar_one_or_none()
                    if run_id is not None:
                        content = replace(item.content, run_id=run_id)
                        item = replace(item, run_id=run_id, content=content)
                found.append(item)
        execute(self, found, batch, stop)

    return replaced


def failing_all_runs_of_the_workflow(keep: Function) -> Function:
    """`Executor._keep` that sets other runs of the workflow FAILED when one fails."""
    fail = text(
        """
        UPDATE workflow_runs SET status = 'FAILED', error_message = 'another run failed', completed_at = now(),
               revision = revision + 1
        WHERE status = 'RUNNING' AND workflow_name = (SELECT workflow_name FROM workflow_runs WHERE run_id = :run_id)
        """
    )

    def replaced(self: Any, change: Any) -> None:
        keep(self, change)
        if change.state.status == "FAILED":
            with self._store._engine.begin() as connection:
                connection.execute(fail, {"run_id": change.state.run_id})

    return replaced


def publish_task(executor: Any, state: Any, record: Any, task_id: str) -> None:
    """Send a task for the step of a record, whatever the engine thinks of it."""
    from system.consumer import messages
    from system.engine.decisions import PublishTask
    from system.engine.definition import AgentStep
    from system.ports import Message

    kind = state.definition.steps[record.step_id].kind
    assert isinstance(kind, AgentStep)
    task = PublishTask(task_id, record.step_id, record.path, kind.agent_name, record.input_data)
    value = messages.task_message(state.run_id, task, executor._clock.now())
    topic = executor._limits.tasks_topic
    executor._publisher.publish(Message(topic, state.run_id.encode(), value), lambda _: None)


def noting_own_runs(keep: Function) -> Function:
    """`Executor._keep` that remembers which runs this process has worked on."""

    def replaced(self: Any, change: Any) -> None:
        keep(self, change)
        self.__dict__.setdefault("_own_runs", set()).add(change.state.run_id)

    return replaced


def dispatching_on_take_over(status: str) -> Callable[[Function], Function]:
    """A maker of `Executor._load` that, for a RUNNING run of another process, sends its steps in that status again."""

    def make(load: Function) -> Function:
        def replaced(self: Any, run_ids: Sequence[str], by_run: Any) -> Any:
            found = load(self, run_ids, by_run)
            own = self.__dict__.setdefault("_own_runs", set())
            for run_id, held in found.items():
                state = held.state
                if state.status == "RUNNING" and run_id not in own and state.definition is not None:
                    own.add(run_id)
                    for record in state.steps.values():
                        if record.status == status and record.task_id is not None:
                            publish_task(self, state, record, str(uuid.uuid4()))
            return found

        return replaced

    return make


def without_runs_of_others(load: Function) -> Function:
    """`Executor._load` that drops what is for a RUNNING run which this process has not worked on."""

    def replaced(self: Any, run_ids: Sequence[str], by_run: Any) -> Any:
        found = load(self, run_ids, by_run)
        for run_id, held in found.items():
            if held.state.status == "RUNNING" and run_id not in self.__dict__.setdefault("_own_runs", set()):
                by_run[run_id].clear()
        return found

    return replaced


def dispatching_behind_late_results(fold: Function) -> Function:
    """`Executor._fold` that, for a result of a CANCELLED run, sends a task for the step behind."""
    from system.consumer.messages import AgentResult
    from system.engine.definition import AgentStep
    from system.engine.state import StepRecord

    step_of = text("SELECT step_id FROM step_executions WHERE task_id = :task_id LIMIT 1")

    def replaced(self: Any, held: Any, items: Sequence[Any], now: Any) -> Any:
        folded = fold(self, held, items, now)
        state = held.state
        for item in items:
            if not isinstance(item.content, AgentResult) or state.status != "CANCELLED" or state.definition is None:
                continue
            with self._store._engine.connect() as connection:
                step_id = connection.execute(step_of, {"task_id": item.content.task_id}).scalar_one_or_none()
            following = state.definition.steps[step_id].next_step if step_id in state.definition.steps else None
            if following is not None and isinstance(state.definition.steps[following].kind, AgentStep):
                record = StepRecord(following, following, "RUNNING", {}, now)
                publish_task(self, state, record, str(uuid.uuid5(uuid.NAMESPACE_URL, item.content.task_id)))
        return folded

    return replaced


def starting_again_on_a_copy(fold: Function) -> Function:
    """`Executor._fold` that, for an execution request of a RUNNING run, sends its first task once more as a new one."""
    from system.consumer.messages import ExecutionRequest

    def replaced(self: Any, held: Any, items: Sequence[Any], now: Any) -> Any:
        folded = fold(self, held, items, now)
        if held.state.status == "RUNNING" and any(isinstance(item.content, ExecutionRequest) for item in items):
            first = next((record for record in held.state.steps.values() if record.task_id is not None), None)
            if first is not None:
                publish_task(self, held.state, first, str(uuid.uuid4()))
        return folded

    return replaced
