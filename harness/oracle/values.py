"""JSON values: equality (CND-09), a canonical text to group them by, and text for interpolation (REF-02)."""

from __future__ import annotations

import json
from typing import Any, Final

_EXACT = 2**53
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"))


class _Missing:
    """Where a path leads to nothing."""

    def __repr__(self) -> str:
        return "(nothing)"


MISSING: Final = _Missing()


def is_number(value: Any) -> bool:
    """JSON numbers; true and false are none (CND-09)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(left: Any, right: Any) -> bool:
    """Equality of JSON: by type and value, 1 equal to 1.0, true not equal to 1."""
    return canonical(left) == canonical(right)


def canonical(value: Any) -> str:
    """A text that two values share exactly when they are equal as JSON."""
    return _CANONICAL.encode(_plain(value))


def _plain(value: Any) -> Any:
    # Asked of every value of every history; most of them are texts.
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if is_number(value) and abs(value) >= _EXACT:
        # Beyond this range JSON implementations differ (REF-27): all of them agree on the double.
        try:
            return float(value)
        except OverflowError:
            return str(value)
    return value if value is not MISSING else "(nothing)"


def embedded(value: Any) -> str:
    """How a value stands within a longer text (REF-02). The order of an object's keys is not promised."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def has_unordered_text(value: Any) -> bool:
    """Whether its text can be written in more than one way: objects of several keys, and numbers that are no integers."""
    if isinstance(value, dict):
        return len(value) > 1 or any(has_unordered_text(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unordered_text(item) for item in value)
    if value is None or isinstance(value, str):
        return False
    # What is no JSON is a value that is left open.
    return not isinstance(value, int) or abs(value) >= _EXACT
