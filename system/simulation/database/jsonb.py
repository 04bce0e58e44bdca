"""What PostgreSQL makes of a JSON value in a jsonb column: keys in its order, numbers as numeric has them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from system import json_values


class Unstorable(ValueError):
    """jsonb cannot hold the value."""


def jsonb(value: Any) -> Any:
    """The value as it comes back from a jsonb column; a copy."""
    kind = type(value)
    if kind is dict:
        if len(value) > 1:
            return {key: jsonb(value[key]) for key in sorted(value, key=_by_length)}
        return {_text(key): jsonb(part) for key, part in value.items()}
    if kind is list:
        return [jsonb(part) for part in value]
    if kind is str:
        return _text(value)
    if kind is float:
        return _number(value)
    return value


def loads(text: str) -> Any:
    """A parameter that is JSON, as a value."""
    return json_values.loads(text.encode())


def as_text(value: Any) -> str:
    """The text that PostgreSQL shows of a jsonb value."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _by_length(key: str) -> tuple[int, bytes]:
    encoded = _text(key).encode()
    return len(encoded), encoded


def _text(text: str) -> str:
    if "\x00" in text:
        raise Unstorable("unsupported Unicode escape sequence")
    return text


def _number(value: float) -> Any:
    if value == 0:
        return 0.0
    if "e" in repr(value):
        # numeric shows all digits and no exponent.
        number = Decimal(repr(value))
        return int(number) if number == number.to_integral_value() else value
    return value
