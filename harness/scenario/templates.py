"""`{{name}}` in texts: found, and filled in.

A text that is nothing but one `{{name}}` takes on the value with its type; elsewhere the value is written into the text,
a text as it is and anything else as JSON. A dotted name goes into mappings: `{{r.id}}`. What was filled in is never looked
at again, so that data which look like a template stay data. `{{{{name}}}}` is the text `{{name}}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]*"
_DOTTED: Final = rf"{NAME}(?:\.{NAME})*"
_OPENING: Final = "{{"
"""Most texts do not have it, and need not be looked at any further."""

_EITHER: Final = re.compile(rf"\{{\{{\{{\{{([^{{}}]*)\}}\}}\}}\}}|\{{\{{ *({_DOTTED}) *\}}\}}")
_WHOLE: Final = re.compile(rf"\{{\{{ *({_DOTTED}) *\}}\}}")


class UnknownName(LookupError):
    """A template names something that has no value."""

    def __init__(self, name: str) -> None:
        super().__init__(f"nothing is called '{name}' here")
        self.name = name


def fill(value: Any, values: Mapping[str, Any]) -> Any:
    """A copy of a JSON value with every template in it filled in, in keys as well.

    Raises:
        UnknownName: a name has no value.
        ValueError: two keys of one mapping have become the same.
    """

    def look_up(name: str) -> Any:
        return found(name, values)

    return _filled(value, look_up, unescape=True)


def fill_known(value: Any, values: Mapping[str, Any]) -> Any:
    """The same, but names without a value stay as they are, and so do escapes: a later `fill` deals with both."""

    def look_up(name: str) -> Any:
        try:
            return found(name, values)
        except UnknownName:
            return f"{{{{{name}}}}}"

    return _filled(value, look_up, unescape=False)


def found(name: str, values: Mapping[str, Any]) -> Any:
    """The value of a name, dotted or not. Raises UnknownName."""
    if name in values:
        return values[name]
    value: Any = values
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise UnknownName(name)
        value = value[part]
    return value


def names(value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """(place, name) of every template in a JSON value; a template in a key has the key's place."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, str):
            yield from ((place, name) for name in _names_in(part))
        elif isinstance(part, Mapping):
            for key, item in part.items():
                yield from (((*place, key), name) for name in _names_in(key))
                waiting.append(((*place, key), item))
        elif isinstance(part, (list, tuple)):
            waiting += [((*place, index), item) for index, item in enumerate(part)]


def open_name_at(data: Any, place: tuple[str | int, ...]) -> str | None:
    """The name, when what stands at a place is nothing but one template; None, also when nothing stands there."""
    value = data
    for part in place:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return whole_name(value)


def whole_name(value: Any) -> str | None:
    """The name, when the value is a text that is nothing but one template."""
    if not isinstance(value, str) or _OPENING not in value:
        return None
    match = _WHOLE.fullmatch(value)
    return match[1] if match else None


def _names_in(text: Any) -> list[str]:
    if not isinstance(text, str) or _OPENING not in text:
        return []
    return [match[2] for match in _EITHER.finditer(text) if match[2] is not None]


def _filled(value: Any, look_up: Callable[[str], Any], *, unescape: bool) -> Any:
    if isinstance(value, str):
        name = whole_name(value)
        return look_up(name) if name is not None else _interpolated(value, look_up, unescape=unescape)
    if isinstance(value, Mapping):
        items = {
            _interpolated(key, look_up, unescape=unescape) if isinstance(key, str) else key: _filled(
                item, look_up, unescape=unescape
            )
            for key, item in value.items()
        }
        if len(items) < len(value):
            raise ValueError(f"two of the keys {', '.join(map(repr, value))} are the same once they are filled in")
        return items
    if isinstance(value, (list, tuple)):
        return [_filled(item, look_up, unescape=unescape) for item in value]
    return value


def _interpolated(text: str, look_up: Callable[[str], Any], *, unescape: bool) -> str:
    def written(match: re.Match[str]) -> str:
        if match[2] is None:
            return f"{{{{{match[1]}}}}}" if unescape else match[0]
        value = look_up(match[2])
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return _EITHER.sub(written, text) if _OPENING in text else text
