"""The parts of a scenario file, joined with those of the files that it includes; each keeps the place where it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from harness.document import Document, Mistake, MistakesFound, Place, breaches, did_you_mean, read_document
from harness.places import SCENARIOS_DIRECTORY
from harness.scenario import templates

SCHEMA_PATH: Final = SCENARIOS_DIRECTORY / "scenario.schema.json"
COMMON: Final = "common"
"""What a folder of files to be included is called."""

_SHARED: Final = ("parameters", "workflows", "agents")
_MOST_FILES: Final = 50


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of scenario files."""
    return cast(dict[str, Any], json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


@cache
def common_schema() -> dict[str, Any]:
    """The JSON Schema of files that are included."""
    whole = schema()
    return {"$ref": "#/$defs/common", "$defs": whole["$defs"], "properties": whole["properties"]}


@dataclass
class Parts:
    """A scenario's data with what it includes. `own` is the document of the scenario itself, `written` the joined data as
    written, `data` those with parameters filled in (or as written, before that)."""

    own: Document
    data: dict[str, Any]
    written: dict[str, Any]
    _origins: dict[tuple[str, str], Document] = field(default_factory=dict)

    def mistake(self, place: Sequence[str | int], message: str, *, at_key: bool = False) -> Mistake:
        """A mistake at a place in the joined data, told of the file in which that place stands."""
        document = self._origins.get(cast(tuple[str, str], tuple(place[:2])), self.own)
        return document.mistake(place, message, at_key=at_key)

    def with_data(self, data: dict[str, Any]) -> Parts:
        """The same places with other data."""
        return Parts(self.own, data, self.written, self._origins)

    def mistakes_by(self, schema: Mapping[str, Any]) -> list[Mistake]:
        """Every way in which the joined data break the schema, when all that has a value is filled in."""
        return [
            self.mistake(place, self._of_template(place, message), at_key=at_key)
            for place, message, at_key in breaches(self.data, schema)
        ]

    def _of_template(self, place: Place, message: str) -> str:
        """A template that is still there has a name without a value, or one whose value is not known before the run."""
        name = templates.open_name_at(self.data, place)
        if name is None:
            return message
        return f"{message}; only a parameter can stand here{did_you_mean(name, self.data.get('parameters', ()))}"


def read_parts(path: Path) -> Parts:
    """Read a scenario file and all that it includes.

    Raises:
        MistakesFound: a file cannot be read, breaks its schema, or includes itself.
    """
    own = read_document(path)
    mistakes = _mistakes_by(own, schema())
    data = dict(own.data) if isinstance(own.data, dict) else {}
    parts = Parts(own, data, data)
    seen: set[Path] = set()
    for name in _SHARED:
        if isinstance(own.data, dict) and isinstance(own.data.get(name), dict):
            parts.data[name] = dict(own.data[name])
    mistakes += _include(parts, own, (path.resolve(),), seen)
    if mistakes:
        raise MistakesFound(set(mistakes))
    return parts


def _mistakes_by(document: Document, schema: Mapping[str, Any]) -> list[Mistake]:
    """Every way in which a document breaks the schema. What a template stands for is judged when it is filled in."""
    return [
        document.mistake(place, message, at_key=at_key)
        for place, message, at_key in breaches(document.data, schema)
        if at_key or templates.open_name_at(document.data, place) is None
    ]


def _include(parts: Parts, document: Document, above: tuple[Path, ...], seen: set[Path]) -> list[Mistake]:
    """Take in what a document includes; the last one first, since what is there already stays."""
    mistakes: list[Mistake] = []
    for index, name in reversed(list(enumerate(_includes(document)))):
        place = ("include", index)
        target = (document.path.resolve().parent / name).resolve()
        if target in above:
            circle = " → ".join(file.name for file in (*above[above.index(target) :], target))
            mistakes.append(document.mistake(place, f"expected a file that does not lead back here, found {circle}"))
        elif not target.is_file():
            mistakes.append(
                document.mistake(
                    place, f"expected a file, found none at {_shown_path(document.path, name)}{_near(target)}"
                )
            )
        elif len(seen) >= _MOST_FILES:
            mistakes.append(document.mistake(place, f"expected at most {_MOST_FILES} included files, found more"))
        elif target not in seen:
            seen.add(target)
            mistakes += _take_in(parts, _shown_path(document.path, name), above, seen)
    return mistakes


def _take_in(parts: Parts, path: Path, above: tuple[Path, ...], seen: set[Path]) -> list[Mistake]:
    try:
        document = read_document(path)
    except MistakesFound as found:
        return found.mistakes
    mistakes = _mistakes_by(document, common_schema())
    if mistakes:
        return mistakes
    for section in _SHARED:
        mine = parts.data.setdefault(section, {})
        for name, value in document.data.get(section, {}).items():
            if isinstance(mine, dict) and name not in mine:
                mine[name] = value
                parts._origins[section, name] = document
    return _include(parts, document, (*above, path.resolve()), seen)


def _includes(document: Document) -> Iterator[str]:
    listed = document.data.get("include") if isinstance(document.data, dict) else None
    return (name for name in listed if isinstance(name, str)) if isinstance(listed, list) else iter(())


def _shown_path(path: Path, name: str) -> Path:
    """The included file's path as short as it can be written from where the including one is named."""
    target = path.parent / name
    parts: list[str] = []
    for part in target.parts:
        if part == ".." and parts and parts[-1] not in ("..", "/"):
            parts.pop()
        elif part != ".":
            parts.append(part)
    return Path(*parts)


def _near(target: Path) -> str:
    if not target.parent.is_dir():
        return f"; there is no folder {target.parent.name}"
    return did_you_mean(target.name, sorted(file.name for file in target.parent.iterdir() if file.is_file()))
