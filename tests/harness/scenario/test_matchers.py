"""Matchers: equality as JSON, the words, bindings, and the first difference with its path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scenario.matcher_mistakes import matcher_mistakes
from harness.scenario.matchers import MISSING, WORDS, count_matches, equal, matches
from harness.scenario.parts import schema

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_every_value_equals_itself(value: Any) -> None:
    """Also after it was written as JSON and read again."""
    assert equal(value, value)
    assert equal(value, json.loads(json.dumps(value)))


@given(JSON, JSON)
def test_equality_is_symmetric(one: Any, other: Any) -> None:
    """No order of the two makes them equal."""
    assert equal(one, other) == equal(other, one)


@given(JSON)
def test_whatever_stands_in_equals_is_literal(value: Any) -> None:
    """A value that looks like a matcher is none in `equals`, and none when a name stands for it."""
    bindings = {"value": value}
    assert matches("{{value}}", value, bindings) is None
    if "{{" not in json.dumps(value):
        assert matches({"equals": value}, value, {}) is None


@given(JSON, JSON)
def test_a_name_matches_just_what_it_stands_for(value: Any, found: Any) -> None:
    """In a matcher, data are never taken for a matcher."""
    assert (matches("{{value}}", found, {"value": value}) is None) == equal(value, found)


@given(JSON)
def test_binding_twice_asks_for_the_same(value: Any) -> None:
    """The first time any value, and that one from then on."""
    bindings: dict[str, Any] = {}
    assert matches([{"bind": "x"}, {"bind": "x"}], [value, value], bindings) is None
    assert equal(bindings["x"], value)
    assert matches({"bind": "x"}, [value], bindings) is not None


@given(JSON, JSON)
def test_not_is_the_contrary(matcher: Any, found: Any) -> None:
    """Of any value, exactly one of a literal and its negation holds."""
    literal = {"equals": {"": matcher}}["equals"]
    if "{{" in json.dumps(literal):
        return
    held = matches({"equals": literal}, found, {}) is None
    assert held != (matches({"not": {"equals": literal}}, found, {}) is None)


@pytest.mark.parametrize(
    ("matcher", "found"),
    [
        (1, 1.0),
        (10**400, 10**400),
        (2**53, float(2**53)),
        (-0.0, 0),
        ({"a": 1, "b": [None]}, {"b": [None], "a": 1.0}),
        ({"matches": "^run-"}, "run-1"),
        ({"contains": "b"}, "abc"),
        ({"contains": {"like": {"a": 1}}}, [{"a": 2}, {"a": 1, "b": 2}]),
        ({"contains": "a"}, {"a": None}),
        ({"like": {"a": {"type": "integer"}, "gone": {"exists": False}}}, {"a": 1, "b": 2}),
        ({"one_of": [1, {"type": "string"}]}, "x"),
        ({"all_of": [{"at_least": 1}, {"at_most": 2}]}, 1.5),
        ({"at_least": 1, "at_most": 2}, 2),
        ({"type": "integer"}, 1.0),
        ({"type": "number"}, 1),
        ({"type": "array"}, []),
        ({"type": "null"}, None),
        ({"exists": True}, None),
        ({"exists": False}, MISSING),
        ({"a": {"exists": False}}, {}),
        ({"length": 2}, "ab"),
        ({"length": {"at_least": 1}}, {"a": 1}),
        ({"like": 1, "a": 2}, {"like": 1, "a": 2}),
        ("{{r.id}}!", "run-1!"),
        ({"{{key}}": 1}, {"k": 1}),
    ],
)
def test_what_matches(matcher: Any, found: Any) -> None:
    """Words, bounds, nesting, and an object with a further key beside a word, which is plain."""
    assert matches(matcher, found, {"r": {"id": "run-1"}, "key": "k"}) is None


@pytest.mark.parametrize(
    ("matcher", "found", "sentence"),
    [
        (1, True, "expected 1, found true"),
        (False, 0, "expected false, found 0"),
        (1, "1", 'expected 1, found "1"'),
        (None, MISSING, "expected null, found nothing there"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "at a.b[1]: expected 2, found 3"),
        ({"a b": 1}, {"a b": 2}, 'at ["a b"]: expected 1, found 2'),
        ({"a": 1}, {"a": 1, "c": 3}, "at c: expected no such field, found 3"),
        ({"a": 1}, {}, "at a: expected 1, found nothing there"),
        ([1], [1, 2], "expected 1 entries, found 2: [1, 2]"),
        ({"a": 1}, [1], "expected an object, found [1]"),
        ([1], {"a": 1}, 'expected a list, found {"a": 1}'),
        ({"matches": "^b"}, "abc", 'expected a text in which /^b/ is found, found "abc"'),
        ({"matches": "1"}, 1, "expected a text in which /1/ is found, found 1"),
        ({"contains": "x"}, "abc", 'expected a text that contains "x", found "abc"'),
        ({"contains": 3}, [1, 2], "expected an entry like 3, found [1, 2]"),
        ({"contains": 3}, None, "expected something that contains 3, found null"),
        ({"like": {"a": {"b": 1}}}, {"a": {"b": 2}}, "at a.b: expected 1, found 2"),
        ({"one_of": [1, 2]}, 3, "expected one of 1, 2, found 3"),
        ({"all_of": [{"at_least": 1}, {"at_most": 2}]}, 3, "expected at most 2, found 3"),
        ({"not": 1}, 1.0, "expected anything but 1, found 1.0"),
        ({"type": "integer"}, 1.5, "expected a value of type integer, found 1.5"),
        ({"type": "number"}, True, "expected a value of type number, found true"),
        ({"exists": True}, MISSING, "expected something there, found nothing there"),
        ({"exists": False}, None, "expected nothing there, found null"),
        ({"length": 1}, [], "of its length expected 1, found 0"),
        ({"length": 1}, 5, "expected something that has a length, found 5"),
        ({"at_least": 2}, "2", 'expected a number, found "2"'),
        ({"at_least": 2}, 1, "expected at least 2, found 1"),
        ("{{later}}", 1, "nothing is bound to 'later' yet"),
        ({"equals": {"type": "x"}}, {"type": "y"}, 'at type: expected "x", found "y"'),
        (2**53 + 1, 2**53 + 3, f"expected {2**53 + 1}, found {2**53 + 3}"),
    ],
)
def test_the_first_difference_is_told_with_its_path(matcher: Any, found: Any, sentence: str) -> None:
    """One sentence: where, what was expected, what was found."""
    assert matches(matcher, found, {}) == sentence


def test_nothing_is_bound_by_what_does_not_match() -> None:
    """Neither by the whole, nor by an alternative that was tried, nor below a `not`."""
    bindings: dict[str, Any] = {}
    assert matches({"a": {"bind": "x"}, "b": 1}, {"a": 5, "b": 2}, bindings) is not None
    assert matches({"contains": {"a": {"bind": "x"}, "b": 1}}, [{"a": 1, "b": 2}, {"a": 7, "b": 1}], bindings) is None
    assert bindings == {"x": 7}
    assert matches({"not": {"a": {"bind": "y"}, "b": 1}}, {"a": 5, "b": 2}, bindings) is None
    assert bindings == {"x": 7}


@pytest.mark.parametrize(
    ("count", "found", "sentence"),
    [
        (2, 2, None),
        (2, 3, "expected 2, found 3"),
        ({"at_least": 1}, 5, None),
        ({"at_least": 1, "at_most": 3}, 4, "expected at least 1 and at most 3, found 4"),
        ({"at_most": 0}, 0, None),
    ],
)
def test_counts(count: Any, found: int, sentence: str | None) -> None:
    """A number, or bounds."""
    assert count_matches(count, found) == sentence


@pytest.mark.parametrize(
    ("matcher", "place", "told"),
    [
        ({"a": {"type": "text"}}, ("a", "type"), "{equals: {type: ...}}"),
        ([{"matches": "["}], (0, "matches"), "expected a regular expression"),
        ({"matches": 1}, ("matches",), "as a text"),
        ({"like": [1]}, ("like",), "a list or a scalar needs no 'like'"),
        ({"one_of": []}, ("one_of",), "expected a list of matchers"),
        ({"exists": "yes"}, ("exists",), "expected true or false"),
        ({"length": -1.5}, ("length",), "expected a count"),
        ({"bind": "a b"}, ("bind",), "expected a name"),
        ({"at_most": "many"}, ("at_most",), "expected a number"),
        ({"not": {"contains": {"type": "strin"}}}, ("not", "contains", "type"), "did you mean 'string'?"),
    ],
)
def test_matchers_that_cannot_be_used_are_found_when_a_file_is_read(
    matcher: Any, place: tuple[Any, ...], told: str
) -> None:
    """With the place in the matcher."""
    ((found_place, message),) = matcher_mistakes(matcher)
    assert found_place == place
    assert told in message


def test_the_schema_knows_the_same_words() -> None:
    """What an editor offers is what is understood."""
    assert set(schema()["$defs"]["matcher_word"]["properties"]) == WORDS | {"at_most"}


@pytest.mark.parametrize(
    ("matcher", "found", "holds"),
    [
        ({"anywhere": 3}, {"a": [{"b": 3.0}]}, True),
        ({"anywhere": 3}, 3, True),
        ({"anywhere": 3}, {"a": ["3", True, None]}, False),
        ({"anywhere": {"contains": "secret"}}, {"a": [{"deep": "a secret is here"}]}, True),
        ({"anywhere": {"matches": "^secret"}}, {"secret-key": 1}, True),
        ({"not": {"anywhere": {"contains": "secret"}}}, {"a": [{"deep": "nothing"}]}, True),
        ({"anywhere": {"like": {"id": 2}}}, [{"id": 1}, {"x": {"id": 2, "n": 0}}], True),
        ({"ascending": "n"}, [{"n": 1}, {"n": 1.0}, {"n": 2}], True),
        ({"ascending": "n"}, [{"n": 2}, {"n": 1}], False),
        ({"descending": "n"}, [{"n": 2}, {"n": None}, {"n": 1}], True),
        ({"descending": "n"}, [{"n": 1}, {"n": None}, {"n": 2}], False),
        ({"ascending": "n"}, [{"n": "2026-01-01T00:00:00Z"}, {"n": "2026-01-01T00:00:00.5+00:00"}], True),
        ({"ascending": "n"}, [{"n": "2026-01-01T01:30:00+01:00"}, {"n": "2026-01-01T01:00:00Z"}], True),
        ({"descending": "n"}, [{"n": "2026-01-01T01:30:00+01:00"}, {"n": "2026-01-01T01:00:00Z"}], False),
        ({"ascending": "n"}, [{"n": "CANCELLED"}, {"n": "FAILED"}], True),
        ({"ascending": "n"}, [{"n": "20240101"}, {"n": "abc"}], True),
        ({"ascending": "n"}, [{"n": "1"}, {"n": 2}], False),
        ({"ascending": "n"}, [{"n": 1}, {"m": 2}], False),
        ({"ascending": "n"}, [], True),
        ({"ascending": "n"}, {"n": 1}, False),
    ],
)
def test_parts_at_any_depth_and_lists_in_order(matcher: Any, found: Any, holds: bool) -> None:
    """`anywhere` looks at keys and values of all depths; order is of numbers, moments or texts, and nulls count nowhere."""
    assert (matches(matcher, found, {}) is None) == holds


def test_what_is_found_anywhere_is_bound() -> None:
    """A part that matches binds, and one that does not binds nothing."""
    bindings: dict[str, Any] = {}
    assert (
        matches(
            {"anywhere": {"like": {"id": {"bind": "id"}, "name": "b"}}},
            [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
            bindings,
        )
        is None
    )
    assert bindings == {"id": 2}
