"""Where the events of an excerpt are drawn: time runs downwards, one row an event, one column a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

from harness.report.model import Excerpt, Lane, Told
from harness.verdict import Finding

LANES: Final[tuple[tuple[Lane, str], ...]] = (
    ("scenario", "Scenario"),
    ("api", "REST and API"),
    ("kafka", "Kafka"),
    ("executor", "Executor (rows)"),
    ("agents", "Bridge and agents"),
    ("processes", "Processes and faults"),
)
_COLUMNS: Final = {name: index for index, name in enumerate(get_args(Lane))}

LEFT, COLUMN, ROW, TOP = 88, 188, 22, 34
"""Pixels: where the first column begins, how wide each is, how high a row is, where the first row begins."""

WIDTH: Final = LEFT + COLUMN * len(LANES)
_CALLOUT: Final = 18
_CHARACTER: Final = 6.3
_MOST_IN_CALLOUT: Final = 165
_GAP_SECONDS: Final = 0.5
STRIP_HEIGHT, _STRIP_ROW, _STRIP_TOP = 112, 15, 6


@dataclass(frozen=True, slots=True)
class Callout:
    """A finding told below an event: its number within the scenario, from 1, and its words; `y` of the text."""

    number: int
    y: int
    text: str
    clause: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An event at its place. `label` is what fits beside the mark; `text` is all."""

    event: Told
    x: int
    y: int
    label: str
    numbers: str
    callouts: tuple[Callout, ...]
    height: int


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which nothing that is drawn happened."""

    y: int
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole timeline, in pixels."""

    marks: tuple[Mark, ...]
    pauses: tuple[Pause, ...]
    height: int


@dataclass(frozen=True, slots=True)
class Tick:
    """An event on the strip that gives the whole history on the true scale of time; x in thousandths of its width."""

    x: float
    y: float
    is_witness: bool
    seq: int
    text: str


def draw(events: Sequence[Told], findings: Sequence[Finding], words: Sequence[str]) -> Drawing:
    """Place events, with each finding told, in its words, at the last of the events that prove it."""
    told_at: dict[int, list[tuple[int, Finding]]] = {}
    shown = {event.seq for event in events}
    for number, finding in enumerate(findings, 1):
        seen = [seq for seq in finding.events if seq in shown]
        if seen:
            told_at.setdefault(max(seen), []).append((number, finding))
    marks: list[Mark] = []
    pauses: list[Pause] = []
    y, last = TOP, None
    for event in events:
        if last is not None and event.at - last >= _GAP_SECONDS:
            pauses.append(Pause(y, f"{event.at - last:.1f} s in which nothing shown here happened"))
            y += ROW
        last = event.at
        callouts = tuple(
            Callout(number, y + ROW + _CALLOUT * index + 12, cut(words[number - 1], _MOST_IN_CALLOUT), finding.clause)
            for index, (number, finding) in enumerate(told_at.get(event.seq, ()))
        )
        height = ROW + _CALLOUT * len(callouts)
        x = LEFT + COLUMN * _COLUMNS[event.lane]
        numbers = [number for number, finding in enumerate(findings, 1) if event.seq in finding.events]
        told = ",".join(map(str, numbers[:2])) + ("…" if len(numbers) > 2 else "")
        label = cut(event.text, _room(x, is_witness=bool(numbers)))
        marks.append(Mark(event, x, y, label, told, callouts, height))
        y += height
    return Drawing(tuple(marks), tuple(pauses), y + 8)


def strip(excerpt: Excerpt, witnesses: frozenset[int]) -> tuple[list[Tick], float]:
    """The ticks of the whole history and how many seconds it took; of events at one place only one is drawn."""
    seconds = max((event.at for event in excerpt.events), default=0.0) or 1.0
    ticks: dict[tuple[int, int, bool], Tick] = {}
    for event in excerpt.events:
        column, x = _COLUMNS[event.lane], round(event.at / seconds * 1000, 1)
        is_witness = event.seq in witnesses
        place = (column, int(x // 2), is_witness)
        ticks.setdefault(place, Tick(x, _STRIP_TOP + column * _STRIP_ROW, is_witness, event.seq, event.text))
    return sorted(ticks.values(), key=lambda tick: tick.is_witness), seconds


def cut(text: str, most: int) -> str:
    """At most so many characters of a text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _room(x: int, *, is_witness: bool) -> int:
    """How many characters have room beside a mark: two columns of them, or for a witness all to the right edge."""
    right = WIDTH if is_witness else min(x + 2 * COLUMN, WIDTH)
    return int((right - x - 14) / (_CHARACTER * (1.1 if is_witness else 1)))
