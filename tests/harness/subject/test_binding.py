"""A binding translates names at the edge, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.subject import TOPICS, Binding, KnownFailure, Subject

_DATA = {
    "topics": {"tasks": "jobs"},
    "fields": {"tasks": {"run_id": "runId", "agent_name": "agent"}},
    "paths": {"/workflows/{id}/execute": "/v2/flows/{id}/start", "/runs": "/v2/runs"},
    "path_prefix": "/v2",
}


def test_without_a_binding_everything_has_the_contract_s_names() -> None:
    binding = Binding.read({})
    assert binding.all_topics() == {topic: short for short, topic in TOPICS.items()}
    assert binding.path("/runs/run-1?x=1") == "/api/v1/runs/run-1?x=1"
    assert binding.to_subject("tasks", {"run_id": "r"}) == {"run_id": "r"}
    assert not binding.has_own_rows


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({}, {"workflow_runs": "workflow_runs", "step_executions": "step_executions"}),
        (
            {"runs": "SELECT job_id AS run_id FROM public.jobs", "steps": 'SELECT id FROM "JobSteps" WHERE true'},
            {"jobs": "workflow_runs", "JobSteps": "step_executions"},
        ),
        ({"runs": "SELECT * FROM a JOIN b USING (id)", "steps": "SELECT * FROM c"}, {"c": "step_executions"}),
        (
            {"runs": "SELECT * FROM both_of_them", "steps": "SELECT * FROM both_of_them"},
            {"both_of_them": "workflow_runs"},
        ),
    ],
)
def test_tables_are_known_by_the_queries_that_read_them(rows: dict[str, str], expected: dict[str, str]) -> None:
    """Each query that reads one table alone tells what that stands for, so that fault points can name it."""
    assert Binding.read({"rows": rows}).tables == expected


def test_topics_and_fields_are_renamed_and_others_stay() -> None:
    binding = Binding.read(_DATA)
    assert (binding.topic("tasks"), binding.topic("results")) == ("jobs", "results.topic")
    value = {"run_id": "r", "agent_name": "a", "input_data": {"run_id": "inside"}}
    theirs = binding.to_subject("tasks", value)
    assert theirs == {"runId": "r", "agent": "a", "input_data": {"run_id": "inside"}}
    assert binding.to_contract("tasks", theirs) == value
    assert binding.to_subject("results", value) == value


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/workflows/w-1/execute", "/v2/flows/w-1/start"),
        ("/runs?page=2", "/v2/runs?page=2"),
        ("/runs/run-1", "/v2/runs/run-1"),
    ],
)
def test_paths_are_renamed_by_their_pattern(path: str, expected: str) -> None:
    assert Binding.read(_DATA).path(path) == expected


def test_a_subject_file_may_have_braces_in_paths_and_known_failures(tmp_path: Path) -> None:
    path = tmp_path / "subject.yaml"
    path.write_text(
        "name: x\n"
        "roles: {consumer: {command: [x], ready: {kafka_group: g}}}\n"
        "binding: {paths: {'/runs/{run_id}': '/r/{run_id}'}, groups: {bridge: b}}\n"
        "known_failures: [{scenario: 'loop/*', reason: 'no {loops} yet'}]\n"
    )
    description = Subject.load(path).description
    assert description.binding.path("/runs/run-1") == "/r/run-1"
    assert description.groups == {"consumer": "g", "bridge": "b"}
    assert description.known_failures == (KnownFailure("loop/*", "no {loops} yet"),)
