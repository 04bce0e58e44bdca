"""``plumbline judge``, and the reference of the checkers."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import contract
import harness.cli.judge
from harness.checkers import CHECKERS, Crash
from harness.checkers.__main__ import main
from harness.checkers.reference import reference
from harness.cli.judge import judge
from harness.history import History
from harness.history.file import encode
from tests.harness.checkers.shapes import history
from tests.harness.checkers.story import Story, steps

ROOT = Path(__file__).parents[3]


def judged(*paths: Path) -> Result:
    return CliRunner().invoke(judge, [str(path) for path in paths])


def kept(path: Path, of: History) -> Path:
    path.write_text("".join(encode(event) + "\n" for event in of), encoding="utf-8")
    return path


def lost() -> History:
    story = Story()
    story.run(steps("a"), {}, via="kafka")
    return story.end()


def test_a_good_history_ends_with_0(tmp_path: Path) -> None:
    done = judged(kept(tmp_path / "good.jsonl", history("chain")))
    assert done.exit_code == 0
    assert "0 findings" in done.output


def test_a_finding_ends_with_1_and_is_printed_with_its_events(tmp_path: Path) -> None:
    done = judged(kept(tmp_path / "good.jsonl", history("chain")), kept(tmp_path / "bad.jsonl", lost()))
    assert done.exit_code == 1
    assert "CMP-01 lost run [runs_end]" in done.output
    assert '"kind":"message"' in done.output


@pytest.mark.parametrize(
    "content", ["", "{}\n", "no json\n", '{"seq":5,"at":0,"wall":"","source":"harness","kind":"begin"}\n', "\udcff"]
)
def test_a_file_that_is_no_history_ends_with_2_and_says_where(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.jsonl"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    done = judged(path)
    assert done.exit_code == 2
    assert "other.jsonl" in done.output


def test_a_file_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    done = judged(tmp_path / "none.jsonl")
    assert done.exit_code == 2
    assert "none.jsonl" in done.output


def test_a_crash_ends_with_3_and_shows_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.cli.judge, "check_all", lambda _: ([], [Crash("stumbles", "Traceback: oh")]))
    done = judged(kept(tmp_path / "good.jsonl", history("chain")))
    assert done.exit_code == 3
    assert "Traceback: oh" in done.output


def test_the_reference_in_the_docs_is_what_the_checkers_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference"]) == 0
    told = capsys.readouterr().out
    assert told == reference(CHECKERS)
    assert (ROOT / "docs" / "checkers.md").read_text(encoding="utf-8") == told, (
        "docs/checkers.md is out of date; run: python -m harness.checkers reference > docs/checkers.md"
    )


def test_another_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_names_are_unique_clauses_exist_and_every_checker_says_why_it_is_sound() -> None:
    assert len({checker.name for checker in CHECKERS}) == len(CHECKERS)
    known = {clause.id for clause in contract.clauses()}
    for checker in CHECKERS:
        assert set(checker.clauses) <= known
        assert checker.about.endswith(".")
        assert len((checker.check.__doc__ or "").split()) > 25, f"{checker.name} does not say why it is sound"


def test_of_what_is_a_should_few_things_are_judged() -> None:
    levels = {clause.id: clause.level for clause in contract.clauses()}
    assert {clause for checker in CHECKERS for clause in checker.clauses if levels[clause] != "MUST"} == {
        "AGT-04",
        "CAN-08",
        "OBS-06",
    }
