"""A world's history for people: one line for each thing that happened, short."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tests.simulation.load import Shape
from tests.simulation.world import Lived


def lines(lived: Lived, shape: Shape) -> Iterator[str]:
    """The seed, the work, what went wrong and all that had happened before."""
    yield f"seed {lived.seed}, {lived.steps} steps, {lived.seconds:.3f} s, {len(lived.taken)} decisions that are not calm"
    yield f"{shape.consumers} consumers, {shape.bridges} bridges, {shape.partitions} partitions"
    for run in shape.runs:
        acts = ", ".join(f"{act.kind} after {act.after_seconds} s" for act in run.acts) or "nobody disturbs it"
        how = "over the API" if run.over_api else "by a message"
        yield f"run of definition {run.definition} with {orjson.dumps(run.input_data).decode()} {how}: {acts}"
    for event in lived.history:
        yield f"  {_shown(event)}"
    for violation in lived.violations:
        yield f"WRONG {violation}"


def _shown(event: tuple[Any, ...]) -> str:
    if isinstance(event[1], str):
        return f"{event[0]:>5}           {' '.join(map(str, event[1:]))}"
    step, seconds, kind, *rest = event
    if kind == "append":
        topic, partition, offset, _, value = rest
        return f"{step:>5} {seconds:>9.4f} {topic}[{partition}]@{offset}: {_gist(value)}"
    return f"{step:>5} {seconds:>9.4f} {kind} {' '.join(str(part) for part in rest)}"


def _gist(value: bytes) -> str:
    data = orjson.loads(value)
    names = (
        "run_id",
        "step_id",
        "task_id",
        "status",
        "agent_name",
        "error_message",
        "cancelled_by",
        "message_type",
        "timestamp",
    )
    return " ".join(f"{name}={data[name]}" for name in names if data.get(name) is not None)
