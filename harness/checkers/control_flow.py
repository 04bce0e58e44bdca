"""Composite steps: which branch is taken, how policies judge, what comes out, and when a composite may end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.oracle.of_run import oracle, steps_of
from harness.checkers.view import RunView, views
from harness.history import History
from harness.oracle.composites import Ended
from harness.oracle.plan import Plan
from harness.oracle.values import canonical, same
from harness.verdict import Finding

_POLICIES = {"all": "FJN-05", "any": "FJN-06", "majority": "FJN-07", "n_of_m": "FJN-08"}
_OPEN_SHAPES = (
    frozenset({"condition_result", "branch_taken", "branch_step_id", "branch_output"}),
    frozenset({"iterations", "total_count", "failed_count"}),
    frozenset({"step_id", "status", "output_data"}),
)
_ERRORS = {"stop": "LOP-10", "continue": "LOP-11", "collect": "LOP-12"}
_ENDS_FIRST = {"parallel": "PAR-05", "fork_join": "FJN-04", "loop": "LOP-10", "conditional": "CON-04"}


def _policy_clause(plan: Plan, step: str) -> str:
    """The clause that says how this composite ends."""
    data = plan.steps[step]
    match plan.kind(step):
        case "parallel":
            return "PAR-05"
        case "conditional":
            return "CON-05"
        case "loop":
            return _ERRORS[data["loop_config"].get("on_error") or "stop"]
        case _:
            return _POLICIES.get(str(data["fork_join_config"].get("join_policy")), "FJN-05")


def _branches(history: History) -> list[Finding]:
    """A step of the branch that is not taken ran.

    The condition is evaluated by the oracle from the recorded outputs; when they allow both truths, or the expression is not
    one that it reads, nothing is said. Only conditionals outside of loops are judged; a step ran when it has a row that
    began, or a task that can be no other step's.
    """
    found = []
    for run, plan in views(history).of_plans():
        certain = {steps[0]: task for task in run.tasks if len(steps := steps_of(run, plan, task)) == 1}
        for step in plan.steps:
            if plan.kind(step) != "conditional" or plan.loops_around(step):
                continue
            truths = oracle(run, plan).truths(step, ())
            if truths is None or len({truth for truth, _ in truths}) != 1:
                continue
            truth, was_evaluated = next(iter(truths))
            other = plan.steps[step].get("if_false_step" if truth else "if_true_step")
            for leaf in plan.leaves(other) if other is not None else ():
                rows = [row for row in run.rows_of(leaf) if row.latest.get("status") in ("RUNNING", "COMPLETED")]
                if not rows and leaf not in certain:
                    continue
                clause = "CON-01" if was_evaluated else "CND-08"
                why = "is" if was_evaluated else "cannot be evaluated, so it is"
                explanation = (
                    f"the condition of {step} {why} {str(truth).lower()}, and step {leaf} of the other branch ran"
                )
                events = (rows[0].last_seq,) if rows else (certain[leaf].first.seq,)
                found.append(Finding("branches", clause, "wrong branch", explanation, events, run.id))
                break
    return found


def _composite_rows(history: History) -> list[Finding]:
    """A composite's row has another end or another output than its parts give.

    Rows of composites are a SHOULD: one that is not there is not missed. Judged in runs whose rows are all known and that
    nobody asked to retry, for composites outside of loops; what the oracle cannot recompute is left out. Objects
    that the contract shapes may have further fields (conditional, loop); the keys of the others are exact.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.is_retried or not run.is_complete:
            continue
        for row in run.rows:
            step, status = row.step, row.latest.get("status")
            if step not in plan.steps or plan.kind(step) == "agent" or plan.loops_around(step):
                continue
            ends = oracle(run, plan).endings(step, ())
            if not ends or status not in ("COMPLETED", "FAILED"):
                continue
            alike = [end for end in ends if end.status == status]
            output = row.latest.get("output_data")
            if not alike:
                # A time-out of a branch ends all that is open in it, whatever its parts came to (FJN-10).
                if status == "FAILED" and (plan.may_time_out(step) or not _inputs_are_sound(run, plan, step)):
                    continue
                explanation = f"step {step} is {status}, and by its parts it is {ends[0].status}"
                clause, anomaly = _policy_clause(plan, step), "policy not kept"
            elif status == "COMPLETED" and not any(_fits(plan, step, end.output, output) for end in alike):
                clause = _output_clause(plan, step, alike, output)
                explanation = (
                    f"step {step} has the output {_shown(output)}; by its parts it is {_shown(alike[0].output)}"
                )
                anomaly = "wrong output"
            else:
                continue
            found.append(Finding("composite_rows", clause, anomaly, explanation, (row.last_seq,), run.id))
    return found


