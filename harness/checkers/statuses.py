"""Status moves only as the contract allows, for every reader, and a terminal status is final."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from harness.checkers.checker import Checker
from harness.checkers.view import ENDED, TERMINAL, Read, RunView, views
from harness.history import History
from harness.verdict import Finding

STATUSES = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
_AHEAD: Mapping[str, frozenset[str]] = {
    "PENDING": frozenset(STATUSES),
    "RUNNING": frozenset(STATUSES[1:]),
    "COMPLETED": frozenset(("COMPLETED",)),
    "FAILED": frozenset(("FAILED",)),
    "CANCELLED": frozenset(("CANCELLED",)),
}
"""What may be read after each status without a retry; what lies between may go unseen."""

_STEP_STATUSES = frozenset(("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "SKIPPED"))


def _run_statuses(history: History) -> list[Finding]:
    """Two reads of a run, one certainly before the other, whose statuses no way of TBL-03 connects.

    Sound because only reads are compared of which one had ended before the other began (`Read.is_before`): rows of one
    poller, snapshots, and REST answers by the time between request and answer. Statuses in between may go unseen, so any
    number of steps along the allowed ways is allowed. Where a retry may have been accepted, by whatever way, only what a
    retry cannot explain is accused: leaving COMPLETED, and more ways back than there were retries.
    """
    found = []
    for run in views(history).runs.values():
        unknown = next((read for read in run.reads if read.status not in STATUSES), None)
        if unknown is not None:
            explanation = f"run {run.id} has the status {unknown.status!r}, which runs do not have"
            found.append(Finding("run_statuses", "TBL-02", "unknown status", explanation, (unknown.seq,), run.id))
            continue
        undone = _undone(run)
        if undone is not None:
            found.append(_of_pair(run, *undone))
        elif run.is_retried:
            found += _too_many_ways_back(run)
        found += _vanished(history, run)
    return found


def _undone(run: RunView) -> tuple[Read, Read] | None:
    """A pair of reads in order that the allowed ways do not connect.

    Of each status the read that ended first and those of another that began last decide whether there is a pair.
    """
    first: dict[tuple[str, str], Read] = {}
    for read in run.reads:
        first.setdefault((read.status, read.reader), read)
    for read in run.reads:
        for (status, _), earlier in first.items():
            if read.status in _AHEAD[status] or not earlier.is_before(read):
                continue
            if run.is_retried and status != "COMPLETED":
                continue
            return earlier, read
    return None


def _of_pair(run: RunView, earlier: Read, later: Read) -> Finding:
    by_rest = "rest" in (earlier.reader, later.reader)
    was_running = any(read.status == "RUNNING" and read.is_before(earlier) for read in run.reads)
    match (earlier.status, later.status):
        case _ if by_rest:
            clause = "OBS-05"
        case ("CANCELLED", _):
            clause = "CAN-01" if was_running else "CAN-07"
        case (_, "CANCELLED"):
            clause = "CAN-06"
        case _:
            clause = "TBL-03"
    anomaly = "terminal status overwritten" if earlier.status in TERMINAL else "status moved back"
    explanation = (
        f"run {run.id} was read {earlier.status} and later {later.status}, without a retry between that explains it"
    )
    return Finding("run_statuses", clause, anomaly, explanation, (earlier.seq, later.seq), run.id)


def _too_many_ways_back(run: RunView) -> list[Finding]:
    rows = [read for read in run.reads if read.reader == "poll"]
    back = [(one, two) for one, two in pairwise(rows) if two.status not in _AHEAD[one.status]]
    # An act and a request can tell of one retry, so that this count is never too low.
    if len(back) <= len(run.retry_asks):
        return []
    one, two = back[-1]
    explanation = f"run {run.id} left an end {len(back)} times, and only {len(run.retry_asks)} retries were asked for"
    return [Finding("run_statuses", "TBL-03", "revived run", explanation, (one.seq, two.seq), run.id)]


def _vanished(history: History, run: RunView) -> list[Finding]:
    for event in history.of("run_row", run.id):
        if event["row"] is None and any(read.seq < event.seq for read in run.reads):
            explanation = f"the row of run {run.id} was there and is gone"
            return [Finding("run_statuses", "OBS-05", "vanished run", explanation, (event.seq,), run.id)]
    return []


def _step_statuses(history: History) -> list[Finding]:
    """A step's row leaves an end, or has a status that steps do not have.

    Sound because rows are compared by their id, in the order of the reads of one poller, or of snapshots that began after
    the message that they name; and only in runs that nobody asked to retry, where no row is taken up anew.
    """
    found = []
    seen = views(history)
    if not seen.plays("consumer"):
        return []
    for run in seen.runs.values():
        polled: dict[object, tuple[str, int]] = {}
        for event in history.of("step_row", run.id):
            row = event["row"]
            if row is None:
                continue
            status = str(row.get("status"))
            if status not in _STEP_STATUSES:
                explanation = f"step {row.get('step_id')} has the status {status!r}, which steps do not have"
                found.append(Finding("step_statuses", "TBL-04", "unknown status", explanation, (event.seq,), run.id))
            before, seq = polled.get(row.get("id"), ("", 0))
            if before in ENDED and status != before and not run.is_retried:
                clause = "CAN-03" if before == "CANCELLED" else "OBS-05"
                explanation = f"the row of step {row.get('step_id')} was {before} and became {status} without a retry"
                found.append(
                    Finding("step_statuses", clause, "ended step changed", explanation, (seq, event.seq), run.id)
                )
            polled[row.get("id")] = (status, event.seq)
    return found


def _row_agents(history: History) -> list[Finding]:
    """The row of an agent step names another agent than the run's plan, or none.

    Sound because a run keeps the plan that it began with, so that whenever such a row is seen its step has this one agent.
    """
    found = []
    for run, plan in views(history).of_plans():
        for row in run.rows:
            if row.step not in plan.agents:
                continue
            named, meant = row.latest.get("agent_name"), plan.steps[row.step].get("agent_name")
            if named == meant:
                continue
            explanation = f"the row of step {row.step} names the agent {named!r}, and the plan of its run {meant!r}"
            found.append(Finding("row_agents", "TBL-04", "wrong agent", explanation, (row.last_seq,), run.id))
    return found


def _run_updates(history: History) -> list[Finding]:
    """Updates of the run itself (an extension) that contradict one another: a terminal one, then one of another status.

    Sound because only updates of one partition are compared, by their offsets, first copies only, in runs that nobody asked to
    retry. An update of a run that is not sent at all is not missed.
    """
    found = []
    for run in views(history).runs.values():
        if run.is_retried:
            continue
        ended: dict[object, tuple[str, int]] = {}
        seen_values: set[str] = set()
        for event in sorted(run.updates, key=lambda event: (event["partition"] or 0, event["offset"] or 0)):
            value = event["value"] if isinstance(event["value"], Mapping) else {}
            if event["by"] == "harness" or value.get("step_id") != run.id or repr(value) in seen_values:
                continue
            seen_values.add(repr(value))
            status = str(value.get("status"))
            before = ended.get(event["partition"])
            if before is not None and status != before[0]:
                explanation = f"an update says that run {run.id} is {before[0]}, and a later one that it is {status}"
                found.append(
                    Finding("run_updates", "OBS-05", "end undone", explanation, (before[1], event.seq), run.id)
                )
                break
            if status in TERMINAL:
                ended[event["partition"]] = (status, event.seq)
    return found


def _accepted_cancellations(history: History) -> list[Finding]:
    """A cancellation that REST accepted, and a run that is read in another status after it.

    Sound because API-21 promises the status to whoever reads after the answer, and only reads count that began after it;
    a run that may have been retried is left out.
    """
    found = []
    seen = views(history)
    if not seen.plays("api"):
        return []
    for run in seen.runs.values():
        if run.is_retried:
            continue
        for ask in run.cancel_asks:
            answer = seen.answers.get(ask["request"]) if ask.kind == "request" else None
            if answer is None or not 200 <= int(answer["status"] or 0) < 300:
                continue
            accepted = Read({"status": "CANCELLED"}, "rest", answer.seq, answer.at, ask.seq, ask.at)
            later = next((r for r in run.reads if r.status != "CANCELLED" and accepted.is_before(r)), None)
            if later is not None:
                explanation = (
                    f"the cancellation of run {run.id} was accepted, and the run was read {later.status} after it"
                )
                found.append(
                    Finding(
                        "accepted_cancellations",
                        "CAN-01",
                        "cancellation lost",
                        explanation,
                        (answer.seq, later.seq),
                        run.id,
                    )
                )
    return found


CHECKERS = (
    Checker(
        "run_statuses",
        "The status of a run moves only as the contract allows, in rows, snapshots and REST answers; a terminal one is final.",
        ("TBL-02", "TBL-03", "CAN-01", "CAN-06", "CAN-07", "OBS-05"),
        _run_statuses,
        ("database",),
    ),
    Checker(
        "step_statuses",
        "A step's row has a status that steps have, and does not leave its end without a retry.",
        ("TBL-04", "CAN-03", "OBS-05"),
        _step_statuses,
        ("database",),
    ),
    Checker(
        "row_agents",
        "The row of every agent step names its agent.",
        ("TBL-04",),
        _row_agents,
        ("database",),
    ),
    Checker(
        "run_updates",
        "Updates about the run itself do not take its end back.",
        ("OBS-05",),
        _run_updates,
        ("kafka",),
    ),
    Checker(
        "accepted_cancellations",
        "A run whose cancellation was accepted over REST is CANCELLED for every later reader.",
        ("CAN-01",),
        _accepted_cancellations,
        ("rest", "database"),
    ),
)
