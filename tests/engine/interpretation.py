"""What a workflow means: a definition worked out by plain recursion, with agents as functions and no scheduling at all.

Written from the contract (section 4 and the clauses DEF to FJN, CMP, FAI, RES), so that it shares no mistake with an
executor. It knows no time-outs, no cancellation and no order of arrival; for a loop that stops at a failure while
iterations run side by side it takes every iteration as started, which holds without max_parallelism. How a failure is
worded is the executor's own, but for the agent's words; where the wording is data (LOP-12) it is taken from outside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.engine.agents import Behaviour
from tests.engine.expressions import Undefined, holds, reference_value

Json = Any

# Where an execution stands: (step id, iteration of the loop around it, branch of the fork_join around it), from the top.
Key = tuple[tuple[str, int | None, str | None], ...]


@dataclass(frozen=True)
class Execution:
    """What became of a step at one place."""

    status: str
    input_data: Json
    output_data: Json


Executions = dict[Key, Execution]


@dataclass(frozen=True)
class Scope:
    """What a place sees: executions by step id, and the variables of the innermost loop."""

    definition: Mapping[str, Json]
    input_data: Json
    known: Mapping[str, Execution]
    loop: Mapping[str, Json] | None = None

    def seeing(self, more: Mapping[str, Execution]) -> Scope:
        return Scope(self.definition, self.input_data, {**self.known, **more}, self.loop)

    def within(self, loop: Mapping[str, Json]) -> Scope:
        return Scope(self.definition, self.input_data, self.known, loop)


def interpret(
    definition: Mapping[str, Json],
    input_data: Json,
    behaviour: Behaviour,
    retries: int = 0,
    before: Mapping[Key, Execution] | None = None,
    wording: Mapping[Key, str | None] | None = None,
) -> tuple[str, Executions]:
    """(status of the run, what became of each step). `before` holds what a retried run had done: COMPLETED counts on.

    `wording` gives the error_message of failures that are no agent's.
    """
    interpreter = _Interpreter(definition, behaviour, retries, before or {}, wording or {})
    scope = Scope(definition, input_data, {})
    current: str | None = definition["start_step"]
    while current is not None:
        ended, shown = interpreter.execute(current, (), None, None, scope)
        if ended.status == "FAILED":
            return "FAILED", interpreter.executions
        scope = scope.seeing(shown)
        current = definition["steps"][current].get("next_step")
    return "COMPLETED", interpreter.executions


class _Failed(Exception):
    """The step that is being executed fails."""


class _Interpreter:
    def __init__(
        self,
        definition: Mapping[str, Json],
        behaviour: Behaviour,
        retries: int,
        before: Mapping[Key, Execution],
        wording: Mapping[Key, str | None],
    ) -> None:
        self._steps = definition["steps"]
        self._behaviour = behaviour
        self._retries = retries
        self._before = before
        self._wording = wording
        self.executions: Executions = {}

    def execute(
        self, step_id: str, around: Key, iteration: int | None, branch: str | None, scope: Scope
    ) -> tuple[Execution, dict[str, Execution]]:
        """(what became of the step, what of it and in it the steps after it can refer to)."""
        key = (*around, (step_id, iteration, branch))
        known = self._before.get(key)
        if known is not None and known.status == "COMPLETED":
            return known, self._take_over(key)
        step = self._steps[step_id]
        shown: dict[str, Execution] = {}
        input_data: Json = None
        try:
            try:
                input_data = _resolved(step.get("input_mapping") or {}, scope)
            except Undefined as error:
                raise _Failed(str(error)) from None
            output = getattr(self, "_" + step.get("type", "agent"))(step, key, input_data, scope, shown)
            ended = Execution("COMPLETED", input_data, output)
        except _Failed:
            ended = Execution("FAILED", input_data, None)
        self.executions[key] = ended
        return ended, {step_id: ended, **shown}

    def _take_over(self, key: Key) -> dict[str, Execution]:
        shown = {}
        for other, execution in self._before.items():
            if other[: len(key)] == key:
                self.executions[other] = execution
                if all(iteration is None for _, iteration, _ in other[len(key) :]):
                    shown[other[-1][0]] = execution
        return shown

    def _agent(self, step: Json, _key: Key, input_data: Json, _scope: Scope, _shown: Any) -> Json:
        answer = self._behaviour.answer(step["id"], input_data, self._retries)
        if not answer.succeeded:
            raise _Failed(answer.error_message)
        return answer.output

    def _parallel(self, step: Json, key: Key, _input: Json, scope: Scope, shown: dict[str, Execution]) -> Json:
        ends = {}
        for child in step["parallel_steps"]:
            ends[child], more = self.execute(child, key, None, None, scope)
            shown.update(more)
        if any(end.status == "FAILED" for end in ends.values()):
            raise _Failed
        return {child: end.output_data for child, end in ends.items()}

    def _conditional(self, step: Json, key: Key, _input: Json, scope: Scope, shown: dict[str, Execution]) -> Json:
        result = holds(step["condition"]["expression"], scope)
        output = {"condition_result": result, "branch_taken": "then" if result else "else"}
        child = step.get("if_true_step" if result else "if_false_step")
        if child is None:
            return {**output, "branch_step_id": None, "branch_output": None}
        end, more = self.execute(child, key, None, None, scope)
        shown.update(more)
        if end.status == "FAILED":
            raise _Failed
        return {**output, "branch_step_id": child, "branch_output": end.output_data}

    def _loop(self, step: Json, key: Key, _input: Json, scope: Scope, _shown: Any) -> Json:
        config = step["loop_config"]
        on_error = config.get("on_error") or "stop"
        side_by_side = config.get("execution_mode") == "parallel"
        try:
            items = _resolved(config["collection"], scope)
        except Undefined as error:
            raise _Failed(str(error)) from None
        if not isinstance(items, list):
            raise _Failed
        items = items[: config.get("max_iterations") or len(items)]
        entries: list[dict[str, Json]] = []
        for index, item in enumerate(items):
            loop = {
                "item": item,
                "index": index,
                "total": len(items),
                "is_first": index == 0,
                "is_last": index == len(items) - 1,
            }
            last, end = self._sequence(config["loop_body"], key, index, None, scope.within(loop), {})
            entry = {"step_id": last, "status": end.status, "output_data": end.output_data}
            if end.status == "FAILED" and on_error == "collect":
                entry["error_message"] = self._wording.get((*key, (last, index, None)))
            entries.append(entry)
            if end.status == "FAILED" and on_error == "stop" and not side_by_side:
                break
        failed = sum(entry["status"] == "FAILED" for entry in entries)
        if failed and on_error == "stop":
            raise _Failed
        return {"iterations": entries, "total_count": len(entries), "failed_count": failed}

    def _fork_join(self, step: Json, key: Key, _input: Json, scope: Scope, shown: dict[str, Execution]) -> Json:
        config = step["fork_join_config"]
        branches = config["branches"]
        ends = {
            name: self._sequence(branch["steps"], key, None, name, scope, shown)[1] for name, branch in branches.items()
        }
        completed = sum(end.status == "COMPLETED" for end in ends.values())
        enough = {
            "all": completed == len(branches),
            "any": completed >= 1,
            "majority": completed * 2 > len(branches),
            "n_of_m": completed >= (config.get("n_required") or 0),
        }
        if not enough[config["join_policy"]]:
            raise _Failed
        return {name: end.output_data for name, end in ends.items()}

    def _sequence(
        self,
        step_ids: list[str],
        key: Key,
        iteration: int | None,
        branch: str | None,
        scope: Scope,
        shown: dict[str, Execution],
    ) -> tuple[str, Execution]:
        """(id of the step that ended it, what became of that step)."""
        for step_id in step_ids:
            end, more = self.execute(step_id, key, iteration, branch, scope)
            shown.update(more)
            scope = scope.seeing(more)
            if end.status == "FAILED":
                break
        return step_id, end


def _resolved(value: Json, scope: Scope) -> Json:
    if isinstance(value, dict):
        return {name: _resolved(item, scope) for name, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, scope) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return reference_value(value, scope, whole=True)
    except LookupError:
        return "".join(_interpolated(value, scope))


def _interpolated(text: str, scope: Scope) -> Iterator[str]:
    for piece in re.split(r"(\$\{[^{}]*\})", text):
        try:
            value = reference_value(piece, scope, whole=False)
        except LookupError:
            yield piece
        else:
            yield value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
