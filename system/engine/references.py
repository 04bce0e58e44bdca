"""References in input mappings and conditions (contract section 4), in both syntaxes.

`${workflow.input.a[0]}`, `${step.output.b}`, `${loop.item.c}` may stand alone or inside a text;
`$.workflow_input.a` and `$.step.output_data.b` stand alone. Whatever has none of these forms is a literal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from system.engine.values import DEEPEST_VALUE, is_deeper_than, kind_of, quoted

LOOP_VARIABLES = ("item", "index", "total", "is_first", "is_last")

_EMBEDDED = re.compile(r"\$\{([^{}]*)\}")
_PATH = re.compile(r"(?:\.[^.\[\]{}]+|\[[0-9]{1,100}\])*")
_PATH_PART = re.compile(r"\.([^.\[\]{}]+)|\[([0-9]+)\]")

# The contract's bound for a step's id, in characters.
_LONGEST_ID = 200
# A bound for the work that a hostile text can make; nothing that means to be a reference comes near.
_LONGEST_REFERENCE = 10_000

PathParts = tuple[str | int, ...]


class Unresolved(Exception):
    """A reference that leads nowhere; the message names it and says where it ends."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One parsed reference. `name` is the step's id for `step`, the variable for `loop`, and empty for `input`."""

    text: str
    source: Literal["input", "step", "loop"]
    name: str
    path: PathParts


class Scope(Protocol):
    """What a reference is looked up in: the place of one step in one run."""

    @property
    def workflow_input(self) -> Any: ...

    def output_of(self, step_id: str) -> Any:
        """Output of the execution of that step that this place sees; raises Unresolved when there is none."""

    def loop_variable(self, name: str) -> Any:
        """Value of a variable of the innermost enclosing loop; raises Unresolved outside a loop."""


@dataclass(frozen=True, slots=True)
class Interpolation:
    """A text with references in it: strings and references in turn."""

    parts: tuple[str | Reference, ...]


# A compiled value: a reference, an interpolation, a dict or list that holds one somewhere, or a literal as it is.
Template = Any


@dataclass(frozen=True, slots=True)
class _Object:
    fields: tuple[tuple[str, Template], ...]


@dataclass(frozen=True, slots=True)
class _Array:
    items: tuple[Template, ...]


def parse_reference(text: str, step_ids: Collection[str]) -> Reference | None:
    """The reference that `text` is as a whole, in either syntax, or None when it is a literal.

    Step ids may hold dots: of several readings the longest one that names a known step wins, and without one the
    shortest is taken, so that the unknown step can be reported.
    """
    if len(text) > _LONGEST_REFERENCE:
        return None
    if text.startswith("${") and text.endswith("}") and "}" not in text[:-1] and "{" not in text[2:]:
        return _parse_braced(text, text[2:-1], step_ids)
    if text.startswith("$."):
        return _parse_dollar(text, text[2:], step_ids)
    return None


def _parse_braced(text: str, content: str, step_ids: Collection[str]) -> Reference | None:
    if content.startswith("workflow.input") and (path := _parse_path(content[len("workflow.input") :])) is not None:
        return Reference(text, "input", "", path)
    if content.startswith("loop."):
        for variable in LOOP_VARIABLES:
            if content.startswith(f"loop.{variable}"):
                path = _parse_path(content[len(f"loop.{variable}") :])
                if path is not None:
                    return Reference(text, "loop", variable, path)
    return _parse_step(text, content, ".output", step_ids)


def _parse_dollar(text: str, content: str, step_ids: Collection[str]) -> Reference | None:
    if content.startswith("workflow_input") and (path := _parse_path(content[len("workflow_input") :])) is not None:
        return Reference(text, "input", "", path)
    return _parse_step(text, content, ".output_data", step_ids)


def _parse_step(text: str, content: str, word: str, step_ids: Collection[str]) -> Reference | None:
    shortest: Reference | None = None
    longest_known: Reference | None = None
    # An id has a character at least; beyond the length that ids may have there is nothing to look for.
    position = content.find(word, 1)
    while position > 0:
        path = _parse_path(content[position + len(word) :])
        if path is not None:
            reading = Reference(text, "step", content[:position], path)
            shortest = shortest or reading
            longest_known = reading if reading.name in step_ids else longest_known
        if position > _LONGEST_ID:
            break
        position = content.find(word, position + 1)
    return longest_known or shortest


