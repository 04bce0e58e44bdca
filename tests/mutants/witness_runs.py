"""What engine, folding and readers do on a battery of small cases, as plain values: the same for equal code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from system import definitions, plans
from system.consumer import executor, folding, loop, messages, rows, store, work
from system.consumer.messages import AgentResult, CancellationRequest, ExecutionRequest
from system.engine import decide, state
from system.engine.definition import InvalidDefinition
from system.ports import Received

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = "run-0e4b0e0a-6f0c-4d5e-9a51-5d3f7c1b8a42"
_LIMITS = ("tasks", "updates", 1_000_000, 0)
_MOST_ROUNDS = 200

Answer = Mapping[str, Any] | str | None
"""An output, an error message, or None for a task that stays unanswered."""


@dataclass
class Case:
    """A workflow with its input; `answers` gives what an agent step says by its id (and input), an echo otherwise.

    `then` are further things that happen once nothing more can be answered: `cancel`, `retry`, `retry:STEP`, `time`,
    `restore`, `late`, `copy`.
    """

    steps: dict[str, Any]
    start: str
    input_data: Any = field(
        default_factory=lambda: {"x": 1, "items": [1, 2, 3], "t": True, "text": "${workflow.input.x}"}
    )
    answers: dict[str, Callable[[Any], Answer]] = field(default_factory=dict)
    then: tuple[str, ...] = ()
    newest_first: bool = False


def agent(step_id: str, mapping: Any = None, next_step: str | None = None) -> dict[str, Any]:
    step = {"id": step_id, "agent_name": "worker", "next_step": next_step}
    return step if mapping is None else {**step, "input_mapping": mapping}


def _says(value: Answer) -> Callable[[Any], Answer]:
    return lambda _: value


def _nested(kind: dict[str, Any], *children: dict[str, Any], next_step: str | None = None) -> dict[str, Any]:
    return {"c": {"id": "c", "next_step": next_step, **kind}, **{child["id"]: child for child in children}}


def _loop(body: list[str], **more: Any) -> dict[str, Any]:
    return {"type": "loop", "loop_config": {"collection": "${workflow.input.items}", "loop_body": body, **more}}


def _fork(policy: str, branches: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "fork_join", "fork_join_config": {"branches": branches, "join_policy": policy, **more}}


def _if(expression: str) -> dict[str, Any]:
    return {"type": "conditional", "condition": {"expression": expression}, "if_true_step": "y", "if_false_step": "n"}


def cases() -> dict[str, Case]:
    """The battery."""
    found: dict[str, Case] = {}
    chain = {
        "a": agent("a", {"x": "${workflow.input.x}"}, "b"),
        "b": agent("b", {"y": "${a.output}"}, "d"),
        "d": agent("d"),
    }
    found["chain"] = Case(chain, "a")
    found["null"] = Case(chain, "a", answers={"a": _says(None), "b": _says({"z": None})}, then=("null",))
    found["chain of another run"] = Case(chain, "a", input_data={"x": 2})
    fails = {"b": _says("broken")}
    then: tuple[str, ...]
    for then in ((), ("retry",), ("retry:a",), ("late",), ("copy",), ("cancel",)):
        found[f"failed {then}"] = Case(chain, "a", answers=fails, then=then)
    found["failed without words"] = Case(chain, "a", answers={"b": _says("")})
    waits = {"b": _says(None)}
    for then in (
        ("cancel",),
        ("cancel", "late"),
        ("cancel", "retry"),
        ("cancel", "retry", "old cancel"),
        ("restore",),
        ("other plan",),
    ):
        found[f"cancelled {then}"] = Case(chain, "a", answers=waits, then=then)
    found["references"] = Case(
        {
            "a": agent(
                "a",
                {
                    "whole": "${workflow.input.x}", "t": "${workflow.input.t}", "part": "n ${workflow.input.x}!",
                    "data": "${workflow.input.text}", "deep": {"er": ["${workflow.input.items[1]}"]},
                },
                "b",
            ),
            "b": agent("b", {"m": "${workflow.input.missing}"}, None),
        },
        "a",
    )  # fmt: skip
    for expression in (
        "${workflow.input.gone} == 1",
        "not ${workflow.input.gone}",
        "${workflow.input.t} == 1",
        "${workflow.input.t} or ${workflow.input.gone}",
    ):
        steps = _nested(_if(expression), agent("y"), agent("n"), next_step="z") | {"z": agent("z")}
        found[f"if {expression}"] = Case(steps, "c")
    for limit in (None, 1):
        steps = _nested(
            {"type": "parallel", "parallel_steps": ["p", "q", "r"], "max_parallelism": limit},
            agent("p"),
            agent("q"),
            agent("r"),
        )
        found[f"parallel {limit}"] = Case(steps, "c")
        found[f"parallel {limit} fails"] = Case(steps, "c", answers={"q": _says("no")}, then=("retry",))
    odd: Callable[[Any], Answer] = lambda data: "odd" if data["i"] == 2 else {"i": data["i"]}  # noqa: E731
    for mode in ("sequential", "parallel"):
        for on_error in ("stop", "continue", "collect"):
            for limit in (None, 2):
                config = {"execution_mode": mode, "on_error": on_error, "max_parallelism": limit}
                steps = _nested(
                    _loop(["u", "v"], **config), agent("u", {"i": "${loop.item}", "n": "${loop.index}"}), agent("v")
                )
                found[f"loop {mode} {on_error} {limit}"] = Case(
                    steps, "c", answers={"u": odd}, newest_first=limit is None, then=("retry",)
                )
    found["loop max"] = Case(_nested(_loop(["u"], max_iterations=2), agent("u")), "c")
    two = {"l": {"steps": ["l1", "l2"]}, "r": {"steps": ["r1"], "timeout_seconds": 5}}
    leaves = (agent("l1", {"n": 1}), agent("l2", {"n": 2}), agent("r1", {"n": 3}))
    for policy, more in (
        ("all", {}),
        ("any", {}),
        ("majority", {}),
        ("n_of_m", {"n_required": 2}),
        ("any", {"branch_timeout_seconds": 60}),
    ):
        found[f"fork {policy} {more}"] = Case(
            _nested(_fork(policy, two, **more), *leaves), "c", then=("time",), answers={"r1": _says(None)}
        )
        found[f"fork {policy} {more} fails"] = Case(
            _nested(_fork(policy, two, **more), *leaves), "c", answers={"r1": _says("no")}
        )
    return found


class _World:
    """One run, driven through folding as the consumer does it, with what a database and Kafka would have seen."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.plan = {
            "workflow_id": "wf-w-1",
            "name": "w",
            "version": "1",
            "start_step": case.start,
            "steps": case.steps,
        }
        self.now = START
        self.told: list[Any] = []
        self.waiting: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        self.timers: dict[str, datetime] = {}
        self.records: dict[tuple[str, int], Any] = {}
        self.plans = plans.PlanCache()
        first = state.RunState(RUN, "PENDING", None, case.input_data, START)
        self.held = rows.HeldRun(first, 0, "PENDING", None)

    def fold(self, *contents: Any) -> None:
        self.now += timedelta(seconds=1)
        worked = folding.Folding(self.held, self.plans, folding.Limits(*_LIMITS), self.now)
        folded = worked.fold([work.Item(RUN, content) for content in contents])
        self.told += [json.loads(message.value) for message in (*folded.updates, *folded.tasks)]
        self.told += [message.key.decode() for message in (*folded.updates, *folded.tasks)]
        self.waiting += [json.loads(message.value) for message in folded.tasks]
        if folded.change is None:
            self.told.append("ignored")
            return
        change = folded.change
        self.told.append(store._run_row(change))
        self.timers.update({path: due for (_, path), due in change.timers_set.items()})
        self.records.update(change.steps)
        for key in change.superseded:
            self.records.pop(key, None)
        if change.state.definition is not None:
            self.told += [rows.row_of(RUN, change.state.definition, record) for record in change.steps.values()]
        self.held = rows.HeldRun(change.state, 0, change.state.status, change.plan_digest)

    def request(self, plan: Any = None) -> ExecutionRequest:
        return ExecutionRequest(RUN, plan or self.plan, self.case.input_data, self.now, None, None)

    def answer(self) -> None:
        kept = []
        for _ in range(_MOST_ROUNDS):
            if not self.waiting:
                break
            task = self.waiting.pop(-1 if self.case.newest_first else 0)
            step_id = self._step_of(task)
            say = self.case.answers.get(step_id)
            said = {"echo": task["input_data"]} if say is None else say(task["input_data"])
            if said is None and "null" not in self.case.then:
                kept.append(task)
                continue
            self.answered.append(task)
            self.fold(self.result(task, said))
        self.waiting = kept

    def _step_of(self, task: dict[str, Any]) -> str:
        return next((r.step_id for r in self.held.state.steps.values() if r.task_id == task["task_id"]), "?")

    def result(self, task: dict[str, Any], said: Answer) -> AgentResult:
        failed = isinstance(said, str)
        return AgentResult(RUN, task["task_id"], not failed, None if failed else said, said if failed else None, None)  # type: ignore[arg-type]

    def happens(self, what: str) -> None:
        if what == "cancel":
            self.fold(CancellationRequest(RUN, "ada", None, self.now))
        elif what == "old cancel":
            self.fold(CancellationRequest(RUN, "ada", None, START))
        elif what.startswith("retry"):
            _, _, step = what.partition(":")
            old = self.held.state
            again = replace(
                old, status="PENDING", generation=old.generation + 1, error_message=None, accepted_at=self.now
            )
            self.held = rows.HeldRun(again, 0, "PENDING", self.held.plan_digest, resume_from_step=step or None)
            self.fold(self.request())
        elif what == "other plan":
            self.happens("cancel")
            old = self.held.state
            self.held = rows.HeldRun(replace(old, status="PENDING", generation=1), 0, "PENDING", self.held.plan_digest)
            self.fold(self.request({**self.plan, "steps": {"a": agent("a", {"other": 1})}}))
        elif what == "time":
            self.now += timedelta(seconds=10)
            for path in list(self.timers):
                self.fold(work.Timer("branch", path))
        elif what == "restore":
            blank = replace(self.held.state, steps={}, frames={}, in_flight={})
            restored, _ = decide.restore(blank, list(self.records.values()), self.now)
            self.told.append([sorted(restored.in_flight), sorted(restored.steps)])
        elif what in ("late", "copy"):
            for task in [*self.waiting, *self.answered][:2]:
                self.fold(self.result(task, {"late": True}))
            self.fold(self.request())
        self.answer()


