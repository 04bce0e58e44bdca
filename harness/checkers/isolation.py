"""Runs do not see each other's data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.view import views
from harness.history import Event, History
from harness.verdict import Finding

_SHORTEST = 6


def _markers(history: History) -> list[Finding]:
    """Text that stands under the key `marker` in one run's input was seen in what belongs to another run.

    A scenario gives each of its runs a `marker` of its own, a text of at least six characters, anywhere in its input. It is
    looked for in the other runs' tasks, results, updates, rows and calls by the subject. Sound because a marker counts only
    when no other run's input or plan contains it, and because a run into which the harness itself brought the marker, by
    any message or act, is left out for it.
    """
    found = []
    seen = views(history)
    if len(seen.runs) < 2:
        return []
    origin = {run.id: _text([run.input, None if run.made is None else run.made["plan"]]) for run in seen.runs.values()}
    by_harness = [_text(event.data) for event in history if _is_harness(event)]
    markers: list[tuple[str, str]] = []
    for run in seen.runs.values():
        for marker in _marked(run.input):
            quoted = _text(marker)[1:-1]
            others = [text for other, text in origin.items() if other != run.id]
            if len(marker) >= _SHORTEST and not any(quoted in text for text in (*others, *by_harness)):
                markers.append((run.id, quoted))
    for event in history if markers else ():
        if event.run not in seen.runs or _is_harness(event) or event.source not in ("kafka", "database", "agent"):
            continue
        text = _text(event.data)
        owner = next((run for run, marker in markers if run != event.run and marker in text), None)
        if owner is not None:
            explanation = f"data of run {owner} were seen in what belongs to run {event.run}"
            found.append(Finding("markers", "ISO-01", "foreign data", explanation, (event.seq,), event.run))
            break
    return found


def _is_harness(event: Event) -> bool:
    return event["by"] == "harness" or event.kind == "act"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, default=str)


def _marked(value: Any) -> Iterator[str]:
    """Texts under the key `marker`, at any depth."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "marker" and isinstance(item, str):
                yield item
            else:
                yield from _marked(item)
    elif isinstance(value, list):
        for item in value:
            yield from _marked(item)


def _foreign_results(history: History) -> list[Finding]:
    """A result of the subject's bridge that names one run, for a task of another one (MSG-16).

    Sound because a task's id belongs to one run (else `shared_ids` says so), whatever the order in which messages are seen.
    """
    found = []
    seen = views(history)
    if not seen.plays("bridge"):
        return []
    owner = {task.task_id: run.id for run in seen.runs.values() for task in run.all_tasks}
    for run in seen.runs.values():
        for event in run.results:
            value = event["value"] if isinstance(event["value"], Mapping) else {}
            other = owner.get(str(value.get("task_id")), run.id)
            if event["by"] != "harness" and other != run.id:
                explanation = f"a result names run {run.id} and a task of run {other}"
                found.append(Finding("foreign_results", "MSG-16", "runs mixed up", explanation, (event.seq,), run.id))
    return found


CHECKERS = (
    Checker("markers", "No run's data appear in another run.", ("ISO-01",), _markers),
    Checker(
        "foreign_results", "No result names one run and the task of another.", ("MSG-16",), _foreign_results, ("kafka",)
    ),
)
