"""References in input mappings, written from REF-01 to REF-27.

A text is taken apart into literal text and references; each reference is looked up by a function that the caller gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from harness.oracle.values import MISSING, embedded, has_unordered_text

Source = Literal["input", "step", "loop"]
_LOOP_WORDS = ("item", "index", "total", "is_first", "is_last")
_STEP_OF_PATH = re.compile(r"\.([^.\[\]{}]+)|\[(\d{1,18})\]")


@dataclass(frozen=True, slots=True)
class Reference:
    """`text` as it is written; `name` is the step's id or the loop's word; `path` has names and positions."""

    text: str
    source: Source
    name: str
    path: tuple[str | int, ...]


class Unresolvable(Exception):
    """A reference that leads to nothing (REF-11)."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        super().__init__(reference.text)


class NotJudged(Exception):
    """More than one result would be right, so none is said."""


Lookup = Callable[[Reference], Any]
"""What a reference's source holds before its path is followed; MISSING when there is nothing."""


def parts(text: str, step_ids: Collection[str]) -> list[str | Reference]:
    """Literal texts and references in turn. A quick-start reference is one only as the whole text (REF-07)."""
    if text.startswith("$."):
        whole = _quick_start(text, step_ids)
        if whole is not None:
            return [whole]
    found: list[str | Reference] = []
    literal = 0
    at = text.find("${")
    while at >= 0:
        end = text.find("}", at)
        if end < 0:
            break
        reference = braced(text[at : end + 1], step_ids)
        if reference is None:
            # What only resembles a reference is text (REF-04), and may hold the beginning of a real one.
            at = text.find("${", at + 1)
            continue
        if literal < at:
            found.append(text[literal:at])
        found.append(reference)
        literal = end + 1
        at = text.find("${", literal)
    if literal < len(text):
        found.append(text[literal:])
    return found


def braced(text: str, step_ids: Collection[str]) -> Reference | None:
    """The reference that a whole ``${…}`` is, or None."""
    content = text[2:-1]
    if "{" in content or "}" in content:
        return None
    readings: list[Reference] = []
    if content.startswith("workflow.input"):
        _read(readings, text, "input", "", content[len("workflow.input") :])
    for word in _LOOP_WORDS:
        if content.startswith(f"loop.{word}"):
            _read(readings, text, "loop", word, content[len(f"loop.{word}") :])
    return _one_of(readings) or _of_step(text, content, ".output", step_ids)


def _quick_start(text: str, step_ids: Collection[str]) -> Reference | None:
    content = text[2:]
    readings: list[Reference] = []
    if content.startswith("workflow_input"):
        _read(readings, text, "input", "", content[len("workflow_input") :])
    return _one_of(readings) or _of_step(text, content, ".output_data", step_ids)


def quick_start(text: str, step_ids: Collection[str]) -> Reference | None:
    """The reference that a whole ``$.…`` is, or None."""
    return _quick_start(text, step_ids) if text.startswith("$.") else None


def _of_step(text: str, content: str, word: str, step_ids: Collection[str]) -> Reference | None:
    """The reading with the longest id that the plan has (REF-25)."""
    best: Reference | None = None
    at = content.find(word, 1)
    while at > 0:
        name = content[:at]
        path = path_of(content[at + len(word) :])
        if path is not None and name in step_ids:
            best = Reference(text, "step", name, path)
        at = content.find(word, at + 1)
    return best


def _read(readings: list[Reference], text: str, source: Source, name: str, rest: str) -> None:
    path = path_of(rest)
    if path is not None:
        readings.append(Reference(text, source, name, path))


def _one_of(readings: list[Reference]) -> Reference | None:
    return readings[0] if readings else None


def path_of(text: str) -> tuple[str | int, ...] | None:
    """``.a[0].b`` as ("a", 0, "b"); None when it is no path (REF-08, REF-09)."""
    found: list[str | int] = []
    at = 0
    while at < len(text):
        match = _STEP_OF_PATH.match(text, at)
        if match is None:
            return None
        found.append(match[1] if match[1] is not None else int(match[2]))
        at = match.end()
    return tuple(found)


def follow(value: Any, path: tuple[str | int, ...]) -> Any:
    """The value at a path, or MISSING (REF-10: null is a value, but no path goes through it)."""
    for part in path:
        is_member = isinstance(part, str) and isinstance(value, dict) and part in value
        is_item = isinstance(part, int) and isinstance(value, list) and part < len(value)
        if not is_member and not is_item:
            return MISSING
        value = value[part]
    return value


def references_in(value: Any, step_ids: Collection[str]) -> Iterator[Reference]:
    """Every reference in a mapping's values, at any depth; keys are literals (REF-03)."""
    if isinstance(value, str):
        yield from (part for part in parts(value, step_ids) if isinstance(part, Reference))
    elif isinstance(value, dict):
        for item in value.values():
            yield from references_in(item, step_ids)
    elif isinstance(value, list):
        for item in value:
            yield from references_in(item, step_ids)


def resolve(value: Any, step_ids: Collection[str], lookup: Lookup, *, open_text: Any = None) -> Any:
    """A mapping's value with its references replaced. With `open_text`, that stands where a text could be written in
    several ways.

    Raises:
        Unresolvable: the first reference that leads to nothing.
        NotJudged: a text whose exact form the contract leaves open (an object's order of keys, REF-02).
    """
    if isinstance(value, str):
        return _resolve_text(value, step_ids, lookup, open_text)
    if isinstance(value, dict):
        return {key: resolve(item, step_ids, lookup, open_text=open_text) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, step_ids, lookup, open_text=open_text) for item in value]
    return value


def _resolve_text(text: str, step_ids: Collection[str], lookup: Lookup, open_text: Any) -> Any:
    found = parts(text, step_ids)
    if len(found) == 1 and isinstance(found[0], Reference):
        return at_reference(found[0], lookup)
    written: list[str] = []
    is_open = False
    for part in found:
        if isinstance(part, str):
            written.append(part)
            continue
        value = at_reference(part, lookup)
        if not isinstance(value, str) and has_unordered_text(value):
            if open_text is None:
                raise NotJudged(f"{part.text} can be written in several ways")
            is_open = True
            continue
        # What a reference resolves to is text from here on and is not looked at again (REF-12).
        written.append(embedded(value))
    return open_text if is_open else "".join(written)


def at_reference(reference: Reference, lookup: Lookup) -> Any:
    """The value of one reference; raises Unresolvable."""
    source = lookup(reference)
    value = MISSING if source is MISSING else follow(source, reference.path)
    if value is MISSING:
        raise Unresolvable(reference)
    return value


def unresolvable_in(value: Any, step_ids: Collection[str], lookup: Lookup) -> set[str]:
    """The texts of all references in a mapping that lead to nothing."""
    found: set[str] = set()
    for reference in references_in(value, step_ids):
        try:
            at_reference(reference, lookup)
        except Unresolvable:
            found.add(reference.text)
    return found
