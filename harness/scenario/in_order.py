"""Whether the entries of a list stand in the order of one of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

from harness.scenario.json_values import Difference, Place, is_number, shown


def out_of_order(name: str, found: Any, place: Place, order: Literal["ascending", "descending"]) -> Difference | None:
    """The first entry of a list that does not stand in the order of the field; those in which it is null are passed over."""
    if not isinstance(found, (list, tuple)):
        return place, f"expected a list, found {shown(found)}"
    if not all(isinstance(entry, Mapping) and name in entry for entry in found):
        return place, f"expected entries with a field {shown(name)}, found {shown(found)}"
    indexes = [index for index, entry in enumerate(found) if entry[name] is not None]
    for one, other in pairwise(indexes):
        before, after = found[one][name], found[other][name]
        compared = _compare(before, after)
        if compared is None:
            return (*place, other, name), f"expected two numbers or two texts, found {shown(before)} and {shown(after)}"
        if compared == (1 if order == "ascending" else -1):
            return (*place, other, name), f"expected {order} order, found {shown(after)} behind {shown(before)}"
    return None


def _compare(one: Any, other: Any) -> int | None:
    """-1, 0 or 1 as the first is less, equal or greater: numbers, moments where both texts are such, else texts by their
    characters. None for what has no order."""
    if is_number(one) and is_number(other):
        return int(one > other) - int(one < other)
    if not isinstance(one, str) or not isinstance(other, str):
        return None
    moments = _moment(one), _moment(other)
    if moments[0] is not None and moments[1] is not None:
        return int(moments[0] > moments[1]) - int(moments[0] < moments[1])
    return int(one > other) - int(one < other)


def _moment(text: str) -> datetime | None:
    """A time of ISO 8601, in UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
