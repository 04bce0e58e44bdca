"""`plumbline run|runs|show|cancel|retry` against an API in memory: what they print, and how they exit."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.harness.cli.conftest import Done, FakeApi

    Plumbline = Callable[..., Done]

DEFINITION = {
    "name": "w",
    "start_step": "a",
    "steps": {"a": {"id": "a", "type": "agent", "agent_name": "echo-agent", "next_step": None}},
}
YAML = """\
name: w
start_step: a
steps:
  a: {id: a, type: agent, agent_name: echo-agent, next_step: null}
"""
CREATED = "2026-01-02T03:04:05.000Z"


def run_document(run_id: str, status: str) -> dict[str, Any]:
    """A run as an API answers it."""
    ended = CREATED if status in ("COMPLETED", "FAILED") else None
    return {
        **dict.fromkeys(("workflow_name", "error_message", "cancelled_at", "cancelled_by", "workflow_id")),
        "run_id": run_id,
        "status": status,
        "input_data": {},
        "created_at": CREATED,
        "completed_at": ended,
    }


def step_document(step_id: str, status: str, **more: Any) -> dict[str, Any]:
    """A step execution as an API answers it."""
    return {
        **dict.fromkeys(("input_data", "error_message", "parent_step_id", "branch_name", "join_policy", "output_data")),
        "id": step_id,
        "run_id": "run-1",
        "step_id": step_id,
        "step_name": step_id,
        "agent_name": "echo-agent",
        "status": status,
        "started_at": CREATED,
        "completed_at": CREATED,
        **more,
    }


@pytest.fixture
def workflow(tmp_path: Path) -> str:
    """The workflow's file."""
    path = tmp_path / "workflow.yaml"
    path.write_text(YAML)
    return str(path)


@pytest.mark.parametrize(("status", "exit_code"), [("COMPLETED", 0), ("FAILED", 1), ("CANCELLED", 3)])
def test_the_exit_code_says_how_the_run_ended(
    plumbline: Plumbline, api: FakeApi, workflow: str, status: str, exit_code: int
) -> None:
    """Each status is written when it is first seen."""
    api.statuses = ["PENDING", "PENDING", "RUNNING", status]
    api.steps = [step_document("a", "COMPLETED")]
    done = plumbline("run", workflow, "--input", '{"message": "hi"}', "--api", api.url)
    assert done.exit_code == exit_code, done.err
    assert done.out.splitlines() == [
        "Workflow w, version 1 (created)",
        "Run run-1",
        "Status: PENDING",
        "  Step a (echo-agent): COMPLETED",
        "Status: RUNNING",
        f"Status: {status}",
    ]
    assert ("POST", "/api/v1/workflows/id-1/execute", {"input_data": {"message": "hi"}}) in api.asked


def test_the_error_of_a_failed_run_is_told(plumbline: Plumbline, api: FakeApi, workflow: str) -> None:
    """With the step that failed."""
    api.statuses, api.error_message = ["FAILED"], "step 'a' failed: the moon"
    api.steps = [step_document("a", "FAILED", error_message="the moon")]
    done = plumbline("run", workflow, "--api", api.url)
    assert done.out.splitlines()[2:] == [
        "  Step a (echo-agent): FAILED: the moon",
        "Status: FAILED: step 'a' failed: the moon",
    ]


def test_a_definition_that_is_there_is_used_and_one_that_differs_gets_a_new_version(
    plumbline: Plumbline, api: FakeApi, tmp_path: Path
) -> None:
    """Whether the file is JSON or YAML makes no difference."""
    as_yaml, as_json = tmp_path / "w.yaml", tmp_path / "w.json"
    as_yaml.write_text(YAML)
    as_json.write_text(json.dumps(DEFINITION))
    # The list is more than a page long, and the API does not know the filter by name.
    api.workflows = [{"id": f"other-{n}", "name": f"other-{n}", "status": "active"} for n in range(150)]
    assert "version 1 (created)" in plumbline("run", str(as_yaml), "--api", api.url).out
    assert "version 1 (unchanged)" in plumbline("run", str(as_json), "--api", api.url).out
    as_yaml.write_text(YAML.replace("echo-agent", "test-agent"))
    assert "version 2 (a new version)" in plumbline("run", str(as_yaml), "--api", api.url).out
    assert [method for method, path, _ in api.asked if method in ("POST", "PUT") and "execute" not in path] == [
        "POST",
        "PUT",
    ]