def _parse_path(text: str) -> PathParts | None:
    if not _PATH.fullmatch(text):
        return None
    return tuple(name or int(index) for name, index in _PATH_PART.findall(text))


def compile_template(value: Any, step_ids: Collection[str]) -> Template:
    """Parse the references in a mapping's value, once per definition. A value without any is returned as it is."""
    if isinstance(value, str):
        return _compile_text(value, step_ids)
    if isinstance(value, Mapping):
        fields = tuple((key, compile_template(item, step_ids)) for key, item in value.items())
        return _Object(fields) if any(_is_compiled(item) for _, item in fields) else value
    if isinstance(value, list):
        items = tuple(compile_template(item, step_ids) for item in value)
        return _Array(items) if any(_is_compiled(item) for item in items) else value
    return value


def _compile_text(text: str, step_ids: Collection[str]) -> Template:
    if "$" not in text:
        return text
    whole = parse_reference(text, step_ids)
    if whole is not None:
        return whole
    parts: list[str | Reference] = []
    end = 0
    for match in _EMBEDDED.finditer(text):
        reference = parse_reference(match.group(), step_ids)
        if reference is not None:
            parts += [text[end : match.start()], reference]
            end = match.end()
    return Interpolation((*parts, text[end:])) if parts else text


def _is_compiled(value: Template) -> bool:
    return isinstance(value, Reference | Interpolation | _Object | _Array)


def references_in(template: Template, pointer: str = "") -> Iterator[tuple[str, Reference]]:
    """Every reference of a compiled value with the JSON pointer (relative to the value) of the text that holds it."""
    if isinstance(template, Reference):
        yield pointer, template
    elif isinstance(template, Interpolation):
        yield from ((pointer, part) for part in template.parts if isinstance(part, Reference))
    elif isinstance(template, _Object):
        for key, item in template.fields:
            yield from references_in(item, f"{pointer}/{escape_pointer(key)}")
    elif isinstance(template, _Array):
        for index, item in enumerate(template.items):
            yield from references_in(item, f"{pointer}/{index}")


def resolve(template: Template, scope: Scope) -> Any:
    """The value of a compiled template in a scope. A reference that is the whole text keeps the JSON type.

    Raises:
        Unresolved: naming the first reference that leads nowhere.
    """
    if isinstance(template, Reference):
        return look_up(template, scope)
    if isinstance(template, Interpolation):
        return "".join(
            part if isinstance(part, str) else _as_text(part, look_up(part, scope)) for part in template.parts
        )
    if isinstance(template, _Object):
        return {key: resolve(item, scope) for key, item in template.fields}
    if isinstance(template, _Array):
        return [resolve(item, scope) for item in template.items]
    return template


def look_up(reference: Reference, scope: Scope) -> Any:
    """The value that a reference names.

    Raises:
        Unresolved: naming the reference and what is missing.
    """
    try:
        if reference.source == "input":
            value = scope.workflow_input
        elif reference.source == "step":
            value = scope.output_of(reference.name)
        else:
            value = scope.loop_variable(reference.name)
    except Unresolved as error:
        raise Unresolved(f"reference {reference.text} cannot be resolved: {error}") from None
    for part in reference.path:
        value = _step_into(value, part, reference)
    return value


def _step_into(value: Any, part: str | int, reference: Reference) -> Any:
    if isinstance(part, str):
        if isinstance(value, Mapping) and part in value:
            return value[part]
        wanted = f"field {quoted(part)}"
    else:
        if isinstance(value, list) and part < len(value):
            return value[part]
        wanted = f"item [{part}]"
    raise Unresolved(f"reference {reference.text} cannot be resolved: no {wanted} in {kind_of(value)}")


def _as_text(reference: Reference, value: Any) -> str:
    if isinstance(value, str):
        return value
    # Said here, and not left to the writer's recursion, so that every process draws the line at the same depth.
    if is_deeper_than(value, DEEPEST_VALUE):
        raise Unresolved(
            f"reference {reference.text} cannot be written into a text: "
            f"its value is nested deeper than {DEEPEST_VALUE} levels"
        )
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def escape_pointer(part: str) -> str:
    """One part of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