def _fits(plan: Plan, step: str, expected: Any, output: Any) -> bool:
    if plan.kind(step) in ("parallel", "fork_join") and isinstance(expected, Mapping) and isinstance(output, Mapping):
        return expected.keys() == output.keys() and all(_holds(value, output[name]) for name, value in expected.items())
    return _holds(expected, output)


def _holds(expected: Any, found: Any) -> bool:
    """Whether a value is what was expected. What has the shape of a conditional's or a loop's output, at any depth, may
    have further fields, as have the entries of a loop that collects errors."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        is_shaped = any(shape <= expected.keys() for shape in _OPEN_SHAPES)
        if not is_shaped and expected.keys() != found.keys():
            return False
        return all(name in found and _holds(value, found[name]) for name, value in expected.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_holds, expected, found))
    return same(expected, found)


def _output_clause(plan: Plan, step: str, ends: list[Ended], output: Any) -> str:
    """The clause that the difference is about."""
    expected = ends[0].output
    match plan.kind(step):
        case "parallel":
            return "PAR-01"
        case "fork_join":
            return "FJN-03"
        case "conditional":
            same_branch = isinstance(output, Mapping) and output.get("branch_taken") == expected["branch_taken"]
            return "CON-02" if same_branch else "CON-01"
    if not isinstance(output, Mapping) or not isinstance(output.get("iterations"), list):
        return "LOP-06"
    entries = [canonical(_three(entry)) for entry in output["iterations"]]
    wanted = [canonical(entry) for entry in expected["iterations"]]
    if entries == wanted:
        return "LOP-08"
    if len(entries) != len(wanted):
        return "LOP-09" if plan.steps[step]["loop_config"].get("max_iterations") else "LOP-01"
    return "LOP-07" if sorted(entries) == sorted(wanted) else "LOP-06"


def _three(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    return {name: entry.get(name) for name in ("step_id", "status", "output_data")}


def _collected(history: History) -> list[Finding]:
    """Under on_error collect, a failed entry in the loop's row without an error_message (LOP-12).

    Sound because only a COMPLETED row of the loop itself is looked at.
    """
    found = []
    for run, plan in views(history).of_plans():
        for row in run.rows:
            if row.step not in plan.steps or plan.kind(row.step) != "loop" or row.latest.get("status") != "COMPLETED":
                continue
            output = row.latest.get("output_data")
            entries = output.get("iterations") if isinstance(output, Mapping) else None
            if plan.steps[row.step]["loop_config"].get("on_error") != "collect" or not isinstance(entries, list):
                continue
            failed = [entry for entry in entries if isinstance(entry, Mapping) and entry.get("status") == "FAILED"]
            if any(not entry.get("error_message") for entry in failed):
                explanation = f"loop {row.step} collects errors, and a failed entry of its output has no error_message"
                found.append(
                    Finding("collected", "LOP-12", "error not collected", explanation, (row.last_seq,), run.id)
                )
    return found


def _run_and_parts(history: History) -> list[Finding]:
    """A run FAILED although the composite that it ended with did not, by its parts and its policy.

    Judged in runs whose rows are all known and that nobody asked to retry. The run ended with a composite when every step before
    it has COMPLETED, and none behind it can have failed: it is the last of the chain, or the inputs of the next are sound
    and no agent step of the next has a row. A loop under continue or collect whose collection is known cannot FAIL at all.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.final != "FAILED" or run.is_retried or not run.is_complete or not run.rows:
            continue
        for number, step in enumerate(plan.chain):
            ends = oracle(run, plan).endings(step, ())
            is_completed = ends is not None and bool(ends) and all(end.status == "COMPLETED" for end in ends)
            behind = plan.chain[number + 1 :]
            is_last = not any(run.rows_of(leaf) for later in behind for leaf in (later, *plan.leaves(later)))
            if plan.kind(step) == "agent" or not _inputs_are_sound(run, plan, step) or not is_last:
                if not is_completed:
                    break
                continue
            next_is_sound = not behind or _inputs_are_sound(run, plan, behind[0])
            if (is_completed and next_is_sound) or (ends == [] and _cannot_fail(run, plan, step)):
                clause = _policy_clause(plan, step)
                explanation = f"run {run.id} FAILED at step {step}, which by its parts and its policy did not fail"
                found.append(Finding("run_and_parts", clause, "policy not kept", explanation, run.seqs, run.id))
            break
    return found


