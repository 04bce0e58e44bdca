"""The documents of the format: what they show can be loaded, and the reference is that of the schema."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.document import MistakesFound
from harness.scenario import load
from harness.scenario.explaining import explain
from harness.scenario.reference import REFERENCE_PATH, reference

DOCS = Path(__file__).parents[3] / "docs"


def yaml_blocks(name: str) -> list[str]:
    """The blocks of YAML in a document."""
    return re.findall(r"^```yaml\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_example_of_the_design_can_be_loaded(tmp_path: Path) -> None:
    """As it stands, with a file where it includes one; two variants, each with draws."""
    (example,) = [block for block in yaml_blocks("harness.md") if block.startswith("guarantee:")]
    common = tmp_path / "common"
    common.mkdir()
    (common / "three_steps.yaml").write_text("agents: {spare: [{echo: true}]}\n")
    path = tmp_path / "area" / "example.yaml"
    path.parent.mkdir()
    path.write_text(example, encoding="utf-8")
    scenarios = load(path)
    assert [scenario.id for scenario in scenarios] == ["area/example[sequential]", "area/example[parallel]"]
    assert len(scenarios[0].agents["worker"].script) == 10
    assert scenarios[0].agents["by_task"].per == "task"
    assert not scenarios[0].agents["unknown"].registered
    assert explain(scenarios)


def test_the_scenario_written_in_five_minutes_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks put together are a scenario, and the mistake shown is told so."""
    monkeypatch.chdir(tmp_path)
    path = Path("scenarios/cancellation/late_result.yaml")
    path.parent.mkdir(parents=True)
    whole = "".join(yaml_blocks("authoring.md"))
    path.write_text(whole, encoding="utf-8")
    (scenario,) = load(path)
    assert scenario.clauses == ("CAN-01", "CAN-03")
    path.write_text(whole.replace("release: worker", "release: workr"), encoding="utf-8")
    with pytest.raises(MistakesFound) as caught:
        load(path)
    assert f"```text\n{caught.value}\n```" in (DOCS / "authoring.md").read_text(encoding="utf-8")


def test_the_reference_is_that_of_the_schema() -> None:
    """Otherwise: python -m harness.scenario reference."""
    assert REFERENCE_PATH.read_text(encoding="utf-8") == reference()


def test_the_reference_tells_of_every_key() -> None:
    """No row without a word on what it is."""
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    cells = [re.split(r" (?<!\\)\| ", row) for row in rows]
    assert not [row for row, (_, told, *_) in zip(rows, cells, strict=True) if told.strip() in ("", "Required.")]
