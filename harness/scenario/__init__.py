"""Scenario files: found, read, checked and expanded; pure, and without knowledge of any subject."""

from harness.document import Mistake, MistakesFound
from harness.scenario.loading import discover, load, scenario_id
from harness.scenario.model import Act, Agent, Expectation, Needs, Scenario

__all__ = [
    "Act",
    "Agent",
    "Expectation",
    "Mistake",
    "MistakesFound",
    "Needs",
    "Scenario",
    "discover",
    "load",
    "scenario_id",
]
