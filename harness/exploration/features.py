"""What of the format a case uses, and which clauses that puts to the test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.generation import WAYS, Case
from harness.generation.needs import needs_of
from harness.generation.over_rest import clause_of_misuse
from harness.oracle.plan import Plan

CLAUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "agent": ("CMP-01", "CMP-04", "CMP-07", "CMP-08", "MSG-05", "MSG-12", "MSG-13", "TBL-04", "OBS-01", "OBS-02"),
    "chain": ("CMP-02", "CMP-03", "OBS-03"),
    "parallel": ("PAR-01", "PAR-02", "PAR-05", "DEL-06"),
    "parallel limited": ("PAR-03",),
    "conditional": ("CON-01", "CON-02", "CON-04", "CND-01"),
    "conditional without a branch": ("CON-03",),
    "and, or, not": ("CND-02", "CND-13"),
    "membership": ("CND-03",),
    "len": ("CND-04",),
    "loop": ("LOP-01", "LOP-02", "LOP-06", "LOP-08"),
    "loop sequential": ("LOP-04", "LOP-13"),
    "loop parallel": ("LOP-05", "LOP-07"),
    "loop on_error stop": ("LOP-10",),
    "loop on_error continue": ("LOP-11", "FAI-05"),
    "loop on_error collect": ("LOP-12", "FAI-05"),
    "loop max_iterations": ("LOP-09",),
    "loop limited": ("LOP-05",),
    "fork_join": ("FJN-01", "FJN-02", "FJN-03", "FJN-04"),
    "fork_join all": ("FJN-05",),
    "fork_join any": ("FJN-06", "FJN-09"),
    "fork_join majority": ("FJN-07", "FJN-09"),
    "fork_join n_of_m": ("FJN-08", "FJN-09"),
    "time-out": ("FJN-10", "FJN-11"),
    "time-out of a branch over the general one": ("FJN-12",),
    "nested": ("DEF-13",),
    "odd ids": ("DEF-14", "REF-25", "ISO-02"),
    "foreign fields": ("DEF-15",),
    "reference to the input": ("REF-01", "REF-05"),
    "reference to an output": ("REF-01", "REF-06", "RES-03"),
    "reference embedded": ("REF-02", "REF-07"),
    "reference in the quick start's syntax": ("REF-05", "REF-06", "REF-26"),
    "reference to the loop": ("REF-13", "REF-14"),
    "reference to nothing": ("REF-11", "CND-08"),
    "no mapping": ("CMP-05",),
    "agent fails": ("FAI-01", "FAI-02", "FAI-03", "FAI-04", "FAI-08", "AGT-09"),
    "agent answers an error": ("AGT-08",),
    "agent answers no JSON-RPC": ("AGT-10",),
    "agent is away": ("AGT-11", "AGT-13"),
    "agent refuses": ("AGT-12",),
    "agent takes too long": ("AGT-15",),
    "agent is away for long": ("AGT-14",),
    "agent demands credentials": ("AGT-18",),
    "agent is unknown": ("AGT-19",),
    "agent answers with artifacts": ("AGT-06",),
    "act cancel": ("CAN-01", "CAN-02", "CAN-03"),
    "act cancel before its run": ("CAN-05",),
    "act retry": ("RES-01", "RES-02", "RES-04", "RES-08"),
    "act retry from a step": ("RES-06",),
    "act duplicate": ("DEL-01", "DEL-02"),
    "act answer": ("DEL-03", "DEL-04"),
    "act release": ("DEL-06",),
    "act answer null": ("CMP-14",),
    "act answer without a message": ("FAI-07",),
    "act answer without a key": ("MSG-03",),
    "another run": ("ISO-01", "ISO-05", "MSG-13"),
    "over REST": ("API-02", "API-11"),
    "misuse of the API": ("API-22", "API-24", "RES-07"),
    "reading over REST": ("API-20", "API-25"),
    "by its request alone": ("CMP-13",),
    "invalid definition": ("DEF-16",),
    "invalid plan": ("FAI-06",),
    **{f"invalid: {way}": (clause,) for way, clause in WAYS.items()},
}
"""Feature → clauses that a run with it is held to by the oracle or by a checker."""


def features(case: Case) -> frozenset[str]:
    """The features of a case."""
    if case.flaw is not None:
        return frozenset({f"invalid: {case.flaw['way']}", "invalid definition" if case.is_refused else "invalid plan"})
    found = {*_of_steps(case), *_of_references(case), *_of_agents(case), *_of_acts(case)}
    if case.via == "rest":
        found.add("over REST")
    if case.via == "message":
        found.add("by its request alone")
    return frozenset(found)


def _of_steps(case: Case) -> Iterator[str]:
    plan = Plan.of(case.workflow)
    if len(plan.chain) > 1:
        yield "chain"
    for step, written in plan.steps.items():
        kind = plan.kind(step)
        yield kind
        if not (step.isascii() and step.isalnum()):
            yield "odd ids"
        if len(list(plan.above(step))) > 1:
            yield "nested"
        if kind == "agent" and not written.get("input_mapping"):
            yield "no mapping"
        if kind == "agent" and "loop_config" in written:
            yield "foreign fields"
        if kind == "parallel" and written.get("max_parallelism"):
            yield "parallel limited"
        if kind == "conditional":
            yield from _of_condition(written)
        if kind == "loop":
            yield from _of_loop(written["loop_config"])
        if kind == "fork_join":
            yield from _of_fork(written["fork_join_config"])


def _of_condition(written: Mapping[str, Any]) -> Iterator[str]:
    words = set(written["condition"]["expression"].replace("(", " ").replace(")", " ").split())
    if words & {"and", "or", "not"}:
        yield "and, or, not"
    if words & {"in", "contains"}:
        yield "membership"
    if "len(" in written["condition"]["expression"]:
        yield "len"
    if written.get("if_true_step") is None or written.get("if_false_step") is None:
        yield "conditional without a branch"


def _of_loop(config: Mapping[str, Any]) -> Iterator[str]:
    yield f"loop {config.get('execution_mode') or 'sequential'}"
    yield f"loop on_error {config.get('on_error') or 'stop'}"
    if config.get("max_iterations"):
        yield "loop max_iterations"
    if config.get("max_parallelism"):
        yield "loop limited"


def _of_fork(config: Mapping[str, Any]) -> Iterator[str]:
    yield f"fork_join {config['join_policy']}"
    own = [branch for branch in config["branches"].values() if branch.get("timeout_seconds")]
    if own:
        yield "time-out"
        if config.get("branch_timeout_seconds"):
            yield "time-out of a branch over the general one"


def _of_references(case: Case) -> Iterator[str]:
    needs = needs_of(case.workflow)
    text = json.dumps(case.workflow, ensure_ascii=False)
    if needs.of_input:
        yield "reference to the input"
    if needs.of_step:
        yield "reference to an output"
    if "${loop." in text:
        yield "reference to the loop"
    if '"$.' in text:
        yield "reference in the quick start's syntax"
    if any(f"{before}${{workflow.input" in text or f"{before}${{loop" in text for before in ("x ", "é", "$.", "${")):
        yield "reference embedded"
    if "missing" in text or ".l[99]" in text or ".deeper" in text:
        yield "reference to nothing"


_WORDS: Final = {
    "fail": "agent fails", "rpc_error": "agent answers an error", "body": "agent answers no JSON-RPC",
    "reset": "agent is away", "hang": "agent takes too long",
}  # fmt: skip


def _of_agents(case: Case) -> Iterator[str]:
    for written in case.agents.values():
        if isinstance(written, Mapping):
            yield from _of_a_record(written)
    waiting: list[Any] = [
        entry
        for written in case.agents.values()
        for entry in (written["script"] if isinstance(written, Mapping) else written)
    ]
    while waiting:
        ((word, argument),) = waiting.pop().items()
        if word in _WORDS:
            yield _WORDS[word]
        elif word == "status":
            code = argument["code"] if isinstance(argument, Mapping) else argument
            yield "agent is away" if code == 429 or code >= 500 else "agent refuses"
        elif word == "held":
            waiting.append(argument)
        elif word == "ok" and "artifacts" in argument:
            yield "agent answers with artifacts"
        elif word in ("slow", "if"):
            waiting += [argument[name] for name in ("then", "else") if name in argument]


def _of_a_record(written: Mapping[str, Any]) -> Iterator[str]:
    if "auth" in written:
        yield "agent demands credentials"
    if not written.get("registered", True) or written.get("status") == "inactive":
        yield "agent is unknown"
    if "initial_delay_ms" in (written.get("retry_config") or {}):
        yield "agent is away for long"


def _of_acts(case: Case) -> Iterator[str]:
    for act in case.timeline:
        word = next(name for name in act if name not in ("when", "before"))
        if word == "execute":
            yield "another run"
        elif word == "rest":
            yield "misuse of the API" if clause_of_misuse(act) is not None else "reading over REST"
        else:
            yield f"act {word}"
        if word == "answer":
            yield from _of_a_result(act["answer"])
        if act.get("before"):
            yield "act cancel before its run"
        if word == "retry" and isinstance(act["retry"], Mapping):
            yield "act retry from a step"


def _of_a_result(answer: Mapping[str, Any]) -> Iterator[str]:
    if answer.get("output", "") is None:
        yield "act answer null"
    if "error" in answer and not answer["error"]:
        yield "act answer without a message"
    if "key" in answer:
        yield "act answer without a key"
