"""What is told of broken files: each under `broken/` has beside it all that must be told of it, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.document import MistakesFound
from harness.scenario import discover, load
from harness.subject import Subject

BROKEN = Path(__file__).parent / "broken"
FILES = sorted(path for path in BROKEN.rglob("*.yaml") if path.parent.name != "common")


@pytest.fixture(autouse=True)
def _in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in messages are as they were given; the expected ones are relative to the folder."""
    monkeypatch.chdir(BROKEN)


@pytest.mark.parametrize("path", [path.relative_to(BROKEN) for path in FILES], ids=str)
def test_all_mistakes_of_a_file_are_told_at_once_with_their_places(path: Path) -> None:
    """Line, column, what was expected, what was found, and the nearest valid word."""
    read = Subject.load if path.parent.name == "subjects" else load
    with pytest.raises(MistakesFound) as caught:
        read(path)
    assert str(caught.value).splitlines() == path.with_suffix(".expected").read_text(encoding="utf-8").splitlines()


def test_there_are_enough_of_them_and_most_are_told_a_better_word() -> None:
    """At least thirty files; a suggestion wherever a word was misspelt; every line opens with a place."""
    assert len(FILES) >= 30
    lines = [line for path in FILES for line in path.with_suffix(".expected").read_text(encoding="utf-8").splitlines()]
    assert all(re.match(r"[^:]+\.yaml:[1-9]\d*:[1-9]\d*: \S", line) for line in lines)
    misspelt = [
        line for line in lines if re.search(r"unknown key|does not exist; expected|found '\w+'; did|placeholder", line)
    ]
    without = [line for line in misspelt if "did you mean" not in line]
    assert [re.search(r"'(\w+)'", line)[1] for line in without if re.search(r"'(\w+)'", line)] == ["q", "third"]


def test_no_expected_text_is_left_over() -> None:
    """An expected text without its file would be checked by nobody."""
    assert {path.with_suffix("") for path in BROKEN.rglob("*.expected")} == {path.with_suffix("") for path in FILES}


def test_parts_to_be_included_are_no_scenarios() -> None:
    """What stands in a folder `common` is found only when it is named itself."""
    assert not [path for path in discover([BROKEN]) if path.parent.name == "common"]
    assert discover([BROKEN / "common" / "circle.yaml"]) == [BROKEN / "common" / "circle.yaml"]


def test_a_mistake_is_told_once_however_many_variants_have_it(tmp_path: Path) -> None:
    """Only a mistake that is not in all variants names those in which it is."""
    text = (BROKEN / "mistake_in_one_variant.yaml").read_text().replace("last: second}\n  bad", "last: secund}\n  bad")
    path = tmp_path / "both.yaml"
    path.write_text(text)
    with pytest.raises(MistakesFound) as caught:
        load(path)
    (line,) = str(caught.value).splitlines()
    assert "(in variant" not in line
