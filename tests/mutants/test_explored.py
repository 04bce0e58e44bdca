"""What is told of a scenario file that `explore` wrote."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mutants.beyond import BEYOND
from tests.mutants.catalogue import MUTANTS
from tests.mutants.explored import RECORD, Explored, _page, _steps_in, summary
from tests.mutants.one_by_one import read

_ONE_STEP = {"start_step": "a", "steps": {"a": {"id": "a", "agent_name": "w"}}}


@pytest.mark.parametrize(
    ("scenario", "steps"),
    [
        ({"workflows": {"main": _ONE_STEP}, "timeline": [{"execute": {"as": "r"}}]}, 1),
        ({"timeline": [{"rest": {"method": "POST", "path": "/workflows", "body": _ONE_STEP}}]}, 1),
        ({"timeline": [{"rest": {"method": "POST", "path": "/workflows", "body": {"steps": "none"}}}]}, 0),
    ],
    ids=["a run", "a definition that is refused", "a definition without steps"],
)
def test_the_steps_of_a_file_are_counted(scenario: dict[str, Any], steps: int) -> None:
    assert _steps_in(scenario) == steps


def test_a_summary_counts_what_was_found_and_how_small_it_is() -> None:
    found = [
        Explored("one", 10, 5.0, "CMP-01", 2, 0, True, True),
        Explored("two", 10, 7.0, "CMP-01", 4, 2, True, False),
        Explored("three", 900),
    ]
    told = summary(found)
    assert "2 of 3 mutants found, median 6 s; files of 3 steps and 1 acts" in told
    assert "2 fail on their mutant, 1 pass on the reference" in told


def test_what_is_called_beyond_reach_was_not_found() -> None:
    found = {one.mutant for one in read(RECORD, Explored)}
    assert set(BEYOND) <= {mutant.name for mutant in MUTANTS}
    assert not found & set(BEYOND)


def test_the_page_tells_of_every_mutant() -> None:
    found = [
        Explored(mutant.name, 1, 2.0, "CMP-01", 1, 0, True, True) for mutant in MUTANTS if mutant.name not in BEYOND
    ]
    page = _page(found, 5)
    assert all(f"| `{mutant.name}` |" in page for mutant in MUTANTS)
    assert "not been tried" not in page
    assert f"{len(BEYOND) + 1} have not been tried yet" not in _page(found[1:], 5)
    assert "1 have not been tried yet" in _page(found[1:], 5)
