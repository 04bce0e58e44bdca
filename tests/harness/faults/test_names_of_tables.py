"""Fault points of a subject whose tables have names of their own are called by the contract's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.runner.run import whats_lacking
from harness.scenario import load
from harness.subject import Subject

ROOT = Path(__file__).parents[3]
SCENARIO = ROOT / "scenarios" / "faults" / "consumer_dies_at_its_last_commit.yaml"
SEQUENTIAL = ROOT / "tests" / "subjects" / "sequential" / "subject.yaml"


def test_a_scenario_that_names_a_table_suits_a_subject_whose_queries_tell_it() -> None:
    """The rows of the consumer in Java come from `jobs` and `job_steps`, each read by one query."""
    (scenario,) = load(SCENARIO)
    subject = Subject.load(SEQUENTIAL)
    assert whats_lacking(scenario, subject, ("consumer",), ("api", "bridge")) is None


def test_where_no_query_tells_it_the_scenario_says_why_it_cannot_be_carried_out() -> None:
    """The steps of a join of two tables might be in either."""
    (scenario,) = load(SCENARIO)
    subject = Subject.load(SEQUENTIAL)
    binding = replace(subject.description.binding, steps_sql="SELECT * FROM steps JOIN tries USING (id)")
    unclear = Subject(replace(subject.description, binding=binding))
    told = whats_lacking(scenario, unclear, ("consumer",), ("api", "bridge"))
    assert told == "sequential has tables of its own, and the fault is at a commit of step_executions"
