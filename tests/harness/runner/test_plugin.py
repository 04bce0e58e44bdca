"""pytest as the runner of scenario files, and `plumbline check`, as a user starts them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.check import check
from harness.runner import records

ROOT = Path(__file__).parents[3]
SCENARIOS = Path(__file__).parent / "scenarios"
REFERENCE = ROOT / "subjects" / "reference.yaml"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder of scenarios of which one passes, one fails, one is alone, and two are known to fail."""
    folder = tmp_path / "scenarios" / "area"
    folder.mkdir(parents=True)
    shutil.copytree(SCENARIOS / "common", folder / "common")
    for name in ("passes", "fails_at_once", "fails_in_its_timeline", "needs_loops", "kills_the_consumer"):
        shutil.copy(SCENARIOS / f"{name}.yaml", folder)
    subject = REFERENCE.read_text().replace("working_directory: ..", f"working_directory: {ROOT}")
    known = [
        {"scenario": "area/fails_in_its_timeline", "reason": "its file is wrong"},
        {"scenario": "area/needs_*", "reason": "it passes all the same"},
    ]
    (tmp_path / "subject.yaml").write_text(f"{subject}\nknown_failures: {json.dumps(known)}\n")
    return tmp_path


def _pytest(suite: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "harness.plugin", "-p", "no:cacheprovider", "scenarios"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("DATABASE_URL", "KAFKA_BROKERS", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [*command, "--subject", "subject.yaml", *arguments],
        cwd=suite, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_two_workers_carry_a_suite_out_and_say_what_came_of_it(suite: Path) -> None:
    ended = _pytest(suite, "-n", "2", "--junitxml", "junit.xml", "-rA", "-v")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "2 passed" in ended.stdout
    assert "2 failed" in ended.stdout
    assert "1 xfailed" in ended.stdout
    assert "never: {run: r, is: COMPLETED}; found: run r is COMPLETED" in ended.stdout
    assert "needs_loops: PASSED" in ended.stdout, "an unexpected pass is red"
    lines = re.findall(r"^\[(gw\d)\] .*::(\w+) *$", ended.stdout, re.MULTILINE)
    dealt = {scenario: worker for worker, scenario in lines}
    assert len(dealt) == 5
    alone = dealt.pop("kills_the_consumer")
    assert {*dealt.values()} == {"gw0", "gw1"} - {alone}, "what disturbs nobody is carried out by one of them, and once"
    assert "take it off that list" in ended.stdout
    cases = {case.get("name") for case in ET.parse(suite / "junit.xml").iter("testcase")}
    names = {"passes", "fails_at_once", "fails_in_its_timeline", "needs_loops", "kills_the_consumer"}
    assert cases == names
    outcomes = {outcome.scenario: outcome for outcome in records.read_lines(suite / "results" / "outcomes.jsonl")}
    assert outcomes.keys() == {f"area/{name}" for name in names}
    assert outcomes["area/kills_the_consumer"].verdict == "passed"
    history = outcomes["area/fails_at_once"].history
    assert history is not None
    assert (suite / history).exists()
    assert (suite / "results" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--clause", "RES-77"], 4, "no clause is called 'RES-77'; did you mean"),
        (["--clause", "AGT-18"], 5, "5 deselected"),
        (["-k", "nothing_of_that_name"], 5, "5 deselected"),
        (["--stack", "external"], 4, "an external stack is known by DATABASE_URL and KAFKA_BROKERS; DATABASE_URL and"),
    ],
)
def test_a_selection_that_cannot_be_is_an_error(suite: Path, arguments: list[str], status: int, told: str) -> None:
    ended = _pytest(suite, *arguments)
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert told in ended.stdout + ended.stderr


def test_scenarios_are_selected_by_marker_and_a_broken_file_names_its_place(suite: Path) -> None:
    ended = _pytest(suite, "--collect-only", "-q", "-m", "clause_RES_14 or alone")
    assert ended.stdout.splitlines()[0] == "scenarios/area/kills_the_consumer.yaml::kills_the_consumer"
    assert "1/5 tests collected" in ended.stdout
    (suite / "scenarios" / "area" / "broken.yaml").write_text(
        "guarantee: Something that is not finished.\nclausse: []\n"
    )
    ended = _pytest(suite, "--collect-only", "-q")
    assert ended.returncode == 2
    assert "broken.yaml:2:1: unknown key 'clausse'" in ended.stdout
    assert "did you mean 'clauses'?" in ended.stdout


def test_check_tells_clause_by_clause_and_ends_with_1_when_something_failed(suite: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "harness.cli",
        "check",
        "subject.yaml",
        "-k",
        "passes or fails_at_once",
        "--jobs",
        "1",
    ]
    code = "from harness.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, *command[3:]],
        cwd=suite, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "[2/2]" in ended.stdout
    assert "never: {run: r, is: COMPLETED}" in ended.stdout
    rows = {line.split()[0]: line for line in ended.stdout.splitlines() if line.startswith("CMP-")}
    assert rows["CMP-01"].rstrip().endswith("passed")
    assert rows["CMP-02"].rstrip().endswith("✗ failed  violated in area/fails_at_once")
    assert "Only a part of the suite was run" in ended.stdout
    assert (suite / "results" / "report.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-k", "nothing_of_that_name"], "no scenario is selected"),
        (["-k", "a and"], "is no expression of words"),
        (["--clause", "CMP-99"], "no clause is called 'CMP-99'"),
        (["--scenarios", "nowhere"], "does not exist"),
    ],
)
def test_check_refuses_what_cannot_be_used_with_2(arguments: list[str], told: str) -> None:
    given = arguments if "--scenarios" in arguments else [*arguments, "--scenarios", str(SCENARIOS)]
    ended = CliRunner().invoke(check, [str(REFERENCE), *given])
    assert ended.exit_code == 2
    assert told in ended.output


def test_check_refuses_a_subject_file_that_is_wrong_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "subject.yaml"
    path.write_text("name: x\nroles: {}\nbinding: {topics: {request: a}}\n")
    ended = CliRunner().invoke(check, [str(path), "--scenarios", str(SCENARIOS)])
    assert ended.exit_code == 2
    assert "subject.yaml:3:20: unknown key 'request'" in ended.output
