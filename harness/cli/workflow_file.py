"""What a person hands to `plumbline run`: the workflow's file and the input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from harness.cli.api import Unusable
from harness.client import ApiRefused
from harness.document import Document, MistakesFound, read_document


def read_workflow(path: Path) -> Document:
    """Read a definition, JSON or YAML. Raises :class:`Unusable` with file, line and column."""
    try:
        document = read_document(path)
    except MistakesFound as error:
        raise Unusable(str(error)) from error
    if not isinstance(document.data, dict):
        raise Unusable(
            str(document.mistake((), "expected a workflow definition: a mapping with name, start_step, steps"))
        )
    if not isinstance(document.data.get("name"), str):
        raise Unusable(str(document.mistake(("name",), "'name' must be given: a text", at_key=True)))
    try:
        json.dumps(document.data, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Unusable(f"{path}: holds something that JSON has no word for: {error}") from error
    return document


def refusal_in_file(document: Document, error: ApiRefused) -> Unusable:
    """An API's refusal of a definition, told with the places in its file."""
    if not error.errors:
        return Unusable(f"{document.path}: {error}")
    lines = []
    for mistake in error.errors:
        told = f"{mistake.message}{f'; {mistake.suggestion}' if mistake.suggestion else ''}"
        lines.append(str(document.mistake(_place(document.data, mistake.pointer), told)))
    return Unusable("\n".join(lines))


def read_input(given: str | None) -> dict[str, Any]:
    """The run's input: JSON, ``@FILE``, or ``@-`` for standard input. Raises :class:`Unusable`."""
    if given is None:
        return {}
    where = "--input"
    text = given
    if given.startswith("@"):
        where = "standard input" if given == "@-" else given[1:]
        try:
            text = sys.stdin.read() if given == "@-" else Path(given[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"The input {where} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Unusable(
            f'{where} is no JSON ({error}). Give an object such as \'{{"message": "hello"}}\', or @FILE.'
        ) from error
    if not isinstance(value, dict):
        raise Unusable(f'{where} must be a JSON object, such as \'{{"message": "hello"}}\'; found {text.strip()[:60]}.')
    return cast(dict[str, Any], value)


def _place(data: Any, pointer: str) -> tuple[str | int, ...]:
    """A JSON Pointer as keys and indexes."""
    place: list[str | int] = []
    for part in pointer.split("/")[1:]:
        key: str | int = part.replace("~1", "/").replace("~0", "~")
        if isinstance(data, list) and isinstance(key, str) and key.isdigit():
            key = int(key)
        place.append(key)
        try:
            data = data[key]
        except (LookupError, TypeError):
            data = None
    return tuple(place)
