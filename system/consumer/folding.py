"""Working a run's share of a batch into its state, with the rows and messages that follow. No database, no Kafka."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from system.consumer import messages
from system.consumer.messages import AgentResult, CancellationRequest, ExecutionRequest
from system.consumer.rows import HeldRun, NewRow, RunChange
from system.consumer.work import Item, Timer, Unanswered
from system.engine.decide import decide_many
from system.engine.decisions import (
    ClearTimer,
    Decision,
    Ignored,
    PublishTask,
    RunChanged,
    SetTimer,
    StepChanged,
    StepSuperseded,
)
from system.engine.definition import AgentStep, Definition, InvalidDefinition
from system.engine.events import (
    BranchTimedOut,
    CancellationRequested,
    Event,
    ExecutionRequested,
    PlanRejected,
    ResultReceived,
    RunTimedOut,
)
from system.engine.state import RunState
from system.engine.transitions import TERMINAL
from system.plans import PlanCache, digest
from system.ports import Message

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Topics and limits that folding needs of the settings. A deadline of 0 is none."""

    tasks_topic: str
    monitoring_topic: str
    max_message_bytes: int
    run_timeout_seconds: int


@dataclass(slots=True)
class Folded:
    """What came of one run's share: `change` is None when all of it was ignored."""

    change: RunChange | None
    updates: list[Message] = field(default_factory=list)
    tasks: list[Message] = field(default_factory=list)
    timers_done: list[tuple[str, str, str]] = field(default_factory=list)