def test_a_run_that_goes_on_after_the_time_out_is_exit_code_5(
    plumbline: Plumbline, api: FakeApi, workflow: str
) -> None:
    """And how to look at it."""
    api.statuses = ["RUNNING"]
    done = plumbline("run", workflow, "--api", api.url, "--timeout", "0.3")
    assert done.exit_code == 5
    assert "run-1 is RUNNING after 0.3 s and goes on" in done.err
    assert "plumbline show run-1" in done.err


def test_json_is_all_that_is_on_standard_output(plumbline: Plumbline, api: FakeApi, workflow: str) -> None:
    """Of every command."""
    api.runs = [run_document("run-1", "COMPLETED")]
    api.steps = [step_document("a", "COMPLETED")]
    for arguments in (["run", workflow], ["runs"], ["show", "run-1"], ["cancel", "run-1"], ["retry", "run-1"]):
        done = plumbline(*arguments, "--json", "--api", api.url)
        assert done.exit_code == 0
        assert isinstance(json.loads(done.out), dict)
    api.statuses = ["RUNNING"]
    done = plumbline("run", workflow, "--json", "--api", api.url, "--timeout", "0.2")
    assert (done.exit_code, json.loads(done.out)["run"]["status"]) == (5, "RUNNING")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "--input is no JSON"),
        ("[1]", "--input must be a JSON object"),
        ("@/no/such/file", "The input /no/such/file cannot be read: No such file"),
    ],
)
def test_an_input_that_cannot_be_used_is_told_in_a_sentence(
    plumbline: Plumbline, api: FakeApi, workflow: str, given: str, told: str
) -> None:
    """Exit code 2, and nothing was asked of the API."""
    done = plumbline("run", workflow, "--input", given, "--api", api.url)
    assert (done.exit_code, done.out, api.asked) == (2, "", [])
    assert done.err.startswith(f"Error: {told}")


