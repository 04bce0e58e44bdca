"""What a workflow comes to with its input and its agents: worked out by plain recursion, without any scheduling.

Written from the contract (section 4 and the clauses DEF to FJN, CMP, FAI, RES). Where it leaves a choice, an execution has
several statuses, or may be absent; where the choice would go on into values, nothing is claimed (:class:`Undecided`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.oracle import conditions
from harness.oracle.answers import AgentScript
from harness.oracle.composites import Ended, fork_join_end, loop_end, parallel_end
from harness.oracle.plan import Plan
from harness.oracle.references import Reference, Unresolvable, resolve, unresolvable_in
from harness.oracle.rounds import Execution, Path, Round, is_in_branch, is_inside
from harness.oracle.values import MISSING
from harness.oracle.wildcards import Said, Undecided, is_fixed

_MOST_EXECUTIONS = 5000
SURE_SECONDS = 20.0
"""A time-out of at least this never fires while agents answer at once, however busy the machine is."""


class _Hangs(Exception):
    """An agent does not answer; only a branch's time-out goes on from here."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


@dataclass(frozen=True)
class _Scope:
    """What a place sees. `ended` are steps by their ids; `loop` the words of the innermost loop around it."""

    ended: Mapping[str, Ended | None]
    loop: Mapping[str, Any] | None = None

    def seeing(self, more: Mapping[str, Ended | None]) -> _Scope:
        return _Scope({**self.ended, **more}, self.loop)


@dataclass
class _Shown:
    """A step's end, and what of it and in it the steps after it can refer to. None: it is left open how it ended."""

    end: Ended
    steps: dict[str, Ended | None] = field(default_factory=dict)


def interpret(
    plan: Plan,
    given: Any,
    agents: Mapping[str, AgentScript],
    *,
    before: Mapping[Path, Execution] | None = None,
    calls: Mapping[str, int] | None = None,
) -> Round:
    """One round. `before` has what was COMPLETED before a retry and is kept; `calls` how often each agent was called.

    Raises:
        Undecided: the contract, or the oracle, does not say.
    """
    working = _Working(plan, given, agents, before or {}, Counter(calls or {}))
    status = working.chain()
    causes = tuple(dict.fromkeys(working.causes())) if status == "FAILED" else ()
    return Round(status, working.executions, causes, dict(working.calls))


