"""Whether a value is what a scenario says it must be, and where it is not.

A matcher is a value that must be equal as JSON (numbers as doubles; true is no number), in which every part is a matcher
again; or an object with exactly one of the words of `WORDS`; or one with `at_least`, `at_most` or both. Templates in a
matcher are looked up in the bindings, and what they stand for counts literally: data are never taken for matchers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from harness.scenario import templates
from harness.scenario.in_order import out_of_order
from harness.scenario.json_values import (
    MISSING,
    TYPES,
    Difference,
    Place,
    equal,
    is_number,
    shown,
    shown_place,
    type_of,
    unequal,
)

__all__ = [
    "BOUNDS",
    "MISSING",
    "TYPES",
    "WORDS",
    "Place",
    "count_matches",
    "equal",
    "is_number",
    "matches",
    "shown",
    "type_of",
    "word_of",
]

BOUNDS: Final = frozenset({"at_least", "at_most"})


def matches(matcher: Any, found: Any, bindings: dict[str, Any]) -> str | None:
    """None when `found` (JSON, or MISSING) is what the matcher says; else a sentence that names the first difference.

    What `bind` binds is written into `bindings`, and only when the whole matches. A name that has no value yet makes it
    not match.

    Raises:
        ValueError: the matcher is none (see `matcher_mistakes`, which finds that when a file is read).
    """
    open_bindings = dict(bindings)
    difference = _difference(matcher, found, open_bindings, ())
    if difference is not None:
        place, sentence = difference
        return f"at {shown_place(place)}: {sentence}" if place else sentence
    bindings.update(open_bindings)
    return None


def count_matches(count: Any, found: int) -> str | None:
    """None when the number is what a count (a number, or bounds) says; else a sentence."""
    if isinstance(count, Mapping):
        least, most = count.get("at_least"), count.get("at_most")
        if (least is None or found >= least) and (most is None or found <= most):
            return None
        bounds = [f"at least {least}"] if least is not None else []
        bounds += [f"at most {most}"] if most is not None else []
        return f"expected {' and '.join(bounds)}, found {found}"
    return None if found == count else f"expected {count}, found {found}"


def _difference(matcher: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    if isinstance(matcher, str):
        try:
            return unequal(templates.fill(matcher, bindings), found, place)
        except templates.UnknownName as unknown:
            return place, f"nothing is bound to '{unknown.name}' yet"
    if isinstance(matcher, Mapping):
        word = word_of(matcher)
        if word is None:
            return _object_difference(matcher, found, bindings, place, exactly=True)
        return _WORDS[word](matcher if word == "at_least" else matcher[word], found, bindings, place)
    if isinstance(matcher, (list, tuple)):
        return _list_difference(matcher, found, bindings, place)
    return unequal(matcher, found, place)


def _object_difference(
    matcher: Mapping[str, Any], found: Any, bindings: dict[str, Any], place: Place, *, exactly: bool
) -> Difference | None:
    if not isinstance(found, Mapping):
        return place, f"expected an object, found {shown(found)}"
    wanted = set()
    for key, part in matcher.items():
        try:
            name = templates.fill(key, bindings)
        except templates.UnknownName as unknown:
            return place, f"nothing is bound to '{unknown.name}' yet"
        name = name if isinstance(name, str) else shown(name)
        wanted.add(name)
        if difference := _difference(part, found.get(name, MISSING), bindings, (*place, name)):
            return difference
    further = [key for key in found if key not in wanted]
    if exactly and further:
        return (*place, further[0]), f"expected no such field, found {shown(found[further[0]])}"
    return None


def _list_difference(matcher: Sequence[Any], found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    if not isinstance(found, (list, tuple)):
        return place, f"expected a list, found {shown(found)}"
    for index, (part, item) in enumerate(zip(matcher, found, strict=False)):
        if difference := _difference(part, item, bindings, (*place, index)):
            return difference
    if len(matcher) != len(found):
        return place, f"expected {len(matcher)} entries, found {len(found)}: {shown(found)}"
    return None


def word_of(matcher: Mapping[Any, Any]) -> str | None:
    """The word that makes an object a matcher; `at_least` stands for both bounds."""
    if matcher and matcher.keys() <= BOUNDS:
        return "at_least"
    if len(matcher) == 1:
        (word,) = matcher
        return word if word in WORDS else None
    return None


def _filled(value: Any, bindings: Mapping[str, Any]) -> Any:
    return templates.fill(value, bindings)


def _matches(pattern: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    pattern = _filled(pattern, bindings)
    if isinstance(found, str) and re.search(pattern, found):
        return None
    return place, f"expected a text in which /{pattern}/ is found, found {shown(found)}"


def _contains(part: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    if isinstance(found, str):
        text = _filled(part, bindings)
        return (
            None
            if isinstance(text, str) and text in found
            else (place, f"expected a text that contains {shown(text)}, found {shown(found)}")
        )
    if isinstance(found, Mapping):
        name = _filled(part, bindings)
        return None if name in found else (place, f"expected a field {shown(name)}, found {shown(found)}")
    if isinstance(found, (list, tuple)):
        for item in found:
            tried = dict(bindings)
            if _difference(part, item, tried, ()) is None:
                bindings.update(tried)
                return None
        return place, f"expected an entry like {shown(part)}, found {shown(found)}"
    return place, f"expected something that contains {shown(part)}, found {shown(found)}"


def _like(part: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    return _object_difference(part, found, bindings, place, exactly=False)


def _one_of(parts: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    for part in parts:
        tried = dict(bindings)
        if _difference(part, found, tried, place) is None:
            bindings.update(tried)
            return None
    return place, f"expected one of {', '.join(map(shown, parts))}, found {shown(found)}"


def _all_of(parts: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    return next((difference for part in parts if (difference := _difference(part, found, bindings, place))), None)


def _not(part: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    if _difference(part, found, dict(bindings), place) is not None:
        return None
    return place, f"expected anything but {shown(part)}, found {shown(found)}"


def _type(name: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:  # noqa: ARG001
    if type_of(found) == name or (name == "number" and type_of(found) == "integer"):
        return None
    return place, f"expected a value of type {name}, found {shown(found)}"


def _exists(wanted: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:  # noqa: ARG001
    if (found is not MISSING) == wanted:
        return None
    return place, f"expected {'something' if wanted else 'nothing'} there, found {shown(found)}"


def _length(count: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    if not isinstance(found, (str, list, tuple, Mapping)):
        return place, f"expected something that has a length, found {shown(found)}"
    sentence = count_matches(_filled(count, bindings), len(found))
    return (place, f"of its length {sentence}") if sentence else None


def _bind(name: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    if found is MISSING:
        return place, f"expected a value to bind to '{name}', found nothing there"
    if name in bindings:
        difference = unequal(bindings[name], found, place)
        return (difference[0], f"{difference[1]} ('{name}' is bound already)") if difference else None
    bindings[name] = found
    return None


def _bounds(bounds: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    if not is_number(found):
        return place, f"expected a number, found {shown(found)}"
    sentence = count_matches(_filled(bounds, bindings), found)
    return (place, sentence) if sentence else None


def _anywhere(part: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    waiting = [found]
    while waiting:
        value = waiting.pop()
        tried = dict(bindings)
        if _difference(part, value, tried, ()) is None:
            bindings.update(tried)
            return None
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += value
    return place, f"expected a part, however deep, that is {shown(part)}, found {shown(found)}"


def _ascending(name: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    return out_of_order(_filled(name, bindings), found, place, "ascending")


def _descending(name: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    return out_of_order(_filled(name, bindings), found, place, "descending")


def _equals(value: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
    return unequal(_filled(value, bindings), found, place)


_Judge = Callable[[Any, Any, dict[str, Any], Place], Difference | None]


def _guarded(judge: _Judge) -> _Judge:
    """Names without a value make the matcher not match."""

    def guarded(argument: Any, found: Any, bindings: dict[str, Any], place: Place) -> Difference | None:
        try:
            return judge(argument, found, bindings, place)
        except templates.UnknownName as unknown:
            return place, f"nothing is bound to '{unknown.name}' yet"

    return guarded


_WORDS: Final[Mapping[str, _Judge]] = {
    word: _guarded(judge)
    for word, judge in {
        "equals": _equals,
        "matches": _matches,
        "contains": _contains,
        "like": _like,
        "one_of": _one_of,
        "all_of": _all_of,
        "not": _not,
        "type": _type,
        "exists": _exists,
        "length": _length,
        "anywhere": _anywhere,
        "ascending": _ascending,
        "descending": _descending,
        "bind": _bind,
        "at_least": _bounds,
    }.items()
}
WORDS: Final = frozenset(_WORDS)
"""The words that make an object with one key a matcher."""
