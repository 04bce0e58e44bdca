"""What a timeline waits for comes about with every executor that keeps the contract, or the oracle says why it may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings

from harness.generation import Case, Disorder, Size, cases
from harness.generation.timelines import BESIDE_A_RUN, ON_A_RUN, ON_PROCESSES, OVER_REST
from harness.oracle import doubt

Json = Any
OK, NO = [{"ok": {}}], [{"rpc_error": {"message": "no"}}]
HELD = [{"held": {"ok": {}}}]
EVERY_WORD = (*ON_A_RUN, *BESIDE_A_RUN, *OVER_REST, *ON_PROCESSES)


def _agent(step: str, **more: Json) -> Json:
    return {"id": step, "agent_name": f"of-{step}", **more}


CHAIN = {"name": "w", "start_step": "a", "steps": {"a": _agent("a", next_step="b"), "b": _agent("b")}}
BESIDE = {
    "name": "w",
    "start_step": "p",
    "steps": {
        "p": {"id": "p", "type": "parallel", "parallel_steps": ["a", "b"]},
        "a": _agent("a"),
        "b": _agent("b"),
    },
}
BESIDE_BY_ONE = {**BESIDE, "steps": {**BESIDE["steps"], "p": {**BESIDE["steps"]["p"], "max_parallelism": 1}}}  # type: ignore[dict-item]


def _looped(**config: Json) -> Json:
    return {
        "name": "w",
        "start_step": "l",
        "steps": {
            "l": {"id": "l", "type": "loop", "loop_config": {"collection": [1, 2, 3], "loop_body": ["a"], **config}},
            "a": _agent("a"),
        },
    }


def _called(step: str, word: str = "calls") -> Json:
    return {"agent": f"of-{step}", word: {"at_least": 1}}


def _is(status: str, **more: str) -> Json:
    return {"run": "r", **more, "is": status}


TWO_CALLS, THREE_CALLS = ({"when": {"agent": "of-a", "calls": {"at_least": n}}, "release": "of-a"} for n in (2, 3))
SURE: Sequence[tuple[str, Json, Mapping[str, Json], Sequence[Json]]] = [
    ("nothing is done", CHAIN, {"a": OK, "b": OK}, []),
    ("a failed run is retried", CHAIN, {"a": OK, "b": NO}, [{"when": _is("FAILED"), "retry": "r"}]),
    ("a held agent is released", CHAIN, {"a": HELD, "b": OK}, [{"when": _called("a"), "release": "of-a"}]),
    ("while one is held", BESIDE, {"a": HELD, "b": OK}, [{"when": _called("b", "answered"), "release": "of-a"}]),
    ("the second is held", CHAIN, {"a": OK, "b": HELD}, [{"when": _is("COMPLETED", step="a"), "release": "of-b"}]),
    ("a held run is cancelled", CHAIN, {"a": HELD, "b": OK}, [{"when": _called("a"), "cancel": "r"}]),
    ("all of a loop at once", _looped(execution_mode="parallel"), {"a": HELD}, [THREE_CALLS]),
    ("two at a time", _looped(execution_mode="parallel", max_parallelism=2), {"a": HELD}, [TWO_CALLS]),
    (
        "a cancelled run is retried",
        CHAIN,
        {"a": HELD, "b": OK},
        [{"when": _called("a"), "cancel": "r"}, {"when": _is("CANCELLED"), "release": "of-a"}, {"retry": "r"}],
    ),
    (
        "another's result goes first",
        CHAIN,
        {"a": HELD, "b": OK},
        [
            {"when": _called("a"), "answer": {"run": "r", "step": "a", "error": "no"}},
            {"when": _is("FAILED", step="a"), "release": "of-a"},
        ],
    ),
]
UNSURE = [
    ("l[1]/a comes after l[0]/a", _looped(), {"a": HELD}, [TWO_CALLS]),
    (
        "l[2]/a comes after l[0]/a",
        _looped(execution_mode="parallel", max_parallelism=2),
        {"a": HELD},
        [THREE_CALLS],
    ),
    ("need not be called 3 times", CHAIN, {"a": HELD, "b": OK}, [THREE_CALLS]),
    ("need not be FAILED", CHAIN, {"a": OK, "b": OK}, [{"when": _is("FAILED"), "retry": "r"}]),
    ("never released", CHAIN, {"a": HELD, "b": OK}, []),
    ("never released", CHAIN, {"a": [{"if": {"input": {}, "then": HELD[0], "else": OK[0]}}], "b": OK}, []),
    ("b comes after a", CHAIN, {"a": HELD, "b": OK}, [{"when": _called("b"), "release": "of-a"}]),
    ("b comes after a", CHAIN, {"a": HELD, "b": OK}, [{"when": _is("COMPLETED", step="b"), "release": "of-a"}]),
    ("p/b comes after p/a", BESIDE_BY_ONE, {"a": HELD, "b": OK}, [{"when": _called("b"), "release": "of-a"}]),
    ("cannot be COMPLETED", CHAIN, {"a": HELD, "b": OK}, [{"when": _is("COMPLETED"), "release": "of-a"}]),
    ("a comes after a", CHAIN, {"a": HELD, "b": OK}, [{"when": _called("a", "answered"), "release": "of-a"}]),
    ("b need not be COMPLETED", CHAIN, {"a": NO, "b": OK}, [{"when": _is("COMPLETED", step="b"), "cancel": "r"}]),
    ("of-b need not be called", CHAIN, {"a": NO, "b": OK}, [{"when": _called("b"), "cancel": "r"}]),
    (
        "of-a need not answer",
        BESIDE,
        {"a": {"timeout_ms": 1000, "script": [{"hang": True}]}, "b": HELD},
        [{"when": {"all": [_called("b"), _called("a", "answered")]}, "release": "of-b"}],
    ),
    ("may not have ended", CHAIN, {"a": NO, "b": OK}, [{"retry": "r"}]),
    ("need not be CANCELLED", CHAIN, {"a": OK, "b": OK}, [{"cancel": "r"}, {"when": _is("CANCELLED"), "cancel": "r"}]),
    (
        "need not be FAILED",
        CHAIN,
        {"a": OK, "b": OK},
        [{"when": {"all": [_called("a"), _is("FAILED")]}, "cancel": "r"}],
    ),
]


def _scripts(agents: Mapping[str, Json]) -> Mapping[str, Json]:
    return {f"of-{step}": script for step, script in agents.items()}


@pytest.mark.parametrize(("what", "workflow", "agents", "timeline"), SURE, ids=[one[0] for one in SURE])
def test_is_sure(what: str, workflow: Json, agents: Mapping[str, Json], timeline: Sequence[Json]) -> None:
    assert doubt(workflow, {}, _scripts(agents), timeline) is None, what


@pytest.mark.parametrize(("why", "workflow", "agents", "timeline"), UNSURE)
def test_says_why_not(why: str, workflow: Json, agents: Mapping[str, Json], timeline: Sequence[Json]) -> None:
    assert why in str(doubt(workflow, {}, _scripts(agents), timeline))


def test_one_of_several_is_enough() -> None:
    either = {"any": [_is("FAILED"), _called("a")]}
    assert doubt(CHAIN, {}, _scripts({"a": OK, "b": OK}), [{"when": either, "cancel": "r"}]) is None


@settings(max_examples=200, derandomize=True, deadline=None)
@given(cases(Size(most_steps=8), Disorder(words=EVERY_WORD, one_in=1)))
def test_generated_timelines_are_sure(case: Case) -> None:
    assert case.doubt is None


NEEDS_N = {
    **CHAIN,
    "steps": {**CHAIN["steps"], "a": _agent("a", input_mapping={"n": "${workflow.input.n}"}, next_step="b")},
}  # type: ignore[dict-item]


def _beside(given: Json, *acts: Json) -> list[Json]:
    return [{"execute": {"as": "r", "input": {"n": 1}}}, {"execute": {"as": "other", "input": given}}, *acts]


def _other(status: str) -> Json:
    return {"run": "other", "is": status}


@pytest.mark.parametrize(
    ("given", "acts", "why"),
    [
        # A neighbour that has no input fails before its agent is called, which the run's own end waits for.
        ({}, [{"when": _other("FAILED"), "release": "of-a"}], None),
        ({"n": 2}, [{"when": _other("FAILED"), "release": "of-a"}], "the run need not be FAILED"),
        ({"n": 2}, [{"cancel": "other"}, {"when": _other("CANCELLED"), "release": "of-a"}], None),
        ({"n": 2}, [{"when": _other("COMPLETED"), "release": "of-a"}], "before the agent of a is released"),
        ({"n": 2}, [{"cancel": "other"}], "the agent of a is held and never released"),
        ({"n": 2}, [{"when": {"run": "third", "is": "FAILED"}, "release": "of-a"}], "the run third is not made"),
    ],
)
def test_a_neighbour_has_an_end_of_its_own(given: Json, acts: Sequence[Json], why: str | None) -> None:
    told = doubt(NEEDS_N, {"n": 1}, _scripts({"a": HELD, "b": OK}), _beside(given, *acts))
    assert told is None if why is None else why in str(told)
