"""What a failure leaves behind: messages, empty outputs, and no trace of what was absorbed or retried."""

from __future__ import annotations

from collections.abc import Mapping

from harness.checkers.checker import Checker
from harness.checkers.view import Row, RunView, views
from harness.history import Event, History
from harness.oracle.plan import Plan
from harness.oracle.values import canonical
from harness.verdict import Finding


def _failed_rows(history: History) -> list[Finding]:
    """A FAILED agent step's row without an error_message, or with an output (FAI-08).

    Sound because it looks at one row as it was read. Columns that a row does not have at all are not missed.
    """
    found = []
    for run, plan in views(history).of_plans():
        for row in run.rows:
            latest = row.latest
            if row.step not in plan.agents or latest.get("status") != "FAILED":
                continue
            if "error_message" in latest and not latest["error_message"]:
                explanation = f"step {row.step} is FAILED without an error_message"
                found.append(
                    Finding("failed_rows", "FAI-08", "failure without message", explanation, (row.last_seq,), run.id)
                )
            elif latest.get("output_data") is not None:
                explanation = f"step {row.step} is FAILED and has an output"
                found.append(
                    Finding("failed_rows", "FAI-08", "failure with output", explanation, (row.last_seq,), run.id)
                )
    return found


def _messages_kept(history: History) -> list[Finding]:
    """The agent's message is not in the error_message of the step's row, or of the run that failed for it.

    A row belongs to the results of the tasks with its agent and input. It is accused only when all of these results are
    failures with a message, none of whose texts it contains; steps in a fork_join with time-outs, which may fail for those, are
    left out, and so are runs that may have been retried. The run is accused when its only FAILED row is of a step of the chain.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.is_retried:
            continue
        failed = [row for row in run.rows if row.step in plan.agents and row.latest.get("status") == "FAILED"]
        for row in failed:
            results = _results_of(run, plan, row)
            texts = [str(event["value"].get("error_message") or "") for event in results]
            is_failure = all(event["value"].get("status") == "FAILURE" for event in results)
            if not results or not is_failure or not all(texts) or _may_time_out(plan, row.step):
                continue
            message = str(row.latest.get("error_message") or "")
            proof = (results[0].seq, row.last_seq)
            if not any(text in message for text in texts):
                explanation = (
                    f"step {row.step} FAILED with {message!r}, which does not contain the agent's {texts[0]!r}"
                )
                found.append(Finding("messages_kept", "FAI-02", "agent's message lost", explanation, proof, run.id))
            elif len(failed) == 1 and row.step in plan.chain and run.final == "FAILED":
                found += _of_run(run, row, texts, proof)
    return found


def _of_run(run: RunView, row: Row, texts: list[str], proof: tuple[int, ...]) -> list[Finding]:
    message = "" if run.last is None else str(run.last.row.get("error_message") or "")
    events = (*proof, *run.seqs)
    if not any(text in message for text in texts):
        explanation = f"run {run.id} FAILED with {message!r}, which does not contain the agent's {texts[0]!r}"
        return [Finding("messages_kept", "FAI-02", "agent's message lost", explanation, events, run.id)]
    if row.step not in message:
        explanation = f"run {run.id} FAILED with {message!r}, which does not name its step {row.step}"
        return [Finding("messages_kept", "FAI-03", "failed step not named", explanation, events, run.id)]
    return []


def _results_of(run: RunView, plan: Plan, row: Row) -> list[Event]:
    """All results of tasks with the row's agent and input."""
    key = canonical([plan.steps[row.step].get("agent_name"), row.latest.get("input_data")])
    return [event for task in run.tasks_by_key.get(key, ()) for event in run.results_of_task.get(task.task_id, ())]


def _may_time_out(plan: Plan, step: str) -> bool:
    return any(plan.kind(above) == "fork_join" for above in plan.above(step))


def _nothing_left(history: History) -> list[Finding]:
    """A COMPLETED run with an error_message (FAI-05), or a retried one that still carries its former end (RES-13).

    Sound for COMPLETED because nothing leads there with an error that was not absorbed or retried. After a retry that the
    subject's API accepted, reads of PENDING and RUNNING are looked at.
    """
    found = []
    seen = views(history)
    for run in seen.runs.values():
        for read in run.reads:
            has_error = bool(read.row.get("error_message"))
            if read.status == "COMPLETED" and has_error and seen.plays("consumer"):
                clause = "RES-13" if run.is_retried else "FAI-05"
            elif run.is_retried and seen.plays("api") and read.status in ("PENDING", "RUNNING") and _has_end(read.row):
                clause = "RES-13"
            else:
                continue
            explanation = (
                f"run {run.id} is {read.status} and still tells of a failure or an end that is absorbed or undone"
            )
            found.append(Finding("nothing_left", clause, "undone end still told", explanation, (read.seq,), run.id))
            break
    return found


