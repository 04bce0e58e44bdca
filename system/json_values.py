"""JSON in and out: fast by orjson, exact where orjson alone would round, and the question of what PostgreSQL can hold."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

# Whole numbers of 19 digits and more may not fit 64 bits, and orjson would turn them into floats.
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Deep enough for any data, and far from where the recursion of encoders and of PostgreSQL ends, also when an output
# has become a part of other values.
MOST_LEVELS = 200
_TEXT_LITERAL = re.compile(rb'"(?:[^"\\]|\\.)*"')


def loads(data: bytes) -> Any:
    """Parse strict JSON (UTF-8, no NaN, no lone surrogates, no number beyond a double); whole numbers stay exact.

    Raises:
        ValueError: what is wrong and where.
    """
    value = orjson.loads(data)
    if _LONG_NUMBER.search(data) is not None:
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
    return value


def dumps(value: Any) -> bytes:
    """Encode what `loads` gave, and moments among it, compactly, as UTF-8.

    Raises:
        ValueError: nested too deeply, or a text that UTF-8 cannot hold.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        # Whole numbers beyond 64 bits and nesting beyond orjson's limit of 254.
        try:
            return json.dumps(
                value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_moment
            ).encode()
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys among them, in no particular order."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def replaced(value: Any, old: tuple[str, ...], new: str) -> Any:
    """The JSON value with every occurrence of the `old` texts replaced, in keys too; the same object if there is none."""
    if not any(secret in text for text in texts(value) for secret in old):
        return value

    def literal(found: re.Match[bytes]) -> bytes:
        text: str = orjson.loads(found[0])
        for secret in old:
            text = text.replace(secret, new)
        return orjson.dumps(text)

    return loads(_TEXT_LITERAL.sub(literal, dumps(value)))


def is_suspicious(data: bytes) -> bool:
    """Whether JSON that `loads` took may hold something that `unstorable` objects to; most need no closer look."""
    # Only an escape can bring U+0000 in.
    return b"\\u0000" in data or data.count(b"{") + data.count(b"[") > MOST_LEVELS


def unstorable(value: Any) -> str | None:
    """Why PostgreSQL's jsonb cannot hold the value, or no encoder can write it again; None when nothing is wrong."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        value, level = waiting.pop()
        if isinstance(value, str):
            if "\x00" in value:
                return "it holds the character U+0000"
            if not value.isascii() and _SURROGATE.search(value) is not None:
                return "it holds half of a surrogate pair"
        elif isinstance(value, float):
            if not math.isfinite(value):
                return "it holds a number that is larger than any double"
        elif isinstance(value, dict | list):
            if level > MOST_LEVELS:
                return f"it is nested deeper than {MOST_LEVELS} levels"
            waiting.extend((part, level + 1) for part in value)
            if isinstance(value, dict):
                waiting.extend((part, level + 1) for part in value.values())
    return None
