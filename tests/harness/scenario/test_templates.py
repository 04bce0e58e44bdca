"""Templates: what they stand for, what is left, and that data stay data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scenario.templates import UnknownName, fill, fill_known, names, whole_name

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
TEXT = st.text(st.characters(exclude_characters="{}", codec="utf-8"), max_size=10)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(NAMES, ANY)
def test_a_text_that_is_only_a_name_takes_on_the_value_with_its_type(name: str, value: Any) -> None:
    """Whatever the value holds: it is not looked at again."""
    filled = fill(f"{{{{{name}}}}}", {name: value})
    assert filled == value
    assert type(filled) is type(value)


@given(NAMES, TEXT, TEXT, ANY)
def test_within_a_text_the_value_is_written(name: str, before: str, after: str, value: Any) -> None:
    """A text as it is, anything else as JSON."""
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    assert fill(f"{before}.{{{{{name}}}}}{after}", {name: value}) == f"{before}.{written}{after}"


@given(st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=3), max_size=4))
def test_a_value_without_templates_stays_as_it_is(value: Any) -> None:
    """And is a copy, so that whoever changes it changes nothing else."""
    assert fill(value, {}) == value
    assert not list(names(value))


@given(TEXT)
def test_an_escaped_name_is_a_text(text: str) -> None:
    """Also after parameters were filled in at first."""
    escaped = f"{{{{{{{{{text}}}}}}}}}"
    assert fill(fill_known(escaped, {}), {}) == f"{{{{{text}}}}}"


@given(NAMES, NAMES, ANY)
def test_filling_in_two_turns_leaves_nothing_and_loses_nothing(known: str, later: str, value: Any) -> None:
    """What is known first is filled in first; the rest stays to be filled in later."""
    if known == later:
        return
    text = {"a": f"{{{{{known}}}}}", "b": [f"x {{{{{later}}}}}"]}
    half = fill_known(text, {known: 1})
    assert half == {"a": 1, "b": [f"x {{{{{later}}}}}"]}
    assert [name for _, name in names(half)] == [later]
    assert fill(half, {later: "y"}) == {"a": 1, "b": ["x y"]}


def test_dotted_names_go_into_mappings() -> None:
    """As `{{r.id}}` does, with blanks or without."""
    values = {"r": {"id": "run-1"}, "a.b": 2}
    assert fill("{{r.id}} {{ r.id }}", values) == "run-1 run-1"
    assert fill("{{a.b}}", values) == 2
    assert whole_name("{{ r.id }}") == "r.id"


@pytest.mark.parametrize(
    "text", ["{{ }}", "{{1}}", "{{a b}}", "{{a.}}", "{a}", "${a.output}", '{"a":{"b":{"c":{}}}}', "{{{}}}"]
)
def test_other_braces_are_texts(text: str) -> None:
    """JSON, references of workflows, and what is no name."""
    assert fill(text, {}) == text


def test_an_unknown_name_is_told() -> None:
    """By its whole name."""
    with pytest.raises(UnknownName, match=r"'r\.id'") as caught:
        fill(["{{r.id}}"], {"r": {}})
    assert caught.value.name == "r.id"


def test_keys_are_filled_in_and_cannot_fall_together() -> None:
    """Two keys that become the same would lose one of their values."""
    assert fill({"{{a}}": 1}, {"a": "k"}) == {"k": 1}
    with pytest.raises(ValueError, match="the same once they are filled in"):
        fill({"{{a}}": 1, "k": 2}, {"a": "k"})
