"""`plumbline report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import report
from harness.cli import main


def test_joins_results(make_outcome: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders and files of results become one report of all their subjects."""
    report.write([make_outcome()], "mine", tmp_path / "one")
    report.write([make_outcome()], "yours", tmp_path / "two")
    arguments = ["report", str(tmp_path / "one"), str(tmp_path / "two" / "report.json"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "mine, yours" in capsys.readouterr().out
    assert [one.name for one in report.load(tmp_path / "out").subjects] == ["mine", "yours"]


@pytest.mark.parametrize(("content", "told"), [(None, "cannot be read"), ("nonsense", "expected a report.json")])
def test_unusable_results(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, told: str) -> None:
    """What cannot be read is told with its name, with exit code 2, and nothing is written."""
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(["report", str(path), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
