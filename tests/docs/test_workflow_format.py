"""docs/WORKFLOW_FORMAT.md tells of everything that the schema of definitions has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import contract
from system.engine.conditions import ConditionSyntaxError, parse_condition
from system.engine.loading import DEEPEST_TEMPLATE
from system.engine.structure import DEEPEST_NESTING, MOST_PROBLEMS
from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "WORKFLOW_FORMAT.md"
_TEXT = PAGE.read_text(encoding="utf-8")


def _words(schema: Any) -> Iterator[str]:
    """Every field, and every value of an enumeration."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        yield from (value for value in schema.get("enum", ()) if isinstance(value, str))
        for key, value in schema.items():
            if key != "examples":
                yield from _words(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _words(value)


@pytest.mark.parametrize("word", sorted(set(_words(contract.schema("workflow")))))
def test_every_field_type_mode_and_policy_is_told(word: str) -> None:
    """In the page's own words, as code, and in an example that is loaded."""
    assert f"`{word}`" in _TEXT or f"{{{word}" in _TEXT or f", {word}" in _TEXT
    examples = "".join(block.text for block in blocks(PAGE) if block.kind in ("workflow", "refused"))
    assert word in examples


def test_each_refused_definition_is_followed_by_what_is_told() -> None:
    """So that no mistake is shown without its message."""
    kinds = [block.kind for block in blocks(PAGE)]
    assert kinds.count("refused") >= 7
    assert all(kinds[number + 1] == "errors" for number, kind in enumerate(kinds) if kind == "refused")


def test_the_limits_are_those_of_the_code() -> None:
    """Each row of the table, where a constant stands behind it."""
    rows = dict(
        re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", _TEXT.partition("## Limits\n")[2].partition("\n## ")[0], re.M)
    )
    assert rows["composite steps around a step"] == str(DEEPEST_NESTING)
    assert rows["nesting of an `input_mapping` or a literal collection"] == f"{DEEPEST_TEMPLATE} levels"
    assert rows["mistakes told at once"] == str(MOST_PROBLEMS)
    for levels, accepted in ((50, True), (51, False)):
        assert _is_condition("(" * levels + "1" + ")" * levels) is accepted
    for length, accepted in ((10_000, True), (10_001, False)):
        assert _is_condition("1" + " " * (length - 1)) is accepted
    assert rows["an expression"] == "10,000 characters, 50 parentheses within each other"


def _is_condition(text: str) -> bool:
    try:
        parse_condition(text, ())
    except ConditionSyntaxError:
        return False
    return True