class Folding:
    """One run while its items are worked in."""

    def __init__(self, held: HeldRun, plans: PlanCache, limits: Limits, now: datetime) -> None:
        self._held = held
        self._plans = plans
        self._limits = limits
        self._now = now
        self._key = held.state.run_id.encode()
        self._change = RunChange(held, held.state, plan_digest=held.plan_digest)
        self._touched = False
        self._updates: list[Message] = []
        self._tasks: dict[str, bytes] = {}
        self._timers_done: list[tuple[str, str, str]] = []

    def fold(self, items: Sequence[Item]) -> Folded:
        """Work the items in, in their order."""
        if self._held.early_cancellation:
            self._cancel_early()
        results: list[Event] = []
        for item in items:
            if isinstance(item.content, AgentResult):
                # Results in a row are worked in together, which copies the state of a large run only once.
                results.append(_result(item.content))
                continue
            self._feed(results)
            results = []
            self._work_in(item)
        self._feed(results)
        if not self._touched:
            return Folded(None, timers_done=self._timers_done)
        change = self._change
        # A run may end, or a branch time out, in the same batch that began a step: then nobody is asked any more.
        wanted = [value for task_id, value in self._tasks.items() if task_id in change.state.in_flight]
        tasks = [Message(self._limits.tasks_topic, self._key, value) for value in wanted]
        return Folded(change, self._updates, tasks, self._timers_done)

    def _cancel_early(self) -> None:
        self._change.was_cancelled_early = True
        self._touched = True
        if self._change.state.status in ("PENDING", "RUNNING"):
            self._change.cancelled_by = self._held.early_cancelled_by
            self._feed([CancellationRequested(self._now)])

    def _work_in(self, item: Item) -> None:
        content = item.content
        state = self._change.state
        if isinstance(content, ExecutionRequest):
            self._request(content)
        elif isinstance(content, CancellationRequest):
            self._cancel(content)
        elif isinstance(content, Timer):
            self._timers_done.append((state.run_id, content.kind, content.path))
            if content.kind == "run":
                self._feed([RunTimedOut(self._limits.run_timeout_seconds)])
            else:
                self._feed([BranchTimedOut(content.path)])
        elif isinstance(content, Unanswered):
            self._ask_again()

    def _cancel(self, request: CancellationRequest) -> None:
        status = self._change.state.status
        if status in ("PENDING", "RUNNING"):
            self._change.cancelled_by = request.cancelled_by
        before = len(self._updates)
        self._feed([CancellationRequested(request.timestamp)])
        if status == "CANCELLED" and len(self._updates) > before:
            # Whoever accepted the cancellation set the row; that the run itself ended is told along with its steps.
            self._announce(RunChanged("CANCELLED", None, self._now))

    def _request(self, request: ExecutionRequest) -> None:
        if self._change.state.status != "PENDING":
            self._feed([ExecutionRequested(request.timestamp)])
            return
        state = self._change.state
        if request.flaw is not None and (state.definition is None or state.input_data is None):
            self._feed([PlanRejected(f"the request holds what cannot be stored: {request.flaw}")])
            return
        try:
            definition = self._definition(request)
        except InvalidDefinition as error:
            self._feed([PlanRejected(f"the workflow plan is not valid: {messages.storable_text(str(error))}")])
            return
        self._change.state = replace(
            state,
            definition=definition,
            input_data=request.input_data if state.input_data is None else state.input_data,
        )
        if state.input_data is None:
            self._change.input_data = request.input_data
        resume = self._held.resume_from_step or request.resume_from_step
        self._feed([ExecutionRequested(request.timestamp, resume)])

    def _definition(self, request: ExecutionRequest) -> Definition:
        if self._change.state.definition is not None:
            return self._change.state.definition
        plan_digest = digest(request.plan)
        definition = self._plans.load(plan_digest, request.plan)
        self._change.plan_digest, self._change.plan = plan_digest, request.plan
        return definition

    def _ask_again(self) -> None:
        state = self._change.state
        if state.status != "RUNNING" or state.definition is None or not state.in_flight:
            return
        log.info("publishing %d tasks again that were not answered", len(state.in_flight), extra=_about(state))
        for task_id, path in state.in_flight.items():
            record = state.steps[path]
            kind = state.definition.steps[record.step_id].kind
            assert isinstance(kind, AgentStep)
            self._ask(PublishTask(task_id, record.step_id, path, kind.agent_name, record.input_data))
        self._change.state = replace(state, clock=max(self._now, state.clock or self._now))
        self._touched = True

    def _feed(self, events: Sequence[Event]) -> None:
        """Decide on events, and on what follows when one of the decisions cannot be carried out."""
        state = self._change.state
        if (
            state.definition is None
            and state.status == "RUNNING"
            and any(isinstance(e, ResultReceived) for e in events)
        ):
            log.warning("a result for a run that this executor never began is ignored", extra=_about(state))
            return
        while events:
            self._change.state, decisions = decide_many(self._change.state, events, self._now)
            refusals = (self._carry_out(decision) for told in decisions for decision in told)
            events = [refusal for refusal in refusals if refusal is not None]

    def _carry_out(self, decision: Decision) -> Event | None:
        change, state = self._change, self._change.state
        if isinstance(decision, Ignored):
            log.debug("ignored: %s", decision.reason, extra=_about(state))
            return None
        self._touched = True
        if isinstance(decision, StepChanged):
            record = decision.record
            change.steps[record.path, record.generation] = record
            assert state.definition is not None
            name = state.definition.steps[record.step_id].name
            self._update(messages.step_update(state.run_id, name, decision, self._now))
        elif isinstance(decision, PublishTask):
            return self._ask(decision)
        elif isinstance(decision, RunChanged):
            self._run_changed(decision)
        elif isinstance(decision, StepSuperseded):
            change.superseded.append((decision.path, decision.generation))
        elif isinstance(decision, SetTimer):
            change.timers_set["branch", decision.path] = decision.due_at
        elif isinstance(decision, ClearTimer) and change.timers_set.pop(("branch", decision.path), None) is None:
            change.timers_cleared.append(("branch", decision.path))
        return None

    def _ask(self, task: PublishTask) -> Event | None:
        """Note the task's message; a result that says so instead, when it cannot be sent."""
        try:
            value = messages.task_message(self._change.state.run_id, task, self._now)
        except ValueError as error:
            return ResultReceived(task.task_id, False, error_message=f"the task cannot be sent: {error}")
        if len(value) > self._limits.max_message_bytes:
            limit = self._limits.max_message_bytes
            reason = f"the task cannot be sent: its message has {len(value)} bytes, the limit is {limit}"
            return ResultReceived(task.task_id, False, error_message=reason)
        self._tasks[task.task_id] = value
        return None

    def _run_changed(self, decision: RunChanged) -> None:
        change, state = self._change, self._change.state
        if decision.status == "RUNNING":
            change.started_at = decision.at
            if self._limits.run_timeout_seconds:
                change.timers_set["run", ""] = decision.at + timedelta(seconds=self._limits.run_timeout_seconds)
        if decision.status in TERMINAL:
            change.ended_at = decision.at
            change.timers_set.clear()
        self._announce(decision)
        level = logging.INFO if decision.status == "FAILED" else logging.DEBUG
        if log.isEnabledFor(level):
            log.log(level, "run is %s: %s", decision.status, decision.error_message, extra=_about(state))

    def _announce(self, change: RunChanged) -> None:
        state = self._change.state
        name = _workflow_name(self._held, state, self._change.new_row)
        self._update(messages.run_update(state.run_id, name, change, self._now))

    def _update(self, value: bytes) -> None:
        self._updates.append(Message(self._limits.monitoring_topic, self._key, value))

    def give_new_row(self, request: ExecutionRequest) -> None:
        """Say what the row of a run shall hold that has none."""
        plan = request.plan
        self._change.new_row = NewRow(
            _text_or_none(plan.get("workflow_id")),
            _text_or_none(plan.get("name")),
            None if request.flaw is not None else request.input_data,
        )
        if request.flaw is not None:
            return
        try:
            # Kept even if the run is cancelled before it begins: a retry needs its plan.
            definition = self._definition(request)
        except InvalidDefinition:
            return
        self._change.state = replace(self._change.state, definition=definition)

    def abort(self, reason: str) -> Folded:
        """End the run FAILED whatever it was doing: something about it cannot be worked with at all."""
        state = self._change.state
        if state.status in TERMINAL:
            return Folded(None)
        error = f"the executor could not go on: {messages.storable_text(reason)}"
        moment = max(self._now, state.clock or self._now)
        self._touched = True
        self._change.state = replace(state, status="FAILED", error_message=error, clock=moment)
        self._run_changed(RunChanged("FAILED", error, moment))
        return Folded(self._change, self._updates)


def _result(result: AgentResult) -> ResultReceived:
    if not result.succeeded:
        return ResultReceived(result.task_id, False, error_message=result.error_message)
    if result.flaw is not None:
        reason = f"the agent's output cannot be stored: {result.flaw}"
        return ResultReceived(result.task_id, False, error_message=reason)
    return ResultReceived(result.task_id, True, result.output_data)


def _text_or_none(value: Any) -> str | None:
    return messages.storable_text(value) if isinstance(value, str) else None


def _workflow_name(held: HeldRun, state: RunState, new_row: NewRow | None) -> str:
    if state.definition is not None:
        return state.definition.name
    return (new_row.workflow_name if new_row is not None else None) or held.workflow_name or "unknown"


def _about(state: RunState) -> dict[str, str]:
    return {"run_id": state.run_id}
