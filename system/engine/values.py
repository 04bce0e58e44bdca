"""JSON values: how they compare, how deep they are, and how messages name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Common writers of JSON give up at about 254 levels; the message or row around a value takes a few of these.
DEEPEST_VALUE = 250
"""Levels of nesting that an input or output of a step may have; one that is deeper fails its step."""


def is_deeper_than(value: Any, limit: int) -> bool:
    """Whether containers are nested in `value` more than `limit` levels deep. A number is 0 deep, `[]` and `{}` are 1."""
    level = [value]
    for _ in range(limit + 1):
        level = [item for item in level if isinstance(item, dict | list | Mapping)]
        if not level:
            return False
        level = [
            child for item in level for child in (item.values() if isinstance(item, Mapping) else item)
        ]  # fmt: skip
    return True


def json_equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1, 1 equals 1.0, objects compare without order. Takes values of any depth."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if one.keys() != other.keys():
                return False
            pairs.extend((item, other[key]) for key, item in one.items())
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif not _scalars_equal(one, other):
            return False
    return True


def _scalars_equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return (type(one) is type(other) or (is_number(one) and is_number(other))) and bool(one == other)


def is_number(value: Any) -> bool:
    """Whether a value is a JSON number; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def quoted(name: object) -> str:
    """A step's id or another name as a message shows it: nothing in it is escaped, so that a reader finds it."""
    return f"'{name}'"


def kind_of(value: Any) -> str:
    """A JSON value as a message names it."""
    if isinstance(value, Mapping):
        names = ", ".join(quoted(name) for name in list(value)[:10])
        return f"an object with {names or 'no fields'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return {str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
