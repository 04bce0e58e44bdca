"""``plumbline soak``: what its command line takes and refuses, and what it prints."""

from __future__ import annotations

from pathlib import Path

import click.testing
import pytest
from rich.console import Console

from harness.cli.soak import _Display, soak
from harness.soak import Snapshot

REFERENCE = Path(__file__).parents[3] / "subjects" / "reference.yaml"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--faults", "kill,storms"], "no group of faults is called 'storms'"),
        (["--for", "soon"], "expected a time such as 90s, 2m or 1h"),
        (["--set", "LOG_LEVEL"], "expected NAME=VALUE, found 'LOG_LEVEL'"),
        (["--rate", "0"], "0.1<=x<=500"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_starts(arguments: list[str], told: str) -> None:
    """With exit code 2, and a sentence that says what is expected."""
    result = click.testing.CliRunner().invoke(soak, [str(REFERENCE), *arguments])
    assert result.exit_code == 2
    assert told in result.output


def test_a_subject_file_with_mistakes_is_told_and_nothing_started(tmp_path: Path) -> None:
    """The mistakes with their places, and exit code 2."""
    path = tmp_path / "subject.yaml"
    path.write_text("name: broken\n", encoding="utf-8")
    result = click.testing.CliRunner().invoke(soak, [str(path)])
    assert result.exit_code == 2
    assert "subject.yaml:1" in result.output


def test_a_log_gets_plain_lines_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """No control sequences, one line for many tellings, with all that must be none."""
    with _Display(Console(force_terminal=False, width=200), 60.0) as display:
        for second in range(5):
            display.tell(Snapshot(seconds=second, accepted=10 * second, lost=1), "kill consumer-1", {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "1 lost, 0 stuck, 0 duplicated" in lines[0]
    assert "kill consumer-1" in lines[0]
    assert "\x1b" not in lines[0]


def test_a_terminal_shows_all_counts_in_place() -> None:
    """Runs, ends, what failed, the fault of the moment and the memory of each process."""
    console = Console(force_terminal=True, width=160, record=True)
    snapshot = Snapshot(seconds=12, accepted=40, judged=30, stuck=2)
    snapshot.ends["COMPLETED"] = 31
    with _Display(console, 60.0) as display:
        display.tell(snapshot, "pause bridge-1", {"bridge-1": 71.5})
    text = console.export_text()
    for part in ("12 of 60 s", "40 accepted, 31 ended", "2 stuck", "now: pause bridge-1", "bridge-1 72 MiB"):
        assert part in text
