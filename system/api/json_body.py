"""Reading JSON from a client: exactly what jsonb, Kafka and the executor can hold, and a pointer to whatever they cannot.

The standard library's parser is used and not orjson's, since orjson turns integers beyond 64 bits into floats and
keeps the last of two equal names, both without a word: a definition would lose a step, an input its last digits.
Whole numbers stay exact up to the size of the largest double, which is where other readers of the messages give up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isinf
from typing import Any, NoReturn

from system.api.problems import Mistake, Problem, shown

# What a text of PostgreSQL cannot hold arrives only as an escape: raw control characters are not JSON, and half a
# surrogate pair is not UTF-8.
_SUSPECT_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_SHORT_INTEGER = 300
_MISTAKES_SHOWN = 20


class _Unusable:
    """Stands in the parsed value where something was found that cannot be taken."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _Reader:
    """Hooks of one parse; `clean` tells whether any of them met something unusable."""

    def __init__(self) -> None:
        self.clean = True

    def integer(self, text: str) -> int | _Unusable:
        if len(text) < _SHORT_INTEGER:
            return int(text)
        return int(text) if not isinf(float(text)) else self._refuse()

    def real(self, text: str) -> float | _Unusable:
        number = float(text)
        return number if not isinf(number) else self._refuse()

    def members(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            seen = set()
            for name, _ in pairs:
                if name in seen:
                    members[name] = self._refuse("the name is given twice in one object")
                seen.add(name)
        return members

    def _refuse(self, reason: str = "a number must be within the range of a double") -> _Unusable:
        self.clean = False
        return _Unusable(reason)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_json(body: bytes, max_depth: int) -> Any:
    """The value of a body.

    Raises:
        Problem: 400 when it is no JSON or nested deeper than `max_depth`; 422, with pointers, when it holds what
            cannot be stored or sent on: U+0000, half of a surrogate pair, a name twice in an object, a number out of
            range.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body must be JSON in UTF-8; the byte at offset {error.start} is not UTF-8") from None
    reader = _Reader()
    try:
        value = json.loads(
            text,
            parse_int=reader.integer,
            parse_float=reader.real,
            parse_constant=_constant,
            object_pairs_hook=reader.members,
        )
    except json.JSONDecodeError as error:
        raise Problem(
            400, f"the body must be JSON; found at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except ValueError as error:
        raise Problem(400, f"the body must be JSON; found: {error}") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    if text.count("{") + text.count("[") > max_depth and _deeper_than(value, max_depth):
        raise _too_deep(max_depth)
    if not reader.clean or _SUSPECT_ESCAPE.search(text):
        mistakes = list(_first(_unusable(value)))
        if mistakes:
            raise Problem(422, "the body holds what cannot be stored; see errors", errors=mistakes)
    return value


def storable(text: str) -> bool:
    """Whether PostgreSQL can hold a text: no U+0000 and no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def pointer_step(key: str | int) -> str:
    """One step of a JSON pointer (RFC 6901), as it can be written in an answer."""
    return "/" + shown_text(str(key).replace("~", "~0").replace("/", "~1"))


def shown_text(text: str) -> str:
    """A text with whatever is not printable escaped, since an answer can hold no half of a surrogate pair either."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _too_deep(max_depth: int) -> Problem:
    return Problem(400, f"the body must not be nested deeper than {max_depth} levels")


def _deeper_than(value: Any, limit: int) -> bool:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            part
            for whole in level
            for part in (whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else ())
        ]
        if depth > limit and level:
            return True
    return False


def _unusable(value: Any) -> Iterator[Mistake]:
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        pointer, part = waiting.pop()
        if isinstance(part, _Unusable):
            yield Mistake(pointer, part.reason)
        elif isinstance(part, str) and not storable(part):
            yield Mistake(pointer, f"a text must not hold U+0000 or half of a surrogate pair; found {shown(part)}")
        elif isinstance(part, dict):
            for name, member in part.items():
                if not storable(name):
                    yield Mistake(
                        pointer + pointer_step(name), "a name must not hold U+0000 or half of a surrogate pair"
                    )
                waiting.append((pointer + pointer_step(name), member))
        elif isinstance(part, list):
            waiting.extend((pointer + pointer_step(index), item) for index, item in enumerate(part))


def _first(mistakes: Iterator[Mistake]) -> Iterator[Mistake]:
    for _, mistake in zip(range(_MISTAKES_SHOWN), mistakes, strict=False):
        yield mistake
