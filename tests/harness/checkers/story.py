"""Histories told by hand: a small book-keeper of rows, offsets and snapshots, with verbs for what happens in a run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.checkers import Crash, check_all
from harness.history import Event, History
from harness.verdict import Finding

TIME = "2026-01-01T00:00:{:02d}.{:03d}Z"


@dataclass
class Execution:
    """One execution of an agent step under way."""

    run: str
    step: str
    agent: str
    input: Any
    task_id: str
    row: dict[str, Any]


class Story:
    """Verbs append events. Rows, topics and times are kept so that a story told in order is a good history."""

    def __init__(self, **begin: Any) -> None:
        self.events: list[Event] = []
        self.run_rows: dict[str, dict[str, Any]] = {}
        self.step_rows: dict[str, list[dict[str, Any]]] = {}
        self.offsets: dict[str, int] = {}
        self.count = 0
        self.at = 0.0
        self.add(
            "harness", "begin", scenario="by/hand", clauses=[], **{"roles": ["api", "consumer", "bridge"], **begin}
        )

    def now(self) -> str:
        """The subject's clock, in step with the harness's."""
        return TIME.format(int(self.at) % 60, int(self.at * 1000) % 1000)

    def add(self, source: Any, kind: str, run: str | None = None, **data: Any) -> Event:
        self.at = round(self.at + 0.001, 3)
        event = Event(len(self.events), self.at, self.now(), source, kind, run, copy.deepcopy(data))
        self.events.append(event)
        return event

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds

    def message(
        self, topic: str, value: Any, *, run: str | None, by: str = "subject", key: Any = "", partition: int = 0
    ) -> Event:
        offset = self.offsets[topic] = self.offsets.get(topic, -1) + 1
        data = {"value": value} if isinstance(value, Mapping) else {"raw": value, "value": None}
        key = run if key == "" else key
        return self.add(
            "kafka", "message", run, topic=topic, partition=partition, offset=offset, key=key, by=by, headers={}, **data
        )

    def snapshot(self, because: Event) -> Event:
        run = because.run
        assert run is not None
        return self.add(
            "database",
            "snapshot",
            run,
            because=because.seq,
            run_row=self.run_rows.get(run),
            step_rows=self.step_rows.get(run, []),
        )

    def run(self, plan: Mapping[str, Any], given: Any, *, alias: str = "r", via: str = "rest") -> str:
        """An accepted run, PENDING, with its request on Kafka."""
        self.count += 1
        run = f"run-00000000-0000-4000-8000-{self.count:012d}"
        full = {"workflow_id": "wf-x-1", "name": "x", "version": "1", **plan}
        self.add("harness", "run", run, alias=alias, workflow="main", plan=full, input=given, via=via)
        self.set_run(
            run, status="PENDING", created_at=self.now(), completed_at=None, cancelled_at=None, error_message=None
        )
        self.message("requests", self.request(run), run=run, by="subject" if via == "rest" else "harness")
        return run

    def request(self, run: str) -> dict[str, Any]:
        made = next(event for event in self.events if event.kind == "run" and event.run == run)
        return {
            "run_id": run,
            "workflow_plan": made["plan"],
            "input_data": made["input"],
            "timestamp": self.now(),
            "message_type": "execution_request",
        }

    def set_run(self, run: str, **columns: Any) -> None:
        self.run_rows[run] = {**self.run_rows.get(run, {"run_id": run, "cancelled_by": None}), **columns}
        self.add("database", "run_row", run, row=self.run_rows[run])

    def take_up(self, run: str) -> None:
        self.set_run(run, status="RUNNING")
        self.tell_run(run, "RUNNING")

    def tell_run(self, run: str, status: str) -> Event:
        value = {
            "run_id": run,
            "step_id": run,
            "step_name": "x",
            "status": status,
            "timestamp": self.now(),
            "metadata": {"scope": "run"},
        }
        event = self.message("updates", value, run=run)
        self.snapshot(event)
        return event

    def tell(self, run: str, step: str, status: str) -> Event:
        self.count += 1
        value = {
            "run_id": run, "step_id": step, "step_name": step, "status": status, "timestamp": self.now(), "metadata": {"n": self.count},
        }  # fmt: skip
        event = self.message("updates", value, run=run)
        self.snapshot(event)
        return event

    def task(self, one: Execution, *, by: str = "subject", partition: int = 0, **changed: Any) -> Event:
        value = {
            "run_id": one.run, "task_id": one.task_id, "agent_name": one.agent, "input_data": one.input,
            "correlation_id": one.run, "timestamp": self.now(), **changed,
        }  # fmt: skip
        event = self.message("tasks", value, run=one.run, by=by, partition=partition)
        if by == "subject":
            self.snapshot(event)
        return event

    def begin(
        self, run: str, step: str, given: Any = None, *, agent: str = "worker", task_id: str | None = None
    ) -> Execution:
        """A step's row, update and task."""
        self.count += 1
        given = {} if given is None else given
        row = {
            "id": self.count, "run_id": run, "step_id": step, "step_name": step, "agent_name": agent, "status": "RUNNING",
            "input_data": given, "output_data": None, "error_message": None, "started_at": self.now(), "completed_at": None,
        }  # fmt: skip
        self.step_rows.setdefault(run, []).append(row)
        self.add("database", "step_row", run, row=row)
        self.tell(run, step, "RUNNING")
        one = Execution(run, step, agent, given, task_id or f"task-{self.count}", row)
        self.task(one)
        return one

    def call(self, one: Execution, **headers: Any) -> int:
        self.count += 1
        named = {"idempotency_key": one.task_id, "correlation_id": one.run, "input": one.input, **headers}
        self.add("agent", "call", one.run, call=self.count, agent=one.agent, task_id=one.task_id, headers={}, **named)
        return self.count

    def answer(
        self, one: Execution, call: int, output: Any = None, *, status: int | None = 200, ending: str = "answered"
    ) -> Event:
        return self.add(
            "agent",
            "answer",
            one.run,
            call=call,
            agent=one.agent,
            task_id=one.task_id,
            ending=ending,
            status=status,
            output=output,
            error=None,
        )

    def result(
        self, one: Execution, output: Any = None, *, error: str | None = None, by: str = "subject", **changed: Any
    ) -> Event:
        status = "SUCCESS" if error is None else "FAILURE"
        value = {
            "run_id": one.run, "task_id": one.task_id, "status": status, "output_data": output, "correlation_id": one.run,
            "error_message": error, "timestamp": self.now(), **changed,
        }  # fmt: skip
        return self.message("results", value, run=one.run, by=by)

    def finish(self, one: Execution, output: Any = None, *, error: str | None = None) -> None:
        """The end of a step in row and update."""
        one.row.update(
            status="COMPLETED" if error is None else "FAILED",
            output_data=output if error is None else None,
            error_message=error,
            completed_at=self.now(),
        )
        self.add("database", "step_row", one.run, row=one.row)
        self.tell(one.run, one.step, one.row["status"])

    def serve(self, one: Execution, output: Any = None, *, error: str | None = None) -> None:
        """Call, answer, result and end."""
        self.ask(one, output, error=error)
        self.finish(one, output, error=error)

    def ask(self, one: Execution, output: Any = None, *, error: str | None = None) -> None:
        said = output if error is None else {"status": {"state": "failed", "message": error}}
        self.answer(one, self.call(one), said)
        self.result(one, output, error=error)

    def do(
        self,
        run: str,
        step: str,
        given: Any = None,
        output: Any = None,
        *,
        error: str | None = None,
        agent: str = "worker",
    ) -> Execution:
        """One whole step."""
        one = self.begin(run, step, given, agent=agent)
        self.serve(one, output, error=error)
        return one

    def composite(self, run: str, step: str, output: Any, status: str = "COMPLETED") -> None:
        """A composite's row, once it has ended."""
        self.count += 1
        row = {
            "id": self.count, "run_id": run, "step_id": step, "status": status, "input_data": {}, "output_data": output,
            "error_message": None if status == "COMPLETED" else "by its parts", "started_at": self.now(), "completed_at": self.now(),
        }  # fmt: skip
        self.step_rows.setdefault(run, []).append(row)
        self.add("database", "step_row", run, row=row)

    def over(self, run: str, status: str = "COMPLETED", error: str | None = None) -> None:
        """The run's end."""
        times = {"cancelled_at" if status == "CANCELLED" else "completed_at": self.now()}
        self.set_run(run, status=status, error_message=error, **times)
        self.tell_run(run, status)

    def rest(self, method: str, path: str, status: int, body: Any = None) -> tuple[Event, Event]:
        self.count += 1
        number = self.count
        request = self.add("rest", "request", None, request=number, method=method, path=f"/api/v1{path}", body=None)
        return request, self.add("rest", "answer", None, request=number, status=status, body=body)

    def process(self, kind: str, process: str = "consumer-1") -> Event:
        return self.add("process", kind, None, process=process, exit_code=None)

    def end(self) -> History:
        self.add("harness", "end", reason="all is seen", waited=True, drained=True)
        return History(tuple(self.events))


