"""What the subject publishes fits the contract's schemas; what is not valid touches nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.schemas import first_mistake, fits
from harness.checkers.view import views
from harness.history import Event, History
from harness.verdict import Finding

_SCHEMAS = {
    "requests": "execution_request",
    "cancellations": "cancellation_request",
    "tasks": "agent_task",
    "results": "agent_result",
    "updates": "monitoring_update",
}
_ROLES = {"requests": "api", "cancellations": "api", "tasks": "consumer", "results": "bridge", "updates": "consumer"}
_UTC = re.compile(r".+(Z|z|[+-]00:00)$")
_LONGEST = 100_000


def is_valid(topic: str, value: Any) -> bool:
    """Whether a value is valid against its topic's schema; the format of times is judged apart."""
    return isinstance(value, Mapping) and fits(_SCHEMAS[topic], value)


def _of_subject(history: History) -> Iterator[Event]:
    seen = views(history)
    for event in history.of("message"):
        topic = event["topic"]
        if event["by"] == "subject" and topic in _ROLES and seen.plays(_ROLES[topic]):
            yield event


def _published(history: History) -> list[Finding]:
    """A message of the subject's that is no object or not valid (MSG-05), has another key than its run_id (MSG-02), or a time
    that is not UTC (MSG-07).

    Sound because it looks at one message that the harness did not publish, of a role that the subject has.
    """
    found = []
    for event in _of_subject(history):
        topic, value = event["topic"], event["value"]
        if not is_valid(topic, value):
            why = "is no JSON object"
            if isinstance(value, Mapping):
                why = str(first_mistake(_SCHEMAS[topic], value))[:200]
            explanation = f"a message on {topic} is not valid: {why}"
            found.append(Finding("published", "MSG-05", "message not valid", explanation, (event.seq,), event.run))
            continue
        if topic != "results" and event["key"] != value.get("run_id"):
            explanation = f"a message on {topic} has the key {event['key']!r}, not its run_id {value.get('run_id')!r}"
            found.append(Finding("published", "MSG-02", "wrong key", explanation, (event.seq,), event.run))
        if not _UTC.match(str(value.get("timestamp"))):
            explanation = f"a message on {topic} has the time {value.get('timestamp')!r}, which is not marked as UTC"
            found.append(Finding("published", "MSG-07", "time not in UTC", explanation, (event.seq,), event.run))
    return found[:20]


def _correlation(history: History) -> list[Finding]:
    """Two tasks of one run with different correlation ids (MSG-15).

    Sound in any order and whatever died, since the id is the run's and never changes; all copies of the subject's tasks are
    looked at, and the harness's own are left out.
    """
    found = []
    for run in views(history).runs.values():
        ids: dict[str, Event] = {}
        for task in run.tasks:
            for message in task.messages:
                ids.setdefault(repr(message["value"].get("correlation_id")), message)
        if len(ids) > 1:
            explanation = f"tasks of run {run.id} have the correlation ids {', '.join(list(ids)[:3])}"
            events = tuple(event.seq for event in list(ids.values())[:2])
            found.append(Finding("correlation", "MSG-15", "correlation ids differ", explanation, events, run.id))
    return found


def _set_aside(history: History) -> list[Finding]:
    """A message that is valid was set aside (DEL-14: never for a fault of the database or of Kafka).

    Dead letters are an extension: none is missed. Sound because the value is judged by the contract's own schema, and what an
    executor may refuse beyond it is left out: depth, size, characters that databases do not hold, and execution requests,
    whose plans have further rules.
    """
    found = []
    for event in history.of("message"):
        if event["topic"] != "dead_letters" or event["by"] == "harness":
            continue
        topic, value = event["from_topic"], event["value"]
        if topic in _SCHEMAS and topic != "requests" and is_valid(topic, value) and _is_harmless(value):
            explanation = f"a valid message on {topic} was set aside"
            found.append(
                Finding("set_aside", "DEL-14", "valid message set aside", explanation, (event.seq,), event.run)
            )
    return found[:20]


def _is_harmless(value: Any) -> bool:
    text = repr(value)
    times = value.get("timestamp")
    return (
        len(text) < _LONGEST and _depth(value) < 50 and "\\x00" not in text and "\\ud" not in text and _is_time(times)
    )


def _is_time(value: Any) -> bool:
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", str(value)))


def _depth(value: Any, deepest: int = 60) -> int:
    if deepest == 0 or not isinstance(value, dict | list):
        return 0
    items = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(item, deepest - 1) for item in items), default=0)


def _bad_requests(history: History) -> list[Finding]:
    """An execution request whose envelope is not valid made a row (DEL-11).

    Sound because a request is accused only when the harness published it, it names a run that no valid request names, that the
    harness did not make otherwise, and whose row was seen.
    """
    found = []
    rows = {event["row"].get("run_id"): event for event in history.of("run_row") if event["row"] is not None}
    good = {e["value"].get("run_id") for e in history.messages("requests") if is_valid("requests", e["value"])}
    for event in history.messages("requests", by="harness"):
        value = event["value"]
        if not isinstance(value, Mapping) or is_valid("requests", value) or value.get("run_id") in good:
            continue
        # A plan that alone is not valid ends its run FAILED, so its row is right.
        envelope = {**value, "workflow_plan": _PLAN}
        row = rows.get(value.get("run_id"))
        made = history.runs.get(str(value.get("run_id")))
        if row is not None and not is_valid("requests", envelope) and (made is None or made["via"] == "message"):
            explanation = "an execution request whose envelope is not valid made a row of its run"
            found.append(
                Finding("bad_requests", "DEL-11", "bad request applied", explanation, (event.seq, row.seq), event.run)
            )
    return found


_PLAN: Mapping[str, Any] = {
    "workflow_id": "wf-any-1",
    "name": "any",
    "version": "1",
    "start_step": "a",
    "steps": {"a": {"id": "a", "agent_name": "any"}},
}

CHECKERS = (
    Checker(
        "published",
        "Every published message is valid, keyed by its run, and in UTC.",
        ("MSG-02", "MSG-05", "MSG-07"),
        _published,
        ("kafka",),
    ),
    Checker("correlation", "All tasks of a run carry one correlation id.", ("MSG-15",), _correlation, ("kafka",)),
    Checker("set_aside", "No valid message is set aside.", ("DEL-14",), _set_aside, ("kafka",)),
    Checker(
        "bad_requests",
        "A request whose envelope is not valid touches no row.",
        ("DEL-11",),
        _bad_requests,
        ("kafka", "database"),
    ),
)
