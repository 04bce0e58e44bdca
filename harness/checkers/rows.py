"""What the row of a run says of where it comes from and of who ended it, and what it leaves open."""

from __future__ import annotations

from collections.abc import Mapping

from harness.checkers.checker import Checker
from harness.checkers.view import RunView, views
from harness.history import Event, History
from harness.oracle.values import same
from harness.verdict import Finding

_OPEN = ("PENDING", "RUNNING")


def _own_rows(history: History) -> list[Finding]:
    """A row that the executor wrote itself, without the plan's workflow_id or name, or with another input (CMP-13).

    Sound because a run that was asked for by one message alone has nobody else to write its row. A column that the row does not
    have at all is not missed, and a run whose plan is not valid is left out.
    """
    found = []
    for run, _ in views(history).of_plans():
        if run.made is None or run.made["via"] != "message" or run.last is None:
            continue
        if sum(event["by"] == "harness" for event in run.requests) != 1:
            continue
        row, plan = run.last.row, run.made["plan"]
        wanted = {"workflow_id": plan.get("workflow_id"), "workflow_name": plan.get("name"), "input_data": run.input}
        for column, value in wanted.items():
            if column in row and not same(row[column], value):
                explanation = f"the row of run {run.id} has the {column} {row[column]!r:.200}, expected {value!r:.200}"
                found.append(Finding("own_rows", "CMP-13", "row not of the request", explanation, run.seqs, run.id))
                break
    return found


def _cancellers(history: History) -> list[Finding]:
    """A CANCELLED run whose cancelled_by became another (CAN-06).

    Sound because what a cancellation says of who asked for it is told once: of two reads of CANCELLED, one certainly before the
    other, both name somebody, and not the same. Runs that may have been retried are left out.
    """
    found = []
    for run in views(history).runs.values():
        named = [read for read in run.reads if read.status == "CANCELLED" and read.row.get("cancelled_by")]
        if run.is_retried or not named:
            continue
        first = named[0]
        for read in named[1:]:
            if read.row["cancelled_by"] != first.row["cancelled_by"] and first.is_before(read):
                by, then = first.row["cancelled_by"], read.row["cancelled_by"]
                explanation = f"run {run.id} was cancelled by {by!r}, and later by {then!r}"
                found.append(
                    Finding("cancellers", "CAN-06", "cancelled twice", explanation, (first.seq, read.seq), run.id)
                )
                break
    return found


def _open_steps(history: History) -> list[Finding]:
    """A step that is still open in a run that ended CANCELLED (CAN-08).

    Judged at the end of a history that was read to the end, and only when the executor has committed the offsets of all of the
    run's cancellations, so that it has done what it does about them.
    """
    found = []
    seen = views(history)
    if not seen.is_drained:
        return []
    for run, plan in seen.of_plans():
        if run.final != "CANCELLED" or not run.is_complete or not run.cancellations or not _are_committed(run):
            continue
        row = next(
            (row for row in run.rows if row.step in plan.agents and row.latest.get("status") in _OPEN),
            None,
        )
        if row is not None:
            explanation = f"run {run.id} is CANCELLED, and its step {row.step} is {row.latest.get('status')}"
            found.append(
                Finding("open_steps", "CAN-08", "step left open", explanation, (row.last_seq, *run.seqs), run.id)
            )
    return found


def _are_committed(run: RunView) -> bool:
    committed: dict[int, int] = {}
    for event in run.history.of("committed"):
        if event["topic"] == "cancellations":
            partition = int(event["partition"])
            committed[partition] = max(committed.get(partition, 0), int(event["offset"]))
    return all(_is_behind(event, committed) for event in run.cancellations)


def _is_behind(event: Event, committed: Mapping[int, int]) -> bool:
    return bool(committed.get(event["partition"], 0) > event["offset"])


CHECKERS = (
    Checker(
        "own_rows",
        "The row of a run that was asked for by a message alone has what the message says.",
        ("CMP-13",),
        _own_rows,
        ("database",),
    ),
    Checker("cancellers", "A run is cancelled once, by one.", ("CAN-06",), _cancellers, ("database",)),
    Checker("open_steps", "No step of a cancelled run stays open.", ("CAN-08",), _open_steps, ("database", "kafka")),
)
