"""What a run must come to when nothing disturbs it: worked out by the engine alone, one result after the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from system.definitions import load_definition
from system.engine.decide import decide
from system.engine.decisions import PublishTask, SetTimer
from system.engine.definition import Definition
from system.engine.events import Event, ExecutionRequested, ResultReceived
from system.engine.state import RunState
from system.simulation.machine import _EPOCH
from tests.simulation import agents, load

Json = Any


@dataclass(frozen=True)
class Outcome:
    """Status of the run, and (status, input, output) of its steps by path. `is_certain` unless time-outs may strike."""

    status: str
    steps: dict[str, tuple[str, Json, Json]]
    is_certain: bool


@lru_cache(maxsize=load.POOL)
def loaded(number: int) -> Definition:
    """The definition, checked."""
    return load_definition(load.definition(number))


@lru_cache(maxsize=20_000)
def _outcome(number: int, input_data: bytes, is_mended: bool) -> Outcome:
    state = RunState("run-1", "PENDING", loaded(number), orjson.loads(input_data), _EPOCH, clock=_EPOCH)
    waiting: list[Event] = [ExecutionRequested(_EPOCH)]
    is_certain = True
    for _ in range(2000):
        if not waiting:
            break
        state, decisions = decide(state, waiting.pop(0), _EPOCH)
        for decision in decisions:
            if isinstance(decision, PublishTask):
                output, error = agents.answer(decision.agent_name, decision.input_data, is_mended=is_mended)
                waiting.append(ResultReceived(decision.task_id, error is None, output, error_message=error))
            elif isinstance(decision, SetTimer):
                is_certain = False
    assert state.status in ("COMPLETED", "FAILED"), state.status
    steps = {path: (r.status, r.input_data, r.output_data) for path, r in state.steps.items()}
    return Outcome(state.status, steps, is_certain)


def outcome(number: int, input_data: Json, *, is_mended: bool) -> Outcome:
    """What a run of a definition of the pool comes to."""
    return _outcome(number, orjson.dumps(input_data), is_mended)
