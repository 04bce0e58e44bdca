"""Draws of whole workflows, by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.oracle import Plan
from harness.scenario.draws import draw_mistakes, strategy_of


@settings(max_examples=20, derandomize=True, deadline=None)
@given(st.data())
def test_workflows_are_drawn_within_their_size(data: st.DataObject) -> None:
    """What is drawn is JSON and sound in its structure."""
    drawn = data.draw(strategy_of({"workflows": {"most_steps": 4, "deepest": 1}}))
    plan = Plan.of(json.loads(json.dumps(drawn)))
    assert all(len(list(plan.above(step))) <= 1 for step in plan.steps)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(st.data())
def test_mistakes_are_drawn_by_name(data: st.DataObject) -> None:
    """The way, its clause and the place come with the definition."""
    drawn = data.draw(strategy_of({"invalid_workflows": {"ways": ["a cycle"]}}))
    assert (drawn["way"], drawn["clause"]) == ("a cycle", "DEF-09")
    assert drawn["place"] == drawn["definition"]["start_step"]


@pytest.mark.parametrize("draw", ["values", "workflows", "invalid_workflows", {"workflows": {"most_steps": 3}}])
def test_the_names_can_be_used_in_files(draw: object) -> None:
    """A file that names them has no mistake."""
    assert list(draw_mistakes({"drawn": draw})) == []


def test_an_unknown_way_is_a_mistake() -> None:
    """It is told with the ways that there are."""
    ((place, message),) = draw_mistakes({"drawn": {"invalid_workflows": {"ways": ["a cicle"]}}})
    assert place == ("drawn",)
    assert "'a cycle'" in message
    assert "'a cicle'" in message
