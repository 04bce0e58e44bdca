"""How data break a JSON Schema, told to the person who wrote them: what was expected, what was found, the nearest word."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

MOST_MISTAKES: Final = 50
"""How many mistakes of one document are told."""

Place = tuple[str | int, ...]
"""Where in a document: the keys and indexes from its top."""


def breaches(data: Any, schema: Mapping[str, Any]) -> list[tuple[Place, str, bool]]:
    """(place, message, whether the key is at fault) of every way in which data break a schema."""
    found: list[tuple[Place, str, bool]] = []
    for error in Draft202012Validator(schema).iter_errors(data):
        found += _told(error)
        if len(found) >= MOST_MISTAKES:
            break
    return found


def did_you_mean(found: object, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest of the known words, or nothing when none is near."""
    near = difflib.get_close_matches(str(found), list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def _told(error: ValidationError) -> Iterator[tuple[Place, str, bool]]:
    """(place, message, whether the key is at fault) of each mistake in an error of jsonschema's."""
    place: Place = tuple(error.absolute_path)
    rule = str(error.validator)
    if rule in ("additionalProperties", "required") and isinstance(error.instance, dict):
        yield from _told_of_keys(error, place)
    elif rule == "propertyNames" or "propertyNames" in error.absolute_schema_path:
        yield (*place, str(error.instance)), f"'{error.instance}' is no name that can stand here", True
    elif rule in ("oneOf", "anyOf") and all("required" in branch for branch in _wanted(error)):
        yield from _told_of_choice(error, place)
    elif rule in ("oneOf", "anyOf") and error.context:
        for part in _nearest_branch(error):
            yield from _told(part)
    else:
        yield place, _RULES.get(rule, _plainly)(error), False


def _told_of_choice(error: ValidationError, place: Place) -> Iterator[tuple[Place, str, bool]]:
    """Which of some keys must be given."""
    names = [name for branch in _wanted(error) for name in branch["required"]]
    if not isinstance(error.instance, dict):
        if not (isinstance(error.schema, dict) and error.schema.get("type") == "object"):
            yield place, f"expected a mapping with one of {_listed(names)}, found {_shown(error.instance)}", False
        return  # That it is no mapping is told by its type.
    present = [name for name in names if name in error.instance]
    known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    if not present and any(name not in known for name in error.instance) and known:
        return  # The unknown key is told on its own, and is what was meant to be one of these.
    nearest = next((told for name in error.instance if (told := did_you_mean(name, names))), "") if not present else ""
    found = f"found {_listed(present)}" if present else f"found none{nearest}"
    which = "exactly" if error.validator == "oneOf" else "at least"
    yield place, f"{which} one of {_listed(names)} must be given; {found}", False


def _nearest_branch(error: ValidationError) -> list[ValidationError]:
    """The errors of the alternative that was most likely meant: of the same type, and broken deepest; else the first."""
    branches: dict[int, list[ValidationError]] = {}
    for part in error.context:
        branches.setdefault(int(part.schema_path[0]), []).append(part)
    if isinstance(error.instance, (dict, list)):
        alike = [parts for parts in branches.values() if not any(_other_kind(part) for part in parts)]
        if alike:
            return max(alike, key=lambda parts: max(len(part.absolute_path) for part in parts))
    return branches[min(branches)]


def _other_kind(error: ValidationError) -> bool:
    return not error.relative_path and error.validator in ("type", "enum", "const", "pattern")


def _told_of_keys(error: ValidationError, place: Place) -> Iterator[tuple[Place, str, bool]]:
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    known = list(schema.get("properties", ()))
    if error.validator == "required":
        for name in _wanted(error):
            if name not in _found(error):
                yield place, f"'{name}' must be given here", True
        return
    for name in _found(error):
        if name not in known:
            nearest = did_you_mean(name, known)
            yield (*place, name), f"unknown key '{name}'; expected one of {_listed(known)}{nearest}", True


_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def _of_type(error: ValidationError) -> str:
    wanted = _wanted(error) if isinstance(_wanted(error), list) else [_wanted(error)]
    quoted = "; put it in quotes" if "string" in wanted and isinstance(error.instance, (int, float)) else ""
    return f"expected {' or '.join(_TYPES[name] for name in wanted)}, found {_shown(error.instance)}{quoted}"


def _of_words(error: ValidationError) -> str:
    known = [str(word) for word in _wanted(error)]
    return f"expected one of {_listed(known)}, found {_shown(error.instance)}{did_you_mean(error.instance, known)}"


_RULES: Mapping[str, Callable[[ValidationError], str]] = {
    "type": _of_type,
    "enum": _of_words,
    "pattern": lambda error: f"expected a text that matches {error.validator_value}, found {_shown(error.instance)}",
    "minItems": lambda error: f"expected at least {error.validator_value} entries, found {len(_found(error))}",
    "minProperties": lambda error: f"expected at least {error.validator_value} entries, found {len(_found(error))}",
    "uniqueItems": lambda _: "an entry stands here twice",
    "minLength": lambda error: f"expected a text of at least {error.validator_value} characters",
    "maxLength": lambda error: f"expected a text of at most {error.validator_value} characters",
    "minimum": lambda error: f"expected {error.validator_value} or more, found {_shown(error.instance)}",
    "maximum": lambda error: f"expected {error.validator_value} or less, found {_shown(error.instance)}",
    "exclusiveMinimum": lambda error: f"expected more than {error.validator_value}, found {_shown(error.instance)}",
}


def _wanted(error: ValidationError) -> Any:
    return error.validator_value


def _found(error: ValidationError) -> Any:
    return error.instance


def _plainly(error: ValidationError) -> str:
    return str(error.message)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
