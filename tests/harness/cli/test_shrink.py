"""The command line of ``plumbline shrink``: what cannot be made smaller is told before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.shrink import shrink
from harness.exploration.files import with_case
from harness.generation import Case
from harness.history import HistoryWriter
from harness.history.file import encode
from harness.minimizing import UnusableSource, read_source

ROOT = Path(__file__).parents[3]
SUBJECT = str(ROOT / "subjects" / "reference.yaml")
SUITE = ROOT / "scenarios"
CASE = Case(
    {"name": "main", "start_step": "a", "steps": {"a": {"id": "a", "agent_name": "w"}}}, {"w": [{"ok": {}}]}, {}
)


def _history(tmp_path: Path, scenario: str, case: Case | None = None) -> Path:
    writer = HistoryWriter(None)
    writer.add("harness", "begin", scenario=scenario, seed=7, drawn={"n": 1})
    events = writer.history().events
    path = tmp_path / "one.jsonl"
    path.write_text("".join(encode(event) + "\n" for event in (events if case is None else with_case(events, case))))
    return path


@pytest.mark.parametrize(
    ("source", "told"),
    [("nowhere.yaml", "found no file nowhere.yaml"), (f"{SUITE}/loop/collect.yaml::nothing", "found 'nothing'")],
)
def test_a_source_that_is_none_is_told(source: str, told: str) -> None:
    """With what was expected; exit code 2."""
    result = CliRunner().invoke(shrink, [source, "--subject", SUBJECT])
    assert result.exit_code == 2
    assert told in result.output


def test_a_history_of_a_generated_run_is_enough(tmp_path: Path) -> None:
    """Its case stands at its beginning."""
    (failing,) = read_source(str(_history(tmp_path, "generated/1-2", CASE)), [SUITE], 0)
    assert failing.case is not None
    assert failing.case.key == CASE.key
    assert failing.seed == 7


def test_a_history_of_a_scenario_leads_to_its_file(tmp_path: Path) -> None:
    """With what was drawn for it; one whose scenario is nowhere is told."""
    (failing,) = read_source(str(_history(tmp_path, "loop/collect[sequential]")), [SUITE / "loop"], 0)
    assert failing.scenario is not None
    assert (failing.scenario.id, failing.drawn) == ("loop/collect[sequential]", {"n": 1})
    with pytest.raises(UnusableSource, match="expected the scenario loop/gone below"):
        read_source(str(_history(tmp_path, "loop/gone")), [SUITE / "loop"], 0)


def test_variants_are_told_apart() -> None:
    """All of them, or the one that is named."""
    path = SUITE / "failure" / "of_several_failures_one_is_told.yaml"
    assert len(read_source(str(path), [], 0)) == 2
    (failing,) = read_source(f"{path}::of_several_failures_one_is_told[fork_join]", [], 0)
    assert failing.told == "failure/of_several_failures_one_is_told[fork_join]"