def _has_end(row: Mapping[str, object]) -> bool:
    return any(row.get(name) for name in ("error_message", "completed_at", "cancelled_at", "cancelled_by"))


def _outputs(history: History) -> list[Finding]:
    """A COMPLETED agent step whose output is that of no result it can have come from (CMP-07, DEL-03).

    The row's results are those, of this run, of tasks with its agent and input. It is accused when every one of these tasks has a
    result that was seen and no SUCCESS among them has the row's output. When there is one task only, and two different
    results of it lie in one partition, the first by offset counts; not so after a retry, since a result that came while
    the run was CANCELLED changed nothing.
    """
    found = []
    for run, plan in views(history).of_plans():
        for row in run.rows:
            if row.step not in plan.agents or row.latest.get("status") != "COMPLETED":
                continue
            results = _results_of(run, plan, row)
            key = canonical([plan.steps[row.step].get("agent_name"), row.latest.get("input_data")])
            tasks = {task.task_id for task in run.tasks_by_key.get(key, ())}
            if not results or not all(task in run.results_of_task for task in tasks):
                continue
            output = canonical(row.latest.get("output_data"))
            giving = [
                e
                for e in results
                if e["value"].get("status") == "SUCCESS" and canonical(e["value"].get("output_data")) == output
            ]
            first = min(results, key=lambda event: event["offset"] or 0)
            if not giving:
                explanation = f"step {row.step} is COMPLETED with an output that none of its results has"
                proof: tuple[int, ...] = (results[0].seq, row.last_seq)
                found.append(Finding("outputs", "CMP-07", "foreign output", explanation, proof, run.id))
            elif (
                not run.is_retried
                and len(tasks) == 1
                and len({event["partition"] for event in results}) == 1
                and _is_other(first, output)
            ):
                explanation = f"step {row.step} has the output of a later result, though another one was before it"
                proof = (first.seq, giving[0].seq, row.last_seq)
                found.append(Finding("outputs", "DEL-03", "later result applied", explanation, proof, run.id))
    return found


def _is_other(first: Event, output: str) -> bool:
    """Whether a result is valid and says something else."""
    value = first["value"]
    if value.get("status") == "FAILURE":
        return True
    has_output = "output_data" in value and (value["output_data"] is None or isinstance(value["output_data"], dict))
    return bool(value.get("status") == "SUCCESS" and has_output and canonical(value["output_data"]) != output)


def _invalid_plans(history: History) -> list[Finding]:
    """A task was published for a run whose plan is not valid against the contract's schema (FAI-06).

    Sound in any order and whatever died: such a run has no task at all, in no life of it. Plans that only break rules beyond the
    schema are not judged here, and neither are plans that the history does not have.
    """
    found = []
    seen = views(history)
    for run in seen.runs.values() if seen.plays("consumer") else ():
        if run.made is None or not isinstance(run.made["plan"], Mapping) or run.has_valid_plan or not run.tasks:
            continue
        explanation = f"the plan of run {run.id} is not valid, and a task was published for it"
        events = (run.made.seq, run.tasks[0].first.seq)
        found.append(Finding("invalid_plans", "FAI-06", "invalid plan executed", explanation, events, run.id))
    return found


CHECKERS = (
    Checker(
        "invalid_plans",
        "A plan that is not valid leads to no task.",
        ("FAI-06",),
        _invalid_plans,
        ("kafka",),
    ),
    Checker("failed_rows", "A FAILED step has a message and no output.", ("FAI-08",), _failed_rows, ("database",)),
    Checker(
        "messages_kept",
        "The agent's message is kept in the row of the step and of the run, which also names the step.",
        ("FAI-02", "FAI-03"),
        _messages_kept,
        ("kafka", "database"),
    ),
    Checker(
        "nothing_left",
        "A run that completed tells of no failure, and a retried one not of its former end.",
        ("FAI-05", "RES-13"),
        _nothing_left,
        ("database",),
    ),
    Checker(
        "outputs",
        "A completed step has the output of its own result, the first one of several.",
        ("CMP-07", "DEL-03"),
        _outputs,
        ("kafka", "database"),
    ),
)
