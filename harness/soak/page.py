"""A soak's ledger as one page that needs nothing beside it, with memory and connections drawn over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from harness.report import page

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 1180, 170, 60, 22
_MOST_MARKS: Final = 600
_COLOURS: Final = (
    "#1c56b0",
    "#b3261e",
    "#1e6b33",
    "#7a5900",
    "#7b3fa0",
    "#00757a",
    "#a0522d",
    "#5b636d",
    "#c2185b",
    "#33691e",
)


@dataclass(frozen=True)
class Line:
    """One process in a drawing: the points of its line, and what it came to."""

    name: str
    colour: str
    points: str
    most: float
    last: float
    is_flat: bool | None


@dataclass(frozen=True)
class Drawing:
    """Lines over time; `marks` are the places of faults, `ticks` (place, value) of the scale at the left."""

    title: str
    unit: str
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]]
    ticks: Sequence[tuple[float, str]]
    times: Sequence[tuple[float, str]]


def html(data: Mapping[str, Any]) -> str:
    """The page for what `Soak.carry_out` gives as JSON."""
    style = page.part("report.css")
    titles = (
        ("rss_mib", "Resident memory", "MiB"),
        ("database", "Connections to the database", "connections"),
        ("kafka", "Connections to Kafka", "connections"),
    )
    drawings = [_drawing(data, field, title, unit) for field, title, unit in titles]
    return (
        page.templates("harness.soak")
        .get_template("soak.html.j2")
        .render(
            data=data,
            drawings=[one for one in drawings if one.lines],
            width=_WIDTH,
            height=_HEIGHT,
            left=_LEFT,
            bottom=_BOTTOM,
            style=Markup(style),
            style_hash=page.hash_of(style),
        )
    )


def _drawing(data: Mapping[str, Any], field: str, title: str, unit: str) -> Drawing:
    series: Mapping[str, Any] = data["resources"]
    seconds = max(float(data["seconds"]), 1.0)
    top = _round_up(max((max(one[field], default=0) for one in series.values()), default=0))

    def across(at: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT) * min(at, seconds) / seconds, 1)

    def up(value: float) -> float:
        return round((_HEIGHT - _BOTTOM) * (1 - value / top), 1)

    lines = [
        Line(
            name,
            _COLOURS[index % len(_COLOURS)],
            " ".join(f"{across(at)},{up(value)}" for at, value in zip(one["at_seconds"], one[field], strict=True)),
            max(one[field], default=0),
            one[field][-1] if one[field] else 0,
            one["is_flat"] if field == "rss_mib" else None,
        )
        for index, (name, one) in enumerate(sorted(series.items()))
        if max(one[field], default=0)
    ]
    marks = [
        (across(one["at_seconds"]), f"{one['at_seconds']:.0f} s: {one['kind']} {one['target']}")
        for one in data["faults"][:_MOST_MARKS]
        if one["kind"] != "nothing"
    ]
    ticks = [(up(top * part), f"{top * part:g}") for part in (0, 0.5, 1)]
    times = [(across(seconds * part), f"{seconds * part:.0f} s") for part in (0, 0.25, 0.5, 0.75)]
    return Drawing(title, unit, lines, marks, ticks, times)


def _round_up(value: float) -> float:
    """The next number that a scale can end with."""
    step = 1.0
    while step * 10 < value:
        step *= 10
    return next((step * factor for factor in (1, 2, 4, 5, 10) if step * factor >= value), step * 10)
