"""docs/API_DOCUMENTATION.md has every operation of contract/openapi.yaml, as that says, with a command and an answer."""

from __future__ import annotations

import re

import pytest

from tests.docs import operations
from tests.docs.answers import answer_validator, operation_of
from tests.docs.answers import operations as all_operations
from tests.docs.blocks import blocks

_TEXT = operations.PAGE.read_text(encoding="utf-8")


def _sections() -> dict[str, str]:
    """Heading → what stands below it, up to the next one of its level or above."""
    parts = re.split(r"^(#{2,3} .*)$", _TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("method", "path"), all_operations(), ids=lambda part: part)
def test_every_operation_is_told_with_an_example(method: str, path: str) -> None:
    """Under its own heading: what openapi.yaml says of it, and a command of curl."""
    section = _sections()[operations.heading(method, path)]
    assert list(operations.parts(section)) == [all_operations()[method, path]["operationId"]]
    assert "```bash\n" in section
    assert "curl " in section


def test_what_is_taken_from_the_contract_is_as_it_stands_there() -> None:
    """Otherwise: python -m tests.docs.operations."""
    parts = operations.parts(_TEXT)
    assert {name: operations.told(name) for name in parts} == parts
    assert set(operations.OBJECTS) <= set(parts)


def test_every_operation_shows_what_comes_back() -> None:
    """An answer, which is compared with the real one, or what the command printed."""
    shown = {block.heading for block in blocks(operations.PAGE) if block.kind in ("answer", "output")}
    assert {operations.heading(*key).removeprefix("### ") for key in all_operations()} <= shown


def test_a_request_is_found_by_method_and_path() -> None:
    """A variable takes one part of a path; what is not there is an error, as is a status that is not foreseen."""
    path, operation = operation_of("GET", "http://127.0.0.1:8000/api/v1/runs/run-1/steps?x=1")
    assert (path, operation["operationId"]) == ("/api/v1/runs/{run_id}/steps", "listRunSteps")
    with pytest.raises(LookupError):
        operation_of("PATCH", "http://127.0.0.1:8000/api/v1/runs")
    with pytest.raises(LookupError):
        answer_validator(path, operation, 418)
    assert not answer_validator(path, operation, 200).is_valid({"items": [{"step_id": 1}], "total": 1})
