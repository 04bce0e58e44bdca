"""Definitions that the harness makes invalid in one way: the engine refuses each, at the place that is at fault."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from harness.generation.invalid import WAYS, Invalid, invalid_workflows
from system.definitions import InvalidDefinition, load_definition


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_refused_at_its_place(way: str) -> None:
    """The reason names the step at fault, or the field when no step is (DEF-16)."""

    @settings(max_examples=4, derandomize=True)
    @given(invalid_workflows(ways=(way,)))
    def refused(invalid: Invalid) -> None:
        with pytest.raises(InvalidDefinition) as told:
            load_definition(invalid.definition)
        texts = [problem.message + problem.pointer for problem in told.value.problems]
        assert len(texts) == 1, (invalid, texts)
        place = json.dumps(invalid.place)[1:-1]
        assert any(invalid.place in text or place in text for text in texts), (invalid, texts)

    refused()
