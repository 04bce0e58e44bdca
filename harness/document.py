"""A YAML file that a person wrote, held to a JSON Schema, with the place of every mistake in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from harness.breaches import MOST_MISTAKES, Place, breaches, did_you_mean

__all__ = [
    "MOST_NODES",
    "Document",
    "Mistake",
    "MistakesFound",
    "Place",
    "TellsPlaces",
    "breaches",
    "did_you_mean",
    "mistakes_by",
    "read_document",
]

MOST_NODES = 200_000


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


def read_document(path: Path) -> Document:
    """Read one YAML document (YAML 1.2).

    Raises:
        MistakesFound: it cannot be read, is no YAML, names a key twice or by something that is no text, or is too large.
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
            if wrong := _keys_that_are_no_texts(root, path):
                raise MistakesFound(wrong)
        data = _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = " ".join(str(error.problem or error.context or "is not YAML").split()).partition(" with value ")[0]
        raise MistakesFound([Mistake(path, line, column, f"is not YAML that can be read: {what}")]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise MistakesFound([Mistake(path, 1, 1, f"is not YAML that can be read: {error}")]) from error
    return Document(path, data, keys, values)


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


_KEY_KINDS: Mapping[str, str] = {
    "bool": "the boolean",
    "null": "null",
    "int": "the number",
    "float": "the number",
}


def _keys_that_are_no_texts(root: Node, path: Path) -> list[Mistake]:
    """A mistake for each key that YAML takes for a boolean, null, a number, or a collection: JSON has texts alone as keys, and
    so has everything that is named in these files."""
    found: list[Mistake] = []
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        parts: list[Node] = list(node.value) if isinstance(node, SequenceNode) else []
        for key, value in node.value if isinstance(node, MappingNode) else ():
            parts.append(value)
            kind = str(key.tag).rpartition(":")[2]
            if not isinstance(key, ScalarNode):
                found.append(_at(key, path, "expected a text as key, found a mapping or a list"))
            elif kind in _KEY_KINDS:
                what = " ".join(word for word in (_KEY_KINDS[kind], key.value) if word != "null") or "null"
                found.append(_at(key, path, f"expected a text as key, found {what}; put it in quotes: '{key.value}'"))
        for part in parts:
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)
    return found[:MOST_MISTAKES]


def _at(node: Node, path: Path, message: str) -> Mistake:
    return Mistake(path, node.start_mark.line + 1, node.start_mark.column + 1, message)