def play(case: Case) -> list[Any]:
    """All that follows from a case, in order."""
    world = _World(case)
    world.fold(world.request())
    world.answer()
    for what in case.then:
        if what != "null":
            world.happens(what)
    return world.told


def _refusals() -> list[str]:
    """What is said of definitions that are not valid."""
    base = {"name": "w", "start_step": "a"}
    steps: list[dict[str, Any]] = [
        {"a": agent("a", {"x": "${b.output}"}, "b"), "b": agent("b")},
        {"a": agent("a"), "b": agent("b")},
        {
            "a": {"id": "a", **_fork("n_of_m", {"l": {"steps": ["b"]}, "r": {"steps": ["d"]}}, n_required=3)},
            "b": agent("b"),
            "d": agent("d"),
        },
        {"a": {"id": "a", **_loop(["b"])}, "b": agent("b", None, "d"), "d": agent("d")},
        {
            "a": {"id": "a", **_loop(["b"])},
            "b": agent("b", None, "e"),
            "e": agent("e"),
            "d": {"id": "d", **_loop(["e"])},
        },
    ]
    told = []
    for one in steps:
        try:
            definitions.load_definition({**base, "steps": one})
            told.append("accepted")
        except InvalidDefinition as error:
            told.append(str(error))
    return told


def _readings() -> list[str]:
    """What the readers make of messages."""
    result = {
        "run_id": RUN.upper().replace("RUN-", "run-"), "task_id": "t", "status": "SUCCESS", "output_data": {"a": None},
        "correlation_id": "c", "error_message": None, "timestamp": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    request = {
        "run_id": result["run_id"],
        "workflow_plan": {},
        "input_data": {},
        "timestamp": "2026-01-02T03:04:05Z",
        "message_type": "execution_request",
    }
    cancellation = {
        "run_id": result["run_id"],
        "timestamp": "2026-01-02T03:04:05Z",
        "message_type": "cancellation_request",
    }
    without = {name: value for name, value in result.items() if name != "error_message"}
    told = []
    for reader, value, key in (
        (loop._result_item, result, b"k"), (loop._result_item, result, None), (loop._result_item, {**result, "more": 1}, b"k"),
        (loop._result_item, without, b"k"), (loop._result_item, {**result, "status": "?"}, b"k"),
        (loop._execution_item, request, b"k"), (loop._execution_item, {**request, "more": 1}, b"k"), (loop._cancellation_item, cancellation, b"k"),
    ):  # fmt: skip
        try:
            item = reader(Received("t", 0, 0, key, json.dumps(value).encode()))
            told.append(f"{item.run_id} {item.content}")
        except (messages.InvalidMessage, SystemExit) as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


def _new_row() -> list[str]:
    """What a run without a row gets."""
    world = _World(Case({"a": agent("a")}, "a"))
    worked = folding.Folding(world.held, world.plans, folding.Limits(*_LIMITS), START)
    worked.give_new_row(world.request())
    bad = _World(Case({"a": agent("a", None, "nowhere")}, "a"))
    bad.fold(bad.request())
    return [repr(worked._change.new_row), repr(bad.told)]


def transcript() -> dict[str, str]:
    """Name of the case → all that came of it, as text; an exception counts as what came of it."""
    told: dict[str, str] = {}
    for name, case in cases().items():
        told[name] = _told(lambda case=case: play(case))  # type: ignore[misc]
    told["refusals"], told["readings"], told["new row"] = _told(_refusals), _told(_readings), _told(_new_row)
    told["ids"] = repr(executor.records_generation([]))
    told["sql"] = "".join(
        getattr(store, name).text for name in sorted(vars(store)) if hasattr(getattr(store, name), "bindparams")
    )
    return told


def _told(look: Callable[[], Any]) -> str:
    try:
        return repr(look())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