def test_the_input_may_come_from_a_file_or_from_standard_input(
    plumbline: Plumbline, api: FakeApi, workflow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """@FILE and @-."""
    (tmp_path / "input.json").write_text('{"from": "file"}')
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"from": "stdin"}'))
    for given in (f"@{tmp_path / 'input.json'}", "@-"):
        assert plumbline("run", workflow, "--input", given, "--api", api.url).exit_code == 0
    inputs = [body["input_data"] for _, path, body in api.asked if path.endswith("/execute")]
    assert inputs == [{"from": "file"}, {"from": "stdin"}]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "1:8: is not YAML that can be read"),
        ("- 1", "1:1: expected a workflow definition"),
        ("steps: {}", "1:1: 'name' must be given"),
        ("name: w\nx: .inf\n", "holds something that JSON has no word for"),
        ("name: w\nname: v\n", '2:1: is not YAML that can be read: found duplicate key "name"'),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_place(
    plumbline: Plumbline, api: FakeApi, tmp_path: Path, text: str, told: str
) -> None:
    """file:line:column, exit code 2."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    done = plumbline("run", str(path), "--api", api.url)
    assert (done.exit_code, api.asked) == (2, [])
    assert str(path) in done.err
    assert told in done.err


def test_what_the_api_finds_wrong_is_shown_where_it_stands_in_the_file(
    plumbline: Plumbline, api: FakeApi, workflow: str
) -> None:
    """The pointers of its answer become lines and columns."""
    errors = [
        {"pointer": "/steps/a/agent_name", "message": "no such agent", "suggestion": "did you mean 'echo'?"},
        {"pointer": "/steps/b", "message": "must be given", "suggestion": None},
    ]
    api.refusals["POST /api/v1/workflows"] = (422, {"title": "x", "detail": "2 mistakes", "errors": errors})
    done = plumbline("run", workflow, "--api", api.url)
    assert done.exit_code == 2
    assert f"{workflow}:4:39: no such agent; did you mean 'echo'?" in done.err
    assert f"{workflow}:4:3: must be given" in done.err


def test_times_in_yaml_stay_texts(plumbline: Plumbline, api: FakeApi, tmp_path: Path) -> None:
    """JSON has no times, so what looks like one is sent as it was written."""
    path = tmp_path / "w.yaml"
    path.write_text(YAML.replace("next_step: null", "next_step: null, input_mapping: {day: 2026-01-02}"))
    assert plumbline("run", str(path), "--api", api.url).exit_code == 0
    assert api.workflows[0]["steps"]["a"]["input_mapping"] == {"day": "2026-01-02"}


@pytest.mark.parametrize("arguments", [["runs"], ["show", "run-1"], ["cancel", "run-1"], ["retry", "run-1"]])
def test_an_api_that_does_not_answer_is_exit_code_4(plumbline: Plumbline, arguments: list[str]) -> None:
    """One sentence, and what to do."""
    done = plumbline(*arguments, "--api", "http://127.0.0.1:1")
    assert done.exit_code == 4
    assert done.err == (
        "Error: The API at http://127.0.0.1:1 does not answer: Connection refused. "
        "Start one with `plumbline up`, or give its address with --api URL.\n"
    )


def test_refusals_and_errors_of_the_api_are_told_in_its_own_words(plumbline: Plumbline, api: FakeApi) -> None:
    """4xx is exit code 2, 5xx is 4; an answer that is no JSON is shown as it is."""
    api.refusals["POST /api/v1/runs/run-1/cancel"] = (409, {"title": "Conflict", "detail": "the run is COMPLETED"})
    done = plumbline("cancel", "run-1", "--api", api.url)
    assert (done.exit_code, done.err) == (
        2,
        "Error: POST /api/v1/runs/run-1/cancel was answered with 409: the run is COMPLETED\n",
    )
    api.refusals["POST /api/v1/runs/run-1/cancel"] = (503, b"<html>away</html>")
    done = plumbline("cancel", "run-1", "--api", api.url)
    assert done.exit_code == 4
    assert "503: <html>away</html>" in done.err
    assert plumbline("runs", "--api", "localhost:8000").exit_code == 2
    assert "did you mean 'runs'?" in plumbline("rnus").err


def test_runs_go_on_to_the_next_page_until_the_limit(plumbline: Plumbline, api: FakeApi) -> None:
    """And say how many there are."""
    api.runs = [run_document(f"run-{n}", "COMPLETED") for n in range(130)]
    done = plumbline("runs", "--limit", "120", "--api", api.url)
    assert sum(line.startswith("run-") for line in done.out.splitlines()) == 120
    assert "120 of 130 runs" in done.err
    api.runs = []
    assert plumbline("runs", "--api", api.url).out.startswith("No runs.")


def test_show_indents_steps_below_what_they_are_part_of(plumbline: Plumbline, api: FakeApi) -> None:
    """With outputs and branch names; parents in a circle do no harm."""
    api.statuses = ["COMPLETED"]
    api.steps = [
        step_document("fork", "COMPLETED"),
        step_document("in", "COMPLETED", parent_step_id="fork", branch_name="left", output_data={"n": 1}),
        step_document("x", "COMPLETED", parent_step_id="y"),
        step_document("y", "COMPLETED", parent_step_id="x"),
    ]
    lines = plumbline("show", "run-1", "--api", api.url).out.splitlines()
    assert any(line.startswith("fork ") for line in lines)
    assert any(line.startswith("  in [left] ") and '{"n": 1}' in line for line in lines)


def test_cancel_and_retry_hand_on_their_options(plumbline: Plumbline, api: FakeApi) -> None:
    """--reason and --from."""
    assert plumbline("cancel", "run-1", "--reason", "enough", "--api", api.url).out == "The run run-1 is CANCELLED.\n"
    assert plumbline("retry", "run-1", "--from", "a", "--api", api.url).exit_code == 0
    assert [body for method, _, body in api.asked if method == "POST"] == [
        {"reason": "enough"},
        {"resume_from_step": "a"},
    ]


def test_the_help_of_the_group_and_of_run_names_the_exit_codes(plumbline: Plumbline) -> None:
    """Scripts are written from it."""
    for arguments in (["--help"], ["run", "--help"]):
        done = plumbline(*arguments)
        assert done.exit_code == 0
        assert "Exit codes" in done.out
        for number in ("0 ", "1 ", "2 ", "3 ", "4 ", "5 "):
            assert f"\n  {number}" in done.out or f"\n    {number}" in done.out
