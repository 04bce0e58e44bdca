"""Scripts of agents, in the form that scenario files have: what each agent of a workflow answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from harness.generation.choosing import Chooser
from harness.generation.needs import Needs, Path, needs_of, object_with
from harness.generation.values import value
from harness.oracle.plan import Plan

Json = Any
Agents = dict[str, Any]

_MESSAGES = ("no", "out of stock", "ä 🦊", '"quoted" \\', "${workflow.input.n}", "two\nlines")
_NOT_JSON_RPC = ("not JSON", "", "[]", "{}", "null", '{"jsonrpc": "2.0", "id": 1}')
_TOLD_ONE_IN = 16
_RESERVED = frozenset({"status", "artifacts", "text"})
"""Members of a result that mean something to a bridge (AGT-06, AGT-09)."""

_ARTIFACTS = (
    {"parts": [{"kind": "text", "text": "one"}, {"kind": "data", "data": {"n": 1}}, {"kind": "text", "text": ""}]},
    {"parts": [{"kind": "text", "text": "ä 🦊"}]},
)
_DEMANDED = (
    {"bearer": {"token": "a-token-that-no-text-has"}},
    {"api_key": {"key": "a-key-that-no-text-has"}},
    {"api_key": {"key": "a-key-that-no-text-has", "header_name": "X-Agent-Key"}},
    {"custom_header": {"header_name": "X-Agent", "header_value": "a-value-that-no-text-has"}},
)
_UNKNOWN = ({"registered": False}, {"status": "inactive"})
_HANGING = {"per": "task", "timeout_ms": 2000, "retry_config": {"max_retries": 3}}
"""What answers after all has so much time, three times, that a busy machine does not use it up."""

_HANGING_FOR_EVER = {"timeout_ms": 1000, "retry_config": {"max_retries": 1}}
_PATIENT = {"per": "task", "retry_config": {"max_retries": 6, "initial_delay_ms": 500, "max_delay_ms": 2000}}
"""So many pauses, and so long, that none of them being made is no chance (AGT-14)."""


@st.composite
def agents(draw: st.DrawFn, workflow: Mapping[str, Any]) -> Agents:
    """Agents for a workflow: most answer with what later steps refer to, some fail, some are slow or speak no JSON-RPC."""
    return some_agents(Chooser(draw), workflow)


def some_agents(choose: Chooser, workflow: Mapping[str, Any], *, counting: bool = True) -> Agents:
    """Such agents; with `counting` false, none whose answer depends on how often it was called."""
    plan = Plan.of(workflow)
    needs = needs_of(workflow)
    found: Agents = {}
    for step in plan.agents:
        name = str(plan.steps[step]["agent_name"])
        if name not in found:
            users = [one for one in plan.agents if plan.steps[one]["agent_name"] == name]
            found[name] = _agent(choose, plan, users, needs, counting)
    return found


def _agent(choose: Chooser, plan: Plan, users: list[str], needs: Needs, counting: bool) -> Any:
    paths = frozenset(path for step in users for path in needs.of_step.get(step, ()))
    good = _good(choose, paths)
    if choose.rarely(_TOLD_ONE_IN):
        return _by_its_record(choose, good, in_loop=any(plan.loops_around(step) for step in users))
    if not choose.rarely(4):
        return [good]
    bad = _bad(choose)
    in_loop = any(plan.loops_around(step) for step in users)
    is_transport = next(iter(bad)) in ("status", "reset")
    kind = choose.number(0, 4)
    if kind == 1 and in_loop and not is_transport:
        return [{"if": {"input": _some_input(choose, plan, users), "then": bad, "else": good}}]
    if kind == 2 and counting and len(users) == 1 and not is_transport and _in_turn(plan, users[0]):
        return choose.one_of(([bad, good], [good, bad], [bad, bad, good]))
    if kind == 3 and not in_loop:
        trouble = choose.one_of(({"status": 503}, {"reset": True}, {"status": {"code": 429, "retry_after_seconds": 0}}))
        return {"per": "task", "script": [*[trouble] * choose.number(1, 2), good]}
    if kind == 4:
        return [{"slow": {"seconds": choose.one_of((0.02, 0.1)), "then": good}}]
    # An agent that is not there for long is cut off by the bridge (AGT-16): once each run is not long.
    return [bad] if not is_transport or not in_loop else [{"fail": "no"}]


def _by_its_record(choose: Chooser, good: dict[str, Json], *, in_loop: bool) -> Any:
    """An agent whose record says more than where it is, or whose answer has artifacts."""
    kind = choose.number(0, 4)
    if kind == 1:
        return {"auth": choose.one_of(_DEMANDED), "script": [good]}
    if kind == 2:
        return {**choose.one_of(_UNKNOWN), "script": [good]}
    if kind == 3 and not in_loop:
        if choose.rarely(2):
            return {**_HANGING_FOR_EVER, "script": [{"hang": True}]}
        return {**_HANGING, "script": [{"hang": True}, good]}
    if kind == 4 and not in_loop and choose.rarely(3):
        return {**_PATIENT, "script": [*[{"status": 503}] * 6, good]}
    return [{"ok": {**good["ok"], "artifacts": [*_ARTIFACTS]}}] if "ok" in good else [good]


def _in_turn(plan: Plan, step: str) -> bool:
    """Whether the executions of a step come one after another."""
    modes = [plan.steps[loop]["loop_config"].get("execution_mode") for loop in plan.loops_around(step)]
    return "parallel" not in modes


def _some_input(choose: Chooser, plan: Plan, users: list[str]) -> Json:
    """A matcher that holds for some executions of a step in a loop: its input is given the position for that."""
    position = choose.number(0, 2)
    for step in users:
        written = plan.steps[step]
        if plan.loops_around(step):
            assert isinstance(written, dict)
            mapping = written.get("input_mapping") or {}
            written["input_mapping"] = {**mapping, "i": "${loop.index}"}
    return {"like": {"i": position}}


def _good(choose: Chooser, paths: frozenset[Path]) -> dict[str, Json]:
    if not paths or paths == {()}:
        kind = choose.number(0, 3)
        if kind == 1:
            return {"echo": True}
        if kind == 2:
            return {"ok": {"j": value(choose)}}
    output = object_with(choose, paths)
    return {"ok": {name: item for name, item in output.items() if name not in _RESERVED}}


def _bad(choose: Chooser) -> dict[str, Json]:
    kind = choose.number(0, 5)
    if kind <= 1:
        return {"fail": choose.one_of(_MESSAGES)}
    if kind == 2:
        return {"rpc_error": {"code": choose.one_of((-32000, 1)), "message": choose.one_of(_MESSAGES)}}
    if kind == 3:
        return {"status": choose.one_of((404, 400, 503, 500))}
    if kind == 4:
        return {"body": choose.one_of(_NOT_JSON_RPC)}
    return {"reset": True}