def steps(*ids: str, **more: Mapping[str, Any]) -> dict[str, Any]:
    """A plan of agent steps in a chain; `more` gives steps further fields or whole steps of other types."""
    found: dict[str, Any] = {}
    for number, step in enumerate(ids):
        behind = ids[number + 1] if number + 1 < len(ids) else None
        found[step] = {"id": step, "agent_name": "worker", "next_step": behind, **more.pop(step, {})}
    for step, fields in more.items():
        found[step] = {"id": step, "agent_name": "worker", **fields}
    return {"start_step": ids[0], "steps": found}


def judged(history: History) -> list[Finding]:
    """Findings of all checkers; a crash fails the test."""
    findings, crashes = check_all(history)
    assert crashes == [], crashes[0].traceback
    return findings


def clauses(history: History) -> set[tuple[str, str]]:
    """(checker, clause) of every finding."""
    return {(finding.checker, finding.clause) for finding in judged(history)}


def changed(history: History, at: Callable[[Event], bool], change: Callable[[dict[str, Any]], object]) -> History:
    """The history with the data of the events that match changed in place. At least one must match."""
    events = []
    number = 0
    for event in history:
        data = copy.deepcopy(dict(event.data))
        if at(event):
            change(data)
            number += 1
        events.append(Event(event.seq, event.at, event.wall, event.source, event.kind, event.run, data))
    assert number, "nothing was changed"
    return History(tuple(events))


__all__ = ["Crash", "Execution", "Story", "changed", "clauses", "judged", "steps"]


def masked(output: Mapping[str, Any]) -> History:
    """A run whose agent repeats a secret of its record in an answer, of which the bridge has made this output."""
    story = Story(agent_records={"worker": {"auth_config": {"token": "s3cret"}}})
    run = story.run(steps("a"), {})
    story.take_up(run)
    one = story.begin(run, "a")
    story.answer(one, story.call(one), {"v": 1, "said": "nothing to hide", "echo": "I was given s3cret"})
    story.result(one, output)
    story.finish(one, output)
    story.over(run)
    return story.end()
