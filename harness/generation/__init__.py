"""Hypothesis strategies for all that a run is made of: workflows, agents, inputs, and what is done to runs.

    >>> from hypothesis import given
    >>> from harness.generation import Case, cases
    >>> @given(cases())
    ... def test_something(case: Case) -> None:
    ...     assert case.allowed().statuses

What is drawn is JSON in the forms of the contract (section 4) and of scenario files (docs/scenario-format.md), whatever
executes it; see docs/generation.md.
"""

from harness.generation.agents import agents
from harness.generation.cases import Case, cases
from harness.generation.inputs import inputs, inputs_by_schema
from harness.generation.invalid import WAYS, Invalid, invalid_workflows
from harness.generation.timelines import BESIDE_A_RUN, ON_A_RUN, ON_PROCESSES, OVER_REST, Disorder, timelines
from harness.generation.values import values
from harness.generation.workflows import Size, workflows

__all__ = [
    "BESIDE_A_RUN",
    "ON_A_RUN",
    "ON_PROCESSES",
    "OVER_REST",
    "WAYS",
    "Case",
    "Disorder",
    "Invalid",
    "Size",
    "agents",
    "cases",
    "inputs",
    "inputs_by_schema",
    "invalid_workflows",
    "timelines",
    "values",
    "workflows",
]
