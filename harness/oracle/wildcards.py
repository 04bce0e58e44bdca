"""Values of which the contract fixes a part only: texts that are the executor's own words, and texts written in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.oracle.values import is_number, same

_OPEN_SHAPES = (
    frozenset({"condition_result", "branch_taken", "branch_step_id", "branch_output"}),
    frozenset({"iterations", "total_count", "failed_count"}),
    frozenset({"step_id", "status", "output_data"}),
)
"""Objects that the contract shapes (CON-02, LOP-06): an executor may have further fields in them."""


class Undecided(Exception):
    """The contract, or this oracle, does not say what comes out; nothing is claimed then."""


@dataclass(frozen=True, slots=True)
class Said:
    """Any text that is not empty and has `part` in it, such as an error_message with the agent's words (FAI-02)."""

    part: str = ""


def is_fixed(value: Any) -> bool:
    """Whether nothing in a value is left open."""
    if isinstance(value, Said):
        return False
    if isinstance(value, Mapping):
        return all(map(is_fixed, value.values()))
    return not isinstance(value, list) or all(map(is_fixed, value))


def fits(expected: Any, found: Any) -> bool:
    """Whether a value is what was expected: equal as JSON (CND-09), and where it is left open, as far as it is given."""
    if isinstance(expected, Said):
        return isinstance(found, str) and found != "" and expected.part in found
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            return False
        if expected.keys() != found.keys() and not any(
            shape <= expected.keys() <= found.keys() for shape in _OPEN_SHAPES
        ):
            return False
        return all(fits(item, found[key]) for key, item in expected.items())
    if isinstance(expected, list):
        if not isinstance(found, list) or len(expected) != len(found):
            return False
        return all(map(fits, expected, found))
    if isinstance(expected, str) or expected is None or isinstance(expected, bool):
        return type(expected) is type(found) and bool(expected == found)
    return is_number(found) and same(expected, found)


def shown(value: Any) -> Any:
    """A value for people: what is left open as a text in brackets."""
    if isinstance(value, Said):
        return f"<a text with {value.part!r}>" if value.part else "<any text>"
    if isinstance(value, Mapping):
        return {key: shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list) else value
