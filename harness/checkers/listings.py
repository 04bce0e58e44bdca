"""What REST lists of a run stands in the order in which it happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.times import moment
from harness.checkers.view import views
from harness.history import Event, History
from harness.verdict import Finding


def _in_order(history: History) -> list[Finding]:
    """An answer whose items have times, and a later one before an earlier one: steps by started_at (API-20), events of the log by
    timestamp (API-25).

    Sound because only times of one answer are compared, as the subject wrote them; items without a time that can be read are
    left out, and equal times stand in any order.
    """
    found = []
    seen = views(history)
    if not seen.plays("api"):
        return []
    for run in seen.runs.values():
        for answer, clause, field in (
            *((event, "API-20", "started_at") for event in run.rest_steps),
            *((event, "API-25", "timestamp") for event in run.rest_logs),
        ):
            later = next((two for one, two in pairwise(_times(answer, field)) if two < one), None)
            if later is not None:
                explanation = f"the {field} {later.isoformat()} is listed behind a later one of run {run.id}"
                found.append(
                    Finding("listed_in_order", clause, "listed out of order", explanation, (answer.seq,), run.id)
                )
                break
    return found


def _times(answer: Event, field: str) -> Iterable[datetime]:
    items: Any = answer["body"].get("items") if isinstance(answer["body"], Mapping) else None
    times = (moment(item.get(field)) for item in items or () if isinstance(item, Mapping))
    return [time for time in times if time is not None]


CHECKERS = (
    Checker(
        "listed_in_order",
        "REST lists the steps and the log of a run in the order in which they happened.",
        ("API-20", "API-25"),
        _in_order,
        ("rest",),
    ),
)
