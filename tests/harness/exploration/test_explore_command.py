"""The command line of ``plumbline explore``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.explore import explore
from harness.exploration.session import Explorer

SUBJECT = str(Path(__file__).parents[3] / "subjects" / "reference.yaml")


@pytest.mark.parametrize("said", ["soon", "0", "-1m", "5 parsecs"])
def test_a_time_that_is_none_is_told(said: str) -> None:
    """With what would be one."""
    result = CliRunner().invoke(explore, [SUBJECT, "--for", said])
    assert result.exit_code == 2
    assert "expected a time such as 90s, 2m or 1h" in result.output


def test_a_subject_with_mistakes_is_told(tmp_path: Path) -> None:
    """With file, line and column, before anything is started."""
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nrolls: {}\n", encoding="utf-8")
    result = CliRunner().invoke(explore, [str(path)])
    assert result.exit_code == 2
    assert f"{path}:2:1" in result.output


def test_an_unknown_profile_is_refused() -> None:
    """It names those that there are."""
    with pytest.raises(ValueError, match="smoke, ci, deep"):
        Explorer("huge", 1)