class _Working:
    def __init__(
        self,
        plan: Plan,
        given: Any,
        agents: Mapping[str, AgentScript],
        before: Mapping[Path, Execution],
        calls: Counter[str],
    ) -> None:
        self._plan = plan
        self._given = given
        self._agents = agents
        self._before = before
        self.calls = calls
        self.executions: dict[Path, Execution] = {}
        self._slow: dict[Path, float] = {}

    def chain(self) -> str:
        scope = _Scope({})
        for step in self._plan.chain:
            try:
                shown = self._step(((None, step),), scope)
            except _Hangs:
                raise Undecided("an agent never answers, so the run does not end") from None
            if shown.end.status == "FAILED":
                return "FAILED"
            scope = scope.seeing(shown.steps)
        return "COMPLETED"

    def causes(self) -> Iterator[tuple[str, str]]:
        """The failed executions that no other failed one inside them explains."""
        failed = [one for one in self.executions.values() if "FAILED" in one.statuses]
        for one in failed:
            if not any(other is not one and is_inside(other.path, one.path) for other in failed):
                yield one.step, one.said

    def _step(self, path: Path, scope: _Scope) -> _Shown:
        step = path[-1][1]
        if len(self.executions) >= _MOST_EXECUTIONS:
            raise Undecided(f"more than {_MOST_EXECUTIONS} executions")
        kept = self._before.get(path)
        if kept is not None:
            return self._keep(kept)
        written = self._plan.steps[step]
        try:
            given = resolve(written.get("input_mapping") or {}, self._plan.steps, self._lookup(scope), open_text=Said())
        except Unresolvable:
            # Nothing has begun, so that a row is not promised (TBL-04), and neither is an input. Which one of several that lead
            # to nothing is told of is left open: fields of an object have no order.
            missing = unresolvable_in(written.get("input_mapping"), self._plan.steps, self._lookup(scope))
            end = Ended("FAILED", None)
            self._note(path, end, None, said=missing.pop() if len(missing) == 1 else "", may_be_absent=True)
            return _Shown(end, {step: end})
        if self._plan.kind(step) == "agent":
            return self._agent(step, path, given)
        # Its place is noted first: executions stand in the order in which they begin.
        self._note(path, Ended("RUNNING", None), given)
        try:
            shown = self._composite(step, path, scope)
        except _Hangs:
            self._note(path, Ended("FAILED", None), given)
            raise
        self._note(path, shown.end, given)
        shown.steps[step] = shown.end
        return shown

    def _keep(self, kept: Execution) -> _Shown:
        steps: dict[str, Ended | None] = {}
        for path, one in self._before.items():
            if path == kept.path or is_inside(path, kept.path):
                self.executions[path] = replace(one, is_kept=True)
                if not any(isinstance(place, int) for place, _ in path[len(kept.path) :]):
                    steps[one.step] = Ended("COMPLETED", one.output)
        return _Shown(Ended("COMPLETED", kept.output), steps)

    def _note(
        self, path: Path, end: Ended, given: Any, *, said: str = "", may_be_absent: bool = False,
        is_asked: bool = False,
    ) -> None:  # fmt: skip
        self.executions[path] = Execution(
            path, path[-1][1], frozenset({end.status}), given, end.output, said, may_be_absent, is_asked
        )

    def _agent(self, step: str, path: Path, given: Any) -> _Shown:
        name = str(self._plan.steps[step].get("agent_name"))
        script = self._agents.get(name)
        if script is None:
            raise Undecided(f"nothing is known of the agent {name}")
        if not script.is_pure and self._is_asked_side_by_side(step, name):
            raise Undecided(f"which answer of {name} a task gets depends on the order of calls")
        answer = script.answer(given, self.calls[name])
        self.calls[name] += answer.calls
        end = Ended("COMPLETED", answer.output) if answer.succeeded else Ended("FAILED", None)
        self._note(path, end, given, said=answer.said, is_asked=True)
        if answer.seconds:
            self._slow[path] = answer.seconds
        if math.isinf(answer.seconds):
            raise _Hangs(answer.seconds)
        return _Shown(end, {step: end})

    def _is_asked_side_by_side(self, step: str, agent: str) -> bool:
        shared = sum(self._plan.steps[one].get("agent_name") == agent for one in self._plan.agents) > 1
        return shared or any(
            self._plan.steps[loop]["loop_config"].get("execution_mode") == "parallel"
            for loop in self._plan.loops_around(step)
        )

    def _composite(self, step: str, path: Path, scope: _Scope) -> _Shown:
        match self._plan.kind(step):
            case "parallel":
                return self._parallel(step, path, scope)
            case "conditional":
                return self._conditional(step, path, scope)
            case "loop":
                return self._loop(step, path, scope)
            case _:
                return self._fork_join(step, path, scope)

    def _parallel(self, step: str, path: Path, scope: _Scope) -> _Shown:
        children = list(self._plan.steps[step]["parallel_steps"])
        shown, hangs = self._all([lambda child=child: self._step((*path, (None, child)), scope) for child in children])
        if hangs is not None:
            raise hangs
        return _Shown(parallel_end(children, [one.end for one in shown]), _joined(shown))

    def _all(self, parts: list[Any]) -> tuple[list[_Shown], _Hangs | None]:
        """All parts worked out, also those beside one that hangs."""
        shown: list[_Shown] = []
        hangs: _Hangs | None = None
        for part in parts:
            try:
                shown.append(part())
            except _Hangs as error:
                hangs = error
        return shown, hangs

    def _conditional(self, step: str, path: Path, scope: _Scope) -> _Shown:
        written = self._plan.steps[step]
        truth = self._truth(written["condition"]["expression"], scope)
        branch = written.get("if_true_step" if truth else "if_false_step")
        shape = {"condition_result": truth, "branch_taken": "then" if truth else "else", "branch_step_id": branch}
        if branch is None:
            return _Shown(Ended("COMPLETED", {**shape, "branch_output": None}))
        shown = self._step((*path, (None, branch)), scope)
        if shown.end.status == "FAILED":
            return _Shown(Ended("FAILED", None), shown.steps)
        return _Shown(Ended("COMPLETED", {**shape, "branch_output": shown.end.output}), shown.steps)

    def _truth(self, expression: str, scope: _Scope) -> bool:
        try:
            node = conditions.parse(expression, self._plan.steps)
        except conditions.NotParsed as error:
            raise Undecided(f"the oracle does not read the condition {expression}: {error}") from error
        look_up = self._lookup(scope)

        def fixed(reference: Reference) -> Any:
            value = look_up(reference)
            if value is not MISSING and not is_fixed(value):
                raise Undecided(f"{reference.text} is left open, and a condition depends on it")
            return value

        return conditions.evaluate(node, fixed)[0]

    def _loop(self, step: str, path: Path, scope: _Scope) -> _Shown:
        config = self._plan.steps[step]["loop_config"]
        on_error = config.get("on_error") or "stop"
        try:
            items = resolve(config["collection"], self._plan.steps, self._lookup(scope), open_text=Said())
        except Unresolvable:
            return _Shown(Ended("FAILED", None))
        if not isinstance(items, list):
            return _Shown(Ended("FAILED", None))
        items = items[: config.get("max_iterations")]
        side_by_side = config.get("execution_mode") == "parallel"
        stops = on_error == "stop"
        body = list(config["loop_body"])
        ends: list[tuple[str, Ended, str]] = []
        hangs: _Hangs | None = None
        for index, item in enumerate(items):
            words = {
                "item": item, "index": index, "total": len(items), "is_first": index == 0,
                "is_last": index == len(items) - 1,
            }  # fmt: skip
            try:
                last, shown = self._sequence(body, path, index, _Scope(scope.ended, words))
            except _Hangs as error:
                hangs = error
                if not side_by_side:
                    break
                continue
            ends.append((last, shown.end, self.executions[(*path, (index, last))].said))
            if stops and shown.end.status == "FAILED" and not side_by_side:
                break
        if hangs is not None:
            raise hangs
        if stops and side_by_side and any(end.status == "FAILED" for _, end, _ in ends):
            self._loosen_stopped(path, [end for _, end, _ in ends], config.get("max_parallelism"))
        end = loop_end(config, [(name, end) for name, end, _ in ends])
        if on_error == "collect" and end.status == "COMPLETED":
            end = Ended("COMPLETED", _with_messages(end.output, [said for _, _, said in ends]))
        return _Shown(end)

    def _loosen_stopped(self, path: Path, ends: list[Ended], limit: int | None) -> None:
        """Iterations that side by side may, or may not, have started before the failure of another one was known
        (LOP-05, LOP-10): the first `limit` start at once, unless one of them fails without having begun."""
        at_once = len(ends) if limit is None else min(limit, len(ends))
        inside: dict[int, list[Execution]] = {index: [] for index in range(len(ends))}
        for one in self.executions.values():
            if is_inside(one.path, path):
                index = one.path[len(path)][0]
                assert isinstance(index, int)
                inside[index].append(one)
        for index, end in enumerate(ends[:at_once]):
            if end.status == "FAILED" and not any(one.is_asked for one in inside[index]):
                at_once = index + 1
                break
        for index, executions in inside.items():
            # To start, all but limit - 1 of those before must have ended well.
            ended_well = sum(end.status == "COMPLETED" for end in ends[:index])
            can_start = limit is None or self._before or ended_well >= index + 1 - limit
            for one in executions:
                if not can_start:
                    del self.executions[one.path]
                elif self._before or index >= at_once:
                    self.executions[one.path] = replace(one, may_be_absent=True)

    def _sequence(self, steps: list[str], around: Path, place: int | str, scope: _Scope) -> tuple[str, _Shown]:
        """The step that ended it, with its end and all that can be referred to afterwards."""
        seen: dict[str, Ended | None] = {}
        for step in steps:
            shown = self._step((*around, (place, step)), scope)
            seen.update(shown.steps)
            scope = scope.seeing(shown.steps)
            if shown.end.status == "FAILED":
                break
        return step, _Shown(shown.end, seen)

    def _fork_join(self, step: str, path: Path, scope: _Scope) -> _Shown:
        config = self._plan.steps[step]["fork_join_config"]
        parts = [
            lambda name=name, branch=branch: self._branch(
                list(branch["steps"]),
                path,
                name,
                scope,
                self._plan.time_out(step, name),
            )
            for name, branch in config["branches"].items()
        ]
        shown, hangs = self._all(parts)
        if hangs is not None:
            raise hangs
        return _Shown(fork_join_end(config, [one.end for one in shown]), _joined(shown))

    def _branch(self, steps: list[str], fork: Path, name: str, scope: _Scope, timeout_seconds: float | None) -> _Shown:
        try:
            _, shown = self._sequence(steps, fork, name, scope)
        except _Hangs:
            if timeout_seconds is None:
                raise
            return self._timed_out(fork, name)
        if timeout_seconds is None or timeout_seconds >= SURE_SECONDS:
            return shown
        slowest = sum(seconds for path, seconds in self._slow.items() if is_in_branch(path, fork, name))
        if slowest >= 2 * timeout_seconds:
            return self._timed_out(fork, name)
        raise Undecided("whether the branch ends within its time-out depends on how fast everything is")

    def _timed_out(self, fork: Path, name: str) -> _Shown:
        """FJN-10: open steps end FAILED. How far the branch had come by then is left open."""
        seen: dict[str, Ended | None] = {}
        for path, one in list(self.executions.items()):
            if is_in_branch(path, fork, name) and not one.is_kept:
                self.executions[path] = replace(
                    one, statuses=one.statuses - {"RUNNING"} | {"FAILED"}, said="", may_be_absent=True
                )
                if any(isinstance(place, int) for place, _ in path[len(fork) :]):
                    continue
                seen[one.step] = None if "COMPLETED" in one.statuses else Ended("FAILED", None)
        return _Shown(Ended("FAILED", None), seen)

    def _lookup(self, scope: _Scope) -> Any:
        def look_up(reference: Reference) -> Any:
            if reference.source == "input":
                return self._given
            if reference.source == "loop":
                return MISSING if scope.loop is None else scope.loop[reference.name]
            if reference.name not in scope.ended:
                return MISSING
            end = scope.ended[reference.name]
            if end is None:
                raise Undecided(f"whether {reference.name} has an output depends on how fast everything is")
            return end.output if end.status == "COMPLETED" else MISSING

        return look_up


def _joined(shown: list[_Shown]) -> dict[str, Ended | None]:
    return {step: end for one in shown for step, end in one.steps.items()}


def _with_messages(output: Any, said: list[str]) -> Any:
    """LOP-12."""
    entries = [
        {**entry, "error_message": Said(words)} if entry["status"] == "FAILED" else entry
        for entry, words in zip(output["iterations"], said, strict=True)
    ]
    return {**output, "iterations": entries}