def _cannot_fail(run: RunView, plan: Plan, step: str) -> bool:
    """A loop under continue or collect with items, of which an iteration has begun."""
    if plan.kind(step) != "loop" or plan.steps[step]["loop_config"].get("on_error") not in ("continue", "collect"):
        return False
    return bool(oracle(run, plan).items(step, ())) and any(run.rows_of(leaf) for leaf in plan.leaves(step))


def _inputs_are_sound(run: RunView, plan: Plan, step: str) -> bool:
    """Whether the step's own mapping resolves for certain, and a loop's collection to a list."""
    inputs = oracle(run, plan).inputs(step, ())
    if inputs is None or not inputs.values or inputs.unresolvable:
        return False
    return plan.kind(step) != "loop" or bool(oracle(run, plan).items(step, ()))


def _ends_last(history: History) -> list[Finding]:
    """A snapshot in which a composite has ended, or what follows it has begun, while a step in it is RUNNING.

    Sound because a snapshot is one moment of the database. Composites in loops are left out, since their rows are not told apart,
    and so are runs that may have been retried.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.is_retried:
            continue
        for step in plan.steps:
            if plan.kind(step) == "agent" or plan.loops_around(step):
                continue
            leaves = set(plan.leaves(step))
            follower = plan.steps[step].get("next_step") if step in plan.chain else None
            later = set(plan.leaves(follower)) if follower is not None else set()
            for snapshot in run.snapshots:
                rows = snapshot["step_rows"] or ()
                has_ended = any(
                    (row.get("step_id") == step and row.get("status") in ("COMPLETED", "FAILED"))
                    or row.get("step_id") in later
                    for row in rows
                )
                is_open = any(row.get("step_id") in leaves and row.get("status") == "RUNNING" for row in rows)
                if has_ended and is_open:
                    explanation = f"step {step} had ended while a step in it was still RUNNING"
                    events = (snapshot["because"], snapshot.seq)
                    clause = _ENDS_FIRST[plan.kind(step)]
                    found.append(Finding("ends_last", clause, "ended too early", explanation, events, run.id))
                    break
    return found


def _shown(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


CHECKERS = (
    Checker(
        "branches",
        "No step of the branch that the condition does not take runs; the condition is evaluated independently.",
        ("CON-01", "CND-08"),
        _branches,
        ("database",),
    ),
    Checker(
        "composite_rows",
        "The end and the output in a composite's row are those that its parts give.",
        (
            "PAR-01", "PAR-05", "CON-01", "CON-02", "CON-05", "LOP-01", "LOP-06", "LOP-07", "LOP-08", "LOP-09", "LOP-10",
            "LOP-11", "LOP-12", "FJN-03", "FJN-05", "FJN-06", "FJN-07", "FJN-08",
        ),
        _composite_rows,
        ("database",),
    ),
    Checker("collected", "A loop under collect keeps the errors of its iterations.", ("LOP-12",), _collected, ("database",)),
    Checker(
        "run_and_parts",
        "A run does not fail at a composite that its parts and its policy let complete.",
        ("PAR-05", "CON-05", "LOP-10", "LOP-11", "LOP-12", "FJN-05", "FJN-06", "FJN-07", "FJN-08"),
        _run_and_parts,
        ("database",),
    ),
    Checker(
        "ends_last",
        "A composite ends after every step in it.",
        ("PAR-05", "FJN-04", "LOP-10", "CON-04"),
        _ends_last,
        ("database",),
    ),
)  # fmt: skip
