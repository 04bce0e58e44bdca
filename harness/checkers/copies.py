"""Updates that were published again: equal to the first, or taken for new transitions by whoever reads them."""

from __future__ import annotations

from collections.abc import Mapping

from harness.checkers.checker import Checker
from harness.checkers.view import views
from harness.history import Event, History
from harness.oracle.values import canonical
from harness.verdict import Finding

_TOLD = ("RUNNING", "COMPLETED", "FAILED")


def _copies(history: History) -> list[Finding]:
    """Two updates of one transition that differ (OBS-06).

    Judged for agent steps outside of loops, in runs that may not have been retried: each of their transitions happens once,
    so that two updates of one status are copies, whatever else they say. Work that is dispatched again after a death is no
    further transition, and keeps its RUNNING.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.is_retried:
            continue
        first: dict[tuple[str, str], Event] = {}
        for event in sorted(run.updates, key=lambda event: (event["partition"] or 0, event["offset"] or 0)):
            value = event["value"] if isinstance(event["value"], Mapping) else {}
            step, status = str(value.get("step_id")), str(value.get("status"))
            if event["by"] == "harness" or step not in plan.agents or status not in _TOLD or plan.loops_around(step):
                continue
            before = first.setdefault((step, status), event)
            if canonical(before["value"]) != canonical(value):
                names = [name for name in {**before["value"], **value} if before["value"].get(name) != value.get(name)]
                explanation = f"step {step} was told {status} twice, with different {', '.join(map(str, names))}"
                events = (before.seq, event.seq)
                found.append(Finding("equal_copies", "OBS-06", "unequal copies", explanation, events, run.id))
                break
    return found


CHECKERS = (
    Checker("equal_copies", "An update that is told again is equal to the first.", ("OBS-06",), _copies, ("kafka",)),
)
