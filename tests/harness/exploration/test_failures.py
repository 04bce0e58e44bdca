"""What failed is kept by subject and contract, tried first, and forgotten after enough passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.exploration.failures import FailureDatabase, UnusableFailure
from harness.generation import Case

CASE = Case(
    {"name": "main", "start_step": "a", "steps": {"a": {"id": "a", "agent_name": "w"}}}, {"w": [{"ok": {}}]}, {}
)
OTHER = Case(CASE.workflow, CASE.agents, {"n": 1})
SIGNATURE = frozenset({("oracle", "CMP-07")})


def test_what_failed_comes_again_until_it_has_passed_often_enough(tmp_path: Path) -> None:
    """A failure in between begins the count anew."""
    database = FailureDatabase(tmp_path, "mine", passes=2)
    database.failed(CASE, SIGNATURE)
    database.failed(OTHER, SIGNATURE)
    assert {case.key for case in database.cases()} == {CASE.key, OTHER.key}
    assert not database.passed(CASE)
    database.failed(CASE, SIGNATURE)
    assert not database.passed(CASE)
    assert database.passed(CASE)
    assert [case.key for case in database.cases()] == [OTHER.key]
    assert not database.passed(CASE)


def test_each_subject_has_its_own(tmp_path: Path) -> None:
    """And git is told to leave them alone."""
    FailureDatabase(tmp_path, "mine").failed(CASE, SIGNATURE)
    assert FailureDatabase(tmp_path, "yours").cases() == []
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    """With its path, and what to do."""
    database = FailureDatabase(tmp_path, "mine")
    database.failed(CASE, SIGNATURE)
    (path,) = tmp_path.rglob("*.json")
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(UnusableFailure, match=rf"{path.name}.*remove it"):
        database.cases()
