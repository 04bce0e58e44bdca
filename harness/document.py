"""A YAML file that a person wrote, held to a JSON Schema, with the place of every mistake in it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MOST_NODES = 200_000
_MOST_MISTAKES = 50

Place = tuple[str | int, ...]
"""Where in a document: the keys and indexes from its top."""


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake in a file. Line and column count from 1."""

    path: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


class MistakesFound(Exception):
    """A file that cannot be used; one line per mistake."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


@dataclass(frozen=True)
class Document:
    """What a file holds, and where each part of it stands."""

    path: Path
    data: Any
    _keys: Mapping[Place, tuple[int, int]]
    _values: Mapping[Place, tuple[int, int]]

    def mistake(self, place: Sequence[str | int], message: str, *, at_key: bool = False) -> Mistake:
        """A mistake at a value, or at its key; where the file has no such place, at the nearest one above it."""
        wanted = tuple(place)
        tables = (self._keys, self._values) if at_key else (self._values, self._keys)
        while True:
            for table in tables:
                if wanted in table:
                    return Mistake(self.path, *table[wanted], message)
            if not wanted:
                return Mistake(self.path, 1, 1, message)
            wanted = wanted[:-1]

    def mistakes_by(self, schema: Mapping[str, Any]) -> list[Mistake]:
        """Every way in which the data break the schema."""
        return mistakes_by(self.data, schema, self.mistake)


class TellsPlaces(Protocol):
    """Makes a mistake of a place in data and a message; see `Document.mistake`."""

    def __call__(self, place: Sequence[str | int], message: str, *, at_key: bool = False) -> Mistake: ...


def mistakes_by(data: Any, schema: Mapping[str, Any], mistake: TellsPlaces) -> list[Mistake]:
    """Every way in which data break a schema, for data that were put together from several documents."""
    return sorted({mistake(place, message, at_key=at_key) for place, message, at_key in breaches(data, schema)})


def breaches(data: Any, schema: Mapping[str, Any]) -> list[tuple[Place, str, bool]]:
    """(place, message, whether the key is at fault) of every way in which data break a schema."""
    found: list[tuple[Place, str, bool]] = []
    for error in Draft202012Validator(schema).iter_errors(data):
        found += _told(error)
        if len(found) >= _MOST_MISTAKES:
            break
    return found


def read_document(path: Path) -> Document:
    """Read one YAML document (YAML 1.2).

    Raises:
        MistakesFound: it cannot be read, is no YAML, names a key twice, or is too large.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MistakesFound([Mistake(path, 1, 1, f"cannot be read: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise MistakesFound([Mistake(path, line, 1, "is not UTF-8; save it in that encoding")]) from error
    keys: dict[Place, tuple[int, int]] = {}
    values: dict[Place, tuple[int, int]] = {}
    try:
        root = _yaml().compose(text)
        if root is not None:
            _note(root, path, keys, values)
        data = _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = " ".join(str(error.problem or error.context or "is not YAML").split()).partition(" with value ")[0]
        raise MistakesFound([Mistake(path, line, column, f"is not YAML that can be read: {what}")]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise MistakesFound([Mistake(path, 1, 1, f"is not YAML that can be read: {error}")]) from error
    return Document(path, data, keys, values)


def did_you_mean(found: object, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest of the known words, or nothing when none is near."""
    near = difflib.get_close_matches(str(found), list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def _yaml() -> YAML:
    """A loader that knows the types of JSON alone: what looks like a date is a text, as the person wrote it."""
    yaml = YAML(typ="safe", pure=True)
    for resolvers in yaml.resolver.versioned_resolver.values():
        resolvers[:] = [(tag, pattern) for tag, pattern in resolvers if not str(tag).endswith(":timestamp")]
    return yaml


def _note(root: Node, path: Path, keys: dict[Place, tuple[int, int]], values: dict[Place, tuple[int, int]]) -> None:
    """Note where every key and value begins. An alias is noted at each place where it is used."""
    waiting: list[tuple[Place, Node, tuple[int, ...]]] = [((), root, ())]
    while waiting:
        place, node, above = waiting.pop()
        values[place] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if id(node) in above:
            raise MistakesFound([Mistake(path, *values[place], "a part of the file holds itself, by an alias")])
        if len(values) > MOST_NODES:
            raise MistakesFound([Mistake(path, *values[place], f"the file has more than {MOST_NODES} values")])
        deeper = (*above, id(node))
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if isinstance(key, ScalarNode):
                    keys[*place, key.value] = (key.start_mark.line + 1, key.start_mark.column + 1)
                    waiting.append(((*place, key.value), value, deeper))
        elif isinstance(node, SequenceNode):
            waiting += [((*place, index), item, deeper) for index, item in enumerate(node.value)]


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
