"""What makes a matcher unusable, found when a file is read; and which names a matcher binds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from harness.document import Place, did_you_mean
from harness.scenario import templates
from harness.scenario.matchers import BOUNDS, TYPES, is_number, shown, type_of, word_of


def matcher_mistakes(matcher: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """(place, message) of what makes a matcher unusable. Places are below `place`."""
    if isinstance(matcher, Mapping):
        word = word_of(matcher)
        if word is None:
            for key, item in matcher.items():
                yield from matcher_mistakes(item, (*place, key))
        elif word == "at_least":
            for bound, value in matcher.items():
                if not is_number(value) and templates.whole_name(value) is None:
                    yield (*place, bound), f"expected a number, found {shown(value)}"
        else:
            yield from ((inner, message) for inner, message in _MISTAKES[word](matcher[word], (*place, word)))
    elif isinstance(matcher, (list, tuple)):
        for index, item in enumerate(matcher):
            yield from matcher_mistakes(item, (*place, index))


def bound_names(matcher: Any) -> Iterator[tuple[Place, str]]:
    """(place, name) of every `bind` in a matcher."""
    waiting: list[tuple[Place, Any]] = [((), matcher)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, Mapping):
            word = word_of(part)
            if word == "bind":
                yield (*place, "bind"), str(part["bind"])
            elif word != "equals":
                waiting += [((*place, key), item) for key, item in part.items()]
        elif isinstance(part, (list, tuple)):
            waiting += [((*place, index), item) for index, item in enumerate(part)]


def _bad_pattern(pattern: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if not isinstance(pattern, str):
        yield place, f"expected a regular expression as a text, found {shown(pattern)}"
        return
    try:
        re.compile(pattern)
    except re.error as error:
        yield place, f"expected a regular expression, found {shown(pattern)}: {error}"


def _bad_like(part: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if not isinstance(part, Mapping):
        yield place, f"expected a mapping of fields, found {shown(part)}; a list or a scalar needs no 'like'"
        return
    for key, item in part.items():
        yield from matcher_mistakes(item, (*place, key))


def _bad_list(parts: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if not isinstance(parts, (list, tuple)) or not parts:
        yield place, f"expected a list of matchers, found {shown(parts)}"
        return
    yield from matcher_mistakes(parts, place)


def _bad_type(name: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if name not in TYPES:
        yield (
            place,
            (
                f"expected one of {', '.join(TYPES)}, found {shown(name)}{did_you_mean(name, TYPES)} "
                "(an object that has the field 'type' is written {equals: {type: ...}})"
            ),
        )


def _bad_exists(wanted: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if not isinstance(wanted, bool):
        yield place, f"expected true or false, found {shown(wanted)}"


def _bad_length(count: Any, place: Place) -> Iterator[tuple[Place, str]]:
    bounds = count.values() if isinstance(count, Mapping) and count.keys() <= BOUNDS else [count]
    if not all(type_of(bound) == "integer" or templates.whole_name(bound) for bound in bounds):
        yield place, f"expected a count (a whole number, or at_least and at_most), found {shown(count)}"


def _bad_field(name: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if not isinstance(name, str) or not name:
        yield place, f"expected the name of a field of the list's entries, found {shown(name)}"


def _bad_bind(name: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if not isinstance(name, str) or not re.fullmatch(templates.NAME, name):
        yield place, f"expected a name of letters, digits, - and _, found {shown(name)}"


def _never_bad(_: Any, __: Place) -> Iterator[tuple[Place, str]]:
    return iter(())


_MISTAKES: Final[Mapping[str, Callable[[Any, Place], Iterator[tuple[Place, str]]]]] = {
    "equals": _never_bad,
    "matches": _bad_pattern,
    "contains": matcher_mistakes,
    "like": _bad_like,
    "one_of": _bad_list,
    "all_of": _bad_list,
    "not": matcher_mistakes,
    "type": _bad_type,
    "exists": _bad_exists,
    "length": _bad_length,
    "anywhere": matcher_mistakes,
    "ascending": _bad_field,
    "descending": _bad_field,
    "bind": _bad_bind,
}
