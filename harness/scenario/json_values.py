"""JSON values: their types, their equality (numbers as doubles; true is no number), the first difference of two, and how they
are shown in a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

Place = tuple[str | int, ...]


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What is found where there is nothing: an absent field or column."""

TYPES: Final = ("string", "integer", "number", "boolean", "object", "array", "null")
_MOST_SHOWN = 200

Difference = tuple[Place, str]


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: numbers as doubles, true and false apart from 1 and 0, order of keys aside."""
    return unequal(one, other, ()) is None


def unequal(expected: Any, found: Any, place: Place) -> Difference | None:
    """The place and a sentence of the first difference of two JSON values; None when they are equal."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key, value in expected.items():
            if key not in found:
                return (*place, key), f"expected {shown(value)}, found nothing there"
            if difference := unequal(value, found[key], (*place, key)):
                return difference
        further = [key for key in found if key not in expected]
        return ((*place, further[0]), f"expected no such field, found {shown(found[further[0]])}") if further else None
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        for index, (one, other) in enumerate(zip(expected, found, strict=False)):
            if difference := unequal(one, other, (*place, index)):
                return difference
        if len(expected) != len(found):
            return place, f"expected {len(expected)} entries, found {len(found)}: {shown(found)}"
        return None
    same = (
        _same_number(expected, found)
        if is_number(expected) and is_number(found)
        else (type(expected) is type(found) and expected == found)
    )
    return None if same else (place, f"expected {shown(expected)}, found {shown(found)}")


def is_number(value: Any) -> bool:
    """Whether it is a JSON number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same_number(one: float, other: float) -> bool:
    try:
        return float(one) == float(other)
    except OverflowError:
        return one == other


def type_of(value: Any) -> str:
    """The JSON type; a number without a fraction is an integer. "nothing" for MISSING."""
    if value is MISSING:
        return "nothing"
    if isinstance(value, bool):
        return "boolean"
    if is_number(value):
        return "integer" if isinstance(value, int) or value.is_integer() else "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Mapping):
        return "object"
    return "null" if value is None else "array"


def shown(value: Any) -> str:
    """A JSON value for a sentence, cut to a length."""
    if value is MISSING:
        return "nothing there"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


def shown_place(place: Place) -> str:
    """`items[2].name`; a name with other characters in quotes."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"\w+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text
