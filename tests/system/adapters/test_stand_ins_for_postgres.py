"""One suite for PostgreSQL and its stand-in: the stores of the reference do the same on both, answer by answer."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from system.adapters.membership import Slot
from system.adapters.postgres import connect
from system.api import store_audit, store_runs
from system.bridge.redelivery import AppliedResults
from system.consumer.messages import CancellationRequest
from system.consumer.rows import HeldRun, NewRow, RunChange, record_of
from system.consumer.store import Conflict, ConsumerStore
from system.definitions import load_definition
from system.engine.decide import decide
from system.engine.decisions import PublishTask, StepChanged, StepSuperseded
from system.engine.events import CancellationRequested, Event, ExecutionRequested, ResultReceived
from system.engine.state import RunState
from system.outbox import Outbox
from system.ports import Message
from system.simulation.choices import Choices
from system.simulation.database.engine import MemoryEngine, Server
from system.simulation.database.tables import Session
from system.simulation.machine import Machine, Process
from system.tables import agents, workflow_definitions

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
DEFINITION_ID = uuid.UUID(int=7)
JSON = {
    "z": 1, "aa": [1.5, -0.0, 1e22, 1e-7, 2.0, 10**25], "a": {"ü": None, "b": {}}, "": [], "text": "ä🦊\\u0000", "true": True,
}  # fmt: skip
PLAN = {
    "name": "compared", "start_step": "a", "steps": {
        "a": {"id": "a", "type": "agent", "agent_name": "echo", "next_step": "f", "input_mapping": {"x": "${workflow.input.z}"}},
        "f": {"id": "f", "type": "fork_join", "next_step": None, "fork_join_config": {
            "join_policy": "any", "branches": {"l": {"steps": ["b"]}, "r": {"steps": ["c"], "timeout_seconds": 5}}}},
        "b": {"id": "b", "type": "agent", "agent_name": "echo", "next_step": None, "input_mapping": {"all": "${workflow.input}"}},
        "c": {"id": "c", "type": "agent", "agent_name": "echo", "next_step": None, "input_mapping": {}},
    },
}  # fmt: skip


class _Silent:
    def publish(self, message: Message, on_delivered: Any) -> None: ...

    def poll(self, timeout_seconds: float = 0.0) -> None: ...

    def flush(self, timeout_seconds: float) -> int:
        return 0


@dataclass
class Side:
    """One of the two: its engine, and another one as of another process."""

    engine: Engine
    other: Engine
    owners: Iterator[int]

    def store(self, engine: Engine | None = None) -> tuple[ConsumerStore, Outbox]:
        used = self.engine if engine is None else engine
        outbox = Outbox(used, _Silent(), takeover_ms=600_000, new_owner=lambda: next(self.owners))
        outbox.open()
        return ConsumerStore(used, outbox, runs_have_deadlines=True), outbox


def _owners() -> Iterator[int]:
    yield from range(100, 10_000)


@pytest.fixture
def real(tables_database: Callable[[], str]) -> Iterator[Side]:
    url = tables_database()
    engines = [connect(url, pool_size=5, application_name="compared") for _ in range(2)]
    with engines[0].begin() as connection:
        connection.execute(
            insert(workflow_definitions).values(id=DEFINITION_ID, name="compared", version=1, workflow_data=PLAN)
        )
        connection.execute(insert(agents).values(name="echo", url="http://agents/"))
    yield Side(*engines, _owners())
    for engine in engines:
        engine.dispose()


@pytest.fixture
def memory() -> Side:
    machine = Machine(Choices(0, 1.0), 0.0)
    server = Server(machine)
    transaction = Session(server.tables).begin()
    transaction.insert("workflow_definitions", DEFINITION_ID, {"id": DEFINITION_ID, "version": 1, "status": "active"})
    transaction.insert(
        "agents", "echo", {column.name: None for column in agents.columns} | {"name": "echo", "url": "http://agents/"}
    )
    transaction.commit()
    engines = [cast(Engine, MemoryEngine(server, Process(machine, name))) for name in ("one", "other")]
    return Side(*engines, _owners())


@pytest.fixture
def both(real: Side, memory: Side) -> list[Side]:
    return [real, memory]


def same(both: list[Side], ask: Callable[[Side], Any]) -> Any:
    """What both answer; they must answer the same."""
    answers = [ask(side) for side in both]
    assert repr(answers[1]) == repr(answers[0])
    return answers[0]


def raised(work: Callable[[], Any]) -> Any:
    """The kind of error that some work ends in, with what it names; or its value."""
    try:
        return work()
    except Conflict as conflict:
        return "Conflict", sorted(conflict.run_ids)
    except IntegrityError as error:
        return "IntegrityError", cast(Any, error.orig).diag.constraint_name
    except (DataError, OperationalError) as error:
        return type(error).__name__


def rows_of(store: ConsumerStore, run_ids: list[str]) -> Any:
    runs = sorted((sorted(row.items(), key=str) for row in map(dict, store.load_runs(run_ids))), key=str)
    return runs, {run_id: [dict(row) for row in rows] for run_id, rows in store.load_steps(run_ids).items()}


class _Scripted:
    """A seeded life of some runs, done through the store of one side."""

    def __init__(self, side: Side, seed: int) -> None:
        self._random = random.Random(seed)
        self._store, self._outbox = side.store()
        self._definition = load_definition(PLAN)
        self._held: dict[str, HeldRun] = {}
        self.told: list[Any] = []

    def live(self, steps: int) -> None:
        for number in range(steps):
            self._step(NOW + timedelta(milliseconds=number))

    def _step(self, now: datetime) -> None:
        run_ids = [f"run-{number}" for number in range(5)]
        run_id = self._random.choice(run_ids)
        held = self._held.get(run_id)
        if held is None:
            state = RunState(run_id, "PENDING", self._definition, JSON, now, clock=now)
            held = HeldRun(state, 0, "PENDING", None, is_new=True)
        if self._random.random() < 0.15:
            held = HeldRun(held.state, held.revision - 1, held.row_status, held.plan_digest, is_new=held.is_new)
        change, messages = self._change(held, now)
        self.told.append(
            raised(
                lambda: self._store.write(
                    [change], messages, [(run_id, "branch", "f:r")] if self._random.random() < 0.2 else []
                )
            )
        )
        if not isinstance(self.told[-1], tuple) and self.told[-1] != "DataError":
            self._held[run_id] = HeldRun(change.state, held.revision + 1, change.state.status, "d1")
        self.told.append(rows_of(self._store, run_ids))
        self.told.append(self._store.due_timers(now + timedelta(seconds=self._random.choice([0, 4, 6])), 2))
        self.told.append(self._store.unanswered_runs(now, 3))
        if self._random.random() < 0.2:
            request = CancellationRequest(f"run-{self._random.randrange(9)}", "me", None, now)
            self.told.append(self._store.keep_early_cancellation(request, now))
            self.told.append(sorted(self._store.early_cancellations([f"run-{n}" for n in range(9)]).items()))

    def _change(self, held: HeldRun, now: datetime) -> tuple[RunChange, list[Message]]:
        state = held.state
        events: list[Event] = [CancellationRequested(now)] if self._random.random() < 0.1 else []
        if state.status == "PENDING":
            events.append(ExecutionRequested(now))
        events += [
            ResultReceived(task_id, self._random.random() < 0.8, JSON, error_message="no")
            for task_id in sorted(state.in_flight)[:1]
        ]
        change = RunChange(held, state, plan_digest="d1", plan=PLAN, new_row=NewRow("wf", "compared", JSON))
        messages = []
        for event in events:
            change.state, decisions = decide(change.state, event, now)
            for decision in decisions:
                if isinstance(decision, StepChanged):
                    change.steps[decision.record.path, decision.record.generation] = decision.record
                elif isinstance(decision, StepSuperseded):
                    change.superseded.append((decision.path, decision.generation))
                elif isinstance(decision, PublishTask):
                    messages.append(Message("tasks", b"k", decision.task_id.encode()))
        if state.status == "PENDING":
            change.started_at = now
            change.timers_set["branch", "f:r"] = now + timedelta(seconds=5)
        if change.state.status in ("COMPLETED", "FAILED", "CANCELLED"):
            change.ended_at = now
        return change, messages


@pytest.mark.parametrize("seed", range(6))
def test_the_consumers_store_answers_alike_through_the_lives_of_runs(both: list[Side], seed: int) -> None:
    def ask(side: Side) -> Any:
        script = _Scripted(side, seed)
        script.live(40)
        return script.told

    told = same(both, ask)
    assert any(isinstance(answer, tuple) and answer[0] == "Conflict" for answer in told), "the fence was met"


def test_records_come_back_as_they_were_written(both: list[Side]) -> None:
    def ask(side: Side) -> Any:
        script = _Scripted(side, 1)
        script.live(10)
        rows = script._store.load_steps(["run-0", "run-1", "run-2", "run-3", "run-4"])
        return [record_of(row) for found in rows.values() for row in found]

    assert same(both, ask)


def test_the_api_starts_cancels_and_retries_alike(both: list[Side]) -> None:
    def values(run_id: str, version: int = 1) -> dict[str, Any]:
        return {
            "definition_id": DEFINITION_ID, "version": version, "owner": 5, "messages": "[]", "run_id": run_id, "workflow_id": "wf",
            "workflow_name": "compared", "input_data": '{"b": 1, "a": [1e22]}', "triggered_by": None, "created_at": NOW,
            "plan_digest": "d", "plan": '{"b": 1, "a": 2}',
        }  # fmt: skip

    def ask(side: Side) -> Any:
        told: list[Any] = []

        def do(work: Callable[[Any], Any]) -> None:
            def inside() -> Any:
                with side.engine.begin() as connection:
                    answer = work(connection)
                    return dict(answer) if hasattr(answer, "keys") else answer

            told.append(raised(inside))

        for run_id, version, keep in (("run-1", 1, True), ("run-1", 1, False), ("run-2", 2, True), ("run-3", 1, True)):
            do(lambda c, r=run_id, v=version, k=keep: store_runs.start(c, values(r, v), keep_plan=k))  # type: ignore[misc]
        for run_id in ("run-1", "run-2"):
            do(lambda c, r=run_id: store_runs.get(c, r))  # type: ignore[misc]
            do(lambda c, r=run_id: store_runs.retry(c, r, None, NOW))  # type: ignore[misc]
            do(lambda c, r=run_id: store_runs.cancel(c, r, "me", NOW))  # type: ignore[misc]
            do(lambda c, r=run_id: store_runs.cancel(c, r, "me again", NOW))  # type: ignore[misc]
            do(lambda c, r=run_id: store_runs.lock(c, r))  # type: ignore[misc]
            do(lambda c, r=run_id: store_runs.retry(c, r, "a", NOW))  # type: ignore[misc]
            do(lambda c, r=run_id: store_runs.point_at_entry(c, r, 99))  # type: ignore[misc]
            do(lambda c, r=run_id: store_runs.outbox_entry_of(c, r))  # type: ignore[misc]
            do(lambda c, r=run_id: store_runs.reached(c, r, "a"))  # type: ignore[misc]
        do(lambda c: store_runs.plan_of(c, "d"))
        do(lambda c: store_runs.plan_of(c, "none"))
        do(lambda c: store_audit.note(c, "run", "run-1", "cancel", "me", {"at": "x"}))
        do(lambda c: c.execute(select(agents.c.name, agents.c.url).where(agents.c.name.in_(["echo", "nobody"]))).all())
        return told

    same(both, ask)


def test_text_with_the_character_nul_is_refused(both: list[Side]) -> None:
    def ask(side: Side) -> Any:
        store, _ = side.store()
        state = RunState("run-1", "PENDING", None, {"x": "\0"}, NOW, clock=NOW)
        change = RunChange(
            HeldRun(state, 0, "PENDING", None, is_new=True), state, new_row=NewRow("wf", "n", {"x": "\0"})
        )
        return raised(lambda: store.write([change], [], [])), rows_of(store, ["run-1"])

    assert same(both, ask)[0] == "DataError"


def test_entries_of_a_dead_owner_are_taken_over_and_those_of_a_living_one_are_not(both: list[Side]) -> None:
    def ask(side: Side) -> Any:
        _, mine = side.store()
        _, others = side.store(side.other)
        entries = []
        for outbox, engine in ((mine, side.engine), (others, side.other), (others, side.other)):
            with engine.begin() as connection:
                entries.append(outbox.write(connection, [Message("t", b"k", b"v")]))
        told = [
            entries,
            mine.sweep(),
            mine.still_owed_by_others(entries),
            mine.sweep(takeover_seconds=-1.0, only=entries[1:2]),
        ]
        others.release()
        told += [mine.sweep(only=[]), mine.sweep(only=entries[:1]), mine.sweep(), mine.still_owed_by_others(entries)]
        return told

    assert same(both, ask)[6] == [3]


def test_the_lowest_free_slot_is_taken_and_is_free_again_when_it_is_released(both: list[Side]) -> None:
    def ask(side: Side) -> Any:
        one, two, three = Slot(side.engine, "g"), Slot(side.other, "g"), Slot(side.other, "another")
        told = [one.take(), two.take(), three.take(), one.is_held()]
        one.release()
        return [*told, Slot(side.other, "g").take(), two.take(avoid=0)]

    assert same(both, ask) == [0, 1, 0, True, 0, 1]


def test_a_task_counts_as_applied_only_when_no_row_of_it_is_open(both: list[Side]) -> None:
    def ask(side: Side) -> Any:
        script = _Scripted(side, 3)
        script.live(30)
        found = script._store.load_steps([f"run-{n}" for n in range(5)])
        keys = [(row["run_id"], row["task_id"]) for rows in found.values() for row in rows if row["task_id"]]
        return sorted(AppliedResults(side.engine, patience_seconds=1)._among([*keys, ("run-0", "none")]))

    assert same(both, ask)


def test_who_changes_a_row_that_is_being_changed_waits_and_looks_again(real: Side) -> None:
    """What the stand-in's rows do under the scheduler, as PostgreSQL does it: the second change meets the first one's."""
    with real.engine.begin() as connection:
        store_runs.start(connection, {
            "definition_id": DEFINITION_ID, "version": 1, "owner": 5, "messages": "[]", "run_id": "run-1", "workflow_id": "wf",
            "workflow_name": "n", "input_data": "{}", "triggered_by": None, "created_at": NOW, "plan_digest": "d", "plan": "{}",
        }, keep_plan=True)  # fmt: skip
    told = []

    def second() -> None:
        with real.other.begin() as connection:
            told.append(store_runs.cancel(connection, "run-1", "second", NOW))

    thread = threading.Thread(target=second)
    with real.engine.begin() as connection:
        assert store_runs.cancel(connection, "run-1", "first", NOW) is not None
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(10)
    assert told == [None]


def test_who_changes_a_row_that_is_being_changed_waits_and_looks_again_in_memory() -> None:
    machine = Machine(Choices(0, 1.0), 0.0)
    server = Server(machine)
    with machine.outside():
        transaction = Session(server.tables).begin()
        transaction.insert(
            "workflow_runs",
            "run-1",
            {"run_id": "run-1", "status": "RUNNING", "revision": 1}
            | dict.fromkeys(store_runs._NAMES[8:])
            | dict.fromkeys(store_runs._NAMES[1:4]),
        )
        transaction.commit()
    told: list[str] = []
    errors: list[BaseException] = []

    def cancelling(name: str) -> None:
        engine = cast(Engine, MemoryEngine(server, Process(machine, name)))

        def work() -> None:
            with engine.begin() as connection:
                row = connection.execute(
                    store_runs.update(store_runs.workflow_runs)
                    .where(store_runs._R.run_id == "run-1", store_runs._R.status.in_(("PENDING", "RUNNING")))
                    .values(status="CANCELLED")
                    .returning(store_runs._R.status)
                ).one_or_none()
                told.append(f"{name} {row}")

        machine.start(cast(Any, engine).process, name, work, errors.append)

    cancelling("first")
    cancelling("second")
    while machine.ready or (len(told) < 2 and machine.advance()):
        machine.run()
    assert errors == []
    assert told == ["first ('CANCELLED',)", "second None"]


def test_every_statement_of_the_stand_in_is_one_that_the_reference_still_makes() -> None:
    from pathlib import Path

    from system.simulation.database import statements

    sources = "".join(path.read_text() for path in Path("system").rglob("*.py") if "simulation" not in path.parts)
    quoted = [text for text in statements.BY_TEXT if "\n" not in text]
    assert [text for text in quoted if text not in sources] == []
