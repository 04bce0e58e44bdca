"""Steps run in their order: along the chain, in a branch, in a loop's body."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from harness.checkers.checker import Checker
from harness.checkers.oracle.of_run import oracle, steps_of
from harness.checkers.view import views
from harness.history import History
from harness.oracle.plan import Plan
from harness.verdict import Finding


def _pairs(plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    """(step, the one behind it, clause when it runs too early, clause when it runs after a failure)."""
    for one, two in pairwise(plan.chain):
        yield one, two, "CMP-03", "FAI-04"
    for parent in plan.steps:
        if plan.kind(parent) in ("loop", "fork_join"):
            early, failed = ("LOP-02", "LOP-03") if plan.kind(parent) == "loop" else ("FJN-02", "FJN-02")
            for _, steps in plan.children(parent):
                for one, two in pairwise(steps):
                    yield one, two, early, failed


def _after_failed(history: History) -> list[Finding]:
    """A step ran though the one before it FAILED.

    Sound because a FAILED row does not change without a retry, and runs that may have been retried are left out. Only agent steps
    outside of loops are judged, which have one row; the later step, or any agent step in it, ran when it has a row that began,
    or a task that can be no other step's.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.is_retried:
            continue
        certain = {steps[0] for task in run.tasks if len(steps := steps_of(run, plan, task)) == 1}
        for one, two, _, clause in _pairs(plan):
            if plan.kind(one) != "agent" or plan.loops_around(one):
                continue
            failed = [row for row in run.rows_of(one) if row.latest.get("status") == "FAILED"]
            if not failed or any(row.first_seen("COMPLETED") is not None for row in run.rows_of(one)):
                continue
            ran = [row for leaf in plan.leaves(two) for row in run.rows_of(leaf) if _began(row.latest.get("status"))]
            if ran or any(leaf in certain for leaf in plan.leaves(two)):
                explanation = f"step {one} FAILED, and step {two}, which follows it, ran"
                events = (failed[0].last_seq, *(row.last_seq for row in ran[:1]))
                found.append(Finding("after_failed", clause, "step after a failure", explanation, events, run.id))
    return found


def _too_early(history: History) -> list[Finding]:
    """A snapshot in which a step has begun while the one before it is still RUNNING.

    Sound because a snapshot is one moment of the database. In a loop's body, where rows of iterations cannot be told apart, more
    rows of the later step than COMPLETED rows of the earlier one prove it. Runs that may have been retried are left out.
    """
    found = []
    for run, plan in views(history).of_plans():
        pairs = [] if run.is_retried else list(_pairs(plan))
        for one, two, clause, _ in pairs:
            leaves, later_leaves = set(plan.leaves(one)), set(plan.leaves(two))
            in_loop = bool(plan.loops_around(one))
            if in_loop and (plan.kind(one) != "agent" or plan.kind(two) != "agent"):
                continue
            for snapshot in run.snapshots:
                rows = snapshot["step_rows"] or ()
                before = [row for row in rows if row.get("step_id") in leaves]
                after = [row for row in rows if row.get("step_id") in later_leaves and _began(row.get("status"))]
                if in_loop:
                    is_early = len(after) > sum(row.get("status") == "COMPLETED" for row in before)
                else:
                    is_early = bool(after) and any(row.get("status") == "RUNNING" for row in before)
                if is_early:
                    explanation = f"step {two} had begun while step {one}, which is before it, was still at work"
                    events = (snapshot["because"], snapshot.seq)
                    found.append(Finding("too_early", clause, "step too early", explanation, events, run.id))
                    break
    return found


def _completed_means_all(history: History) -> list[Finding]:
    """A run is COMPLETED, and a step of its chain never was.

    Judged when all of the run's rows are known. A composite's end is recomputed from its parts; one that the oracle cannot
    recompute is left out. After a retry, an end at any time counts.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.final != "COMPLETED" or not run.is_complete:
            continue
        for step in plan.chain:
            ends = oracle(run, plan).endings(step, ())
            has_row = any(row.first_seen("COMPLETED") is not None for row in run.rows_of(step))
            if has_row or ends is None or any(end.status == "COMPLETED" for end in ends):
                continue
            failed = [
                row for leaf in plan.leaves(step) for row in run.rows_of(leaf) if row.latest.get("status") == "FAILED"
            ]
            clause, what = ("FAI-01", "FAILED") if failed else ("CMP-02", "never COMPLETED")
            explanation = f"run {run.id} is COMPLETED, and its step {step} {'has ' if failed else 'was '}{what}"
            events = (*run.seqs, *(row.last_seq for row in failed[:1]))
            found.append(
                Finding("completed_means_all", clause, "COMPLETED without its steps", explanation, events, run.id)
            )
            break
    return found


def _began(status: object) -> bool:
    return status in ("RUNNING", "COMPLETED")


CHECKERS = (
    Checker(
        "after_failed",
        "Nothing that follows a FAILED step runs.",
        ("FAI-04", "LOP-03", "FJN-02"),
        _after_failed,
        ("database",),
    ),
    Checker(
        "too_early",
        "A step begins only when the one before it has ended.",
        ("CMP-03", "LOP-02", "FJN-02"),
        _too_early,
        ("database",),
    ),
    Checker(
        "completed_means_all",
        "A COMPLETED run has completed every step of its chain.",
        ("CMP-02", "FAI-01"),
        _completed_means_all,
        ("database",),
    ),
)
