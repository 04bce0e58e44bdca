"""Inputs of runs: from what a workflow refers to, or from a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from harness.generation.choosing import Chooser
from harness.generation.needs import needs_of, object_with
from harness.generation.values import KEYS, value
from harness.scenario import draws

Json = Any


@st.composite
def inputs(draw: st.DrawFn, workflow: Mapping[str, Any]) -> dict[str, Json]:
    """Objects that have what the workflow refers to, with values of the sort that it is used as, and sometimes more."""
    return some_input(Chooser(draw), workflow)


def some_input(choose: Chooser, workflow: Mapping[str, Any]) -> dict[str, Json]:
    """One such input."""
    given = object_with(choose, needs_of(workflow).of_input)
    if choose.rarely(5):
        given = {**{key: value(choose) for key in choose.some(KEYS, 3)}, **given}
    return given


def inputs_by_schema(schema: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    """Values that a JSON Schema (2020-12) allows; what of it is understood stands in docs/scenario-format.md.

    Raises:
        ValueError: the schema is none, or uses what is not understood.
    """
    return draws.strategy_of({"schema": schema})
