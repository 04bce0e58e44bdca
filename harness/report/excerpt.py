"""From a kept history to what a report shows of it: which events, and how many."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from harness.history import Event, History, HistoryError, read_history
from harness.history.file import encode
from harness.report.model import Excerpt, Told
from harness.report.wording import Wording, lane
from harness.verdict import Finding, Outcome

MOST_EVENTS: Final = 2_000
"""The most events that a report holds of one history."""

MOST_RELEVANT: Final = 150
"""The most events that are shown without being asked for."""

_MOST_RELEVANT_WHEN_FULL: Final = 60
_MOST_CHARACTERS: Final = 2_000
_MOST_CHARACTERS_WHEN_FULL: Final = 600
_MOST_OF_WITNESS: Final = 20_000
_MOST_BYTES: Final = 100_000_000
_BUDGET: Final = 8_000_000
"""Characters of events in one report; of histories beyond it, only what is most relevant is taken, and cut shorter. It keeps
the page of an executor that fails all of a large suite at some tens of megabytes."""


class Excerpts:
    """Makes excerpts for one report, whose size they share."""

    def __init__(self, budget: int = _BUDGET) -> None:
        self._left = budget

    def of(self, outcome: Outcome) -> Excerpt | None:
        """What to show of an outcome's history; None when none was kept."""
        if outcome.history is None:
            return None
        try:
            if outcome.history.stat().st_size > _MOST_BYTES:
                return Excerpt(
                    (), 0, f"The history is larger than {_MOST_BYTES // 1_000_000} MB: see {outcome.history}."
                )
            history = read_history(outcome.history)
        except (OSError, HistoryError, UnicodeDecodeError) as error:
            return Excerpt((), 0, f"The history cannot be read: {error}.")
        made = excerpt(
            history, outcome.findings, outcome.history, is_full=self._left <= 0 or outcome.verdict == "passed"
        )
        self._left -= sum(len(event.detail) for event in made.events)
        return made


def excerpt(history: History, findings: Sequence[Finding], path: Path, *, is_full: bool = False) -> Excerpt:
    """At most `MOST_EVENTS` events of a history, those that findings name before all others; at most `MOST_RELEVANT` of them
    are marked as relevant. When the report `is_full`, only fewer of those, cut shorter."""
    witnesses = witnesses_of(history, findings)
    most = _MOST_RELEVANT_WHEN_FULL if is_full else MOST_RELEVANT
    relevant = _nearest(_relevant(history, findings, witnesses), witnesses, most)
    everything = [event.seq for event in history]
    taken = relevant if is_full else _nearest(everything, relevant, MOST_EVENTS) | relevant
    wording = Wording(history)
    told = tuple(
        _told(event, wording, event.seq in relevant, _length(event.seq in witnesses, is_full))
        for event in history
        if event.seq in taken
    )
    note = None
    if len(told) < len(history):
        which = "those nearest to the findings" if witnesses else "those that tell most"
        note = f"{len(told):,} of {len(history):,} events are here, {which}; all are in {path}."
    return Excerpt(told, len(history), note, wording.runs)


def witnesses_of(history: History, findings: Iterable[Finding]) -> frozenset[int]:
    """The events that findings name and that the history has."""
    return frozenset(seq for finding in findings for seq in finding.events if 0 <= seq < len(history))


def _relevant(history: History, findings: Sequence[Finding], witnesses: frozenset[int]) -> list[int]:
    """What explains the findings: they themselves, what they refer to, what the scenario did, what befell processes, and
    what happened to the runs that they are about (to all runs when they name none)."""
    runs = {finding.run for finding in findings} | {history.events[seq].run for seq in witnesses}
    runs.discard(None)
    context = {history.events[seq]["because"] for seq in witnesses if history.events[seq].kind == "snapshot"}
    asked = {event["request"]: event.seq for event in history.of("request")}
    context |= {asked.get(history.events[seq]["request"]) for seq in witnesses if history.events[seq].source == "rest"}
    return [
        event.seq for event in history if event.seq in witnesses or event.seq in context or _is_telling(event, runs)
    ]


def _is_telling(event: Event, runs: set[str | None]) -> bool:
    if event.kind in ("act", "run", "gap", "gap_ended", "fault", "end") or event.source == "process":
        return True
    if event.kind == "expectation":
        return True
    if event.kind in ("begin", "agent", "committed", "snapshot"):
        return False
    if runs and event.run not in runs:
        return False
    # Rows and GETs that only read tell nothing of their own; what they showed stands in the findings.
    return event.source != "rest" or (event.run is not None and event["method"] not in (None, "GET"))


def _nearest(among: Iterable[int], to: frozenset[int], most: int) -> frozenset[int]:
    """The `most` numbers that are nearest to one of the others; the first ones and the last ones when there is none."""
    among = sorted(among)
    if len(among) <= most:
        return frozenset(among)
    if not to:
        return frozenset((*among[: most // 2], *among[-(most - most // 2) :]))
    marks = sorted(to)

    def distance(number: int) -> int:
        index = bisect.bisect_left(marks, number)
        return min(abs(number - mark) for mark in marks[max(index - 1, 0) : index + 1])

    return frozenset(sorted(among, key=lambda number: (distance(number), number))[:most])


def _length(is_witness: bool, is_full: bool) -> int:
    if is_witness:
        return _MOST_CHARACTERS if is_full else _MOST_OF_WITNESS
    return _MOST_CHARACTERS_WHEN_FULL if is_full else _MOST_CHARACTERS


def _told(event: Event, wording: Wording, is_relevant: bool, most: int) -> Told:
    detail = encode(event)
    if len(detail) > most:
        detail = f"{detail[:most]}… ({len(detail) - most} more characters in the history's file)"
    return Told(event.seq, event.at, lane(event), wording(event), detail, is_relevant)
