"""Every step's input is exactly its resolved mapping; its task and the call of its agent carry the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.checkers.checker import Checker
from harness.checkers.oracle.of_run import contexts_of, oracle, steps_of
from harness.checkers.view import Row, RunView, views
from harness.history import History
from harness.oracle.plan import Plan
from harness.oracle.references import references_in
from harness.oracle.values import canonical, same
from harness.verdict import Finding

_OF_TYPE = {"parallel": "PAR-01", "conditional": "CON-02", "loop": "LOP-06", "fork_join": "FJN-03"}
_SHOWN = 200


def _row_inputs(history: History) -> list[Finding]:
    """A row whose input_data no reading of its step's mapping gives.

    The oracle answers with every input that the recorded outputs allow: for a loop's step that of every iteration, after a
    retry that of every attempt, and nothing at all where an output is not on record yet. Rows that FAILED before they had an
    input (REF-11) are left out, and so are runs whose plan is not sound.
    """
    found = []
    for run, plan in views(history).of_plans():
        for row in run.rows:
            if row.step not in plan.steps or row.latest.get("status") == "PENDING":
                continue
            given = row.latest.get("input_data")
            if row.latest.get("status") in ("FAILED", "SKIPPED", "CANCELLED") and given in (None, {}):
                continue
            if plan.kind(row.step) != "agent" and given is None:
                continue
            places = contexts_of(run, plan, row.step, given)
            if places == []:
                found.append(_wrong_input(run, plan, row, given))
    return found


def _wrong_input(run: RunView, plan: Plan, row: Row, given: Any) -> Finding:
    answers = oracle(run, plan)
    places = answers.contexts(row.step) or []
    inputs = [found for place in places[:20] if (found := answers.inputs(row.step, place)) is not None]
    expected = [value for found in inputs for value in found.values]
    unresolvable = sorted(text for found in inputs for text in found.unresolvable)
    clause, anomaly = _clause(plan, row.step), "wrong input"
    if not places:
        clause, anomaly, wanted = "LOP-01", "step that cannot run", "no iteration of its loop exists"
    elif not expected and unresolvable:
        clause, anomaly, wanted = "REF-11", "unresolvable reference used", f"{unresolvable[0]} leads to nothing"
    else:
        wanted = " or ".join(_shown(value) for value in expected[:3])
    explanation = f"step {row.step} has the input {_shown(given)}; its mapping gives {wanted}"
    return Finding("row_inputs", clause, anomaly, explanation, (row.last_seq,), run.id)


def _clause(plan: Plan, step: str) -> str:
    """The clause that fits best: by what the mapping refers to."""
    mapping = plan.steps[step].get("input_mapping")
    if not mapping:
        return "CMP-05"
    sources = {(reference.source, reference.name) for reference in references_in(mapping, plan.steps)}
    if any(source == "loop" for source, _ in sources):
        return "REF-13"
    types = {_OF_TYPE[plan.kind(name)] for source, name in sources if source == "step" and plan.kind(name) in _OF_TYPE}
    return types.pop() if len(types) == 1 else "CMP-04"


def _task_inputs(history: History) -> list[Finding]:
    """A task whose agent no step of the plan has, or whose input none of the steps with its agent can have.

    A task does not say which step it is of: it is accused only when it fits none of those that have its agent. What the
    oracle does not know counts as fitting.
    """
    found = []
    for run, plan in views(history).of_plans():
        for task in run.tasks:
            named = [step for step in plan.agents if plan.steps[step].get("agent_name") == task.agent]
            if not named:
                explanation = f"task {task.task_id} is for agent {task.agent}, which no step of the plan has"
                found.append(Finding("task_inputs", "MSG-12", "foreign agent", explanation, (task.first.seq,), run.id))
            elif all(contexts_of(run, plan, step, task.input) == [] for step in named):
                explanation = (
                    f"task {task.task_id} has the input {_shown(task.input)}, which the mapping of {' or '.join(named)} "
                    "does not give"
                )
                clause = _clause(plan, named[0]) if len(named) == 1 else "CMP-04"
                found.append(Finding("task_inputs", clause, "wrong input", explanation, (task.first.seq,), run.id))
    return found


def _rows_have_tasks(history: History) -> list[Finding]:
    """An agent step that COMPLETED with an input, though no task with that agent and input was ever seen.

    Sound because judged only when the history says that all topics were read to their ends after the rows had come to
    rest: then a task that is not there was not published. Tasks that the harness published count.
    """
    found = []
    seen = views(history)
    if not seen.is_drained:
        return []
    for run, plan in seen.of_plans():
        keys = set()
        for event in run.task_messages:
            if isinstance(event["value"], Mapping):
                keys.add(canonical([event["value"].get("agent_name"), event["value"].get("input_data")]))
        for row in run.rows:
            if row.step not in plan.agents or row.latest.get("status") != "COMPLETED":
                continue
            agent = plan.steps[row.step].get("agent_name")
            if canonical([agent, row.latest.get("input_data")]) not in keys:
                explanation = (
                    f"step {row.step} is COMPLETED, and no task for agent {agent} with its input was published"
                )
                found.append(
                    Finding("rows_have_tasks", "MSG-12", "step without task", explanation, (row.last_seq,), run.id)
                )
    return found


def _call_inputs(history: History) -> list[Finding]:
    """An agent was called with another input than the task that the call names has.

    Sound because a call names its task by the id in the request, and tasks of one id are equal or accused elsewhere;
    a call for a task that was not seen is left out, and so is a task of which copies differ.
    """
    found = []
    seen = views(history)
    if not seen.plays("bridge"):
        return []
    for call, _ in seen.calls:
        task = seen.tasks.get(str(call["task_id"]))
        if task is None or any(not same(m["value"].get("input_data"), task.input) for m in task.messages):
            continue
        if not same(call["input"], task.input):
            explanation = f"agent {call['agent']} got {_shown(call['input'])} for a task with {_shown(task.input)}"
            found.append(
                Finding("call_inputs", "AGT-02", "wrong input", explanation, (task.first.seq, call.seq), call.run)
            )
    return found


def _unresolvable(history: History) -> list[Finding]:
    """A step that FAILED for a reference that leads to nothing says which, and no task was published for it.

    Judged only where nothing more will be recorded of the run and every reading of the mapping leads to nothing; a task is
    taken for the step's only when it can be no other's.
    """
    found = []
    for run, plan in views(history).of_plans():
        if run.is_retried or not run.is_complete:
            continue
        answers = oracle(run, plan)
        for step in plan.agents:
            places = answers.contexts(step)
            inputs = [answers.inputs(step, place) for place in places or ()]
            if not inputs or any(one is None or one.values for one in inputs):
                continue
            texts = {text for one in inputs if one is not None for text in one.unresolvable}
            for row in run.rows_of(step):
                message = str(row.latest.get("error_message"))
                if row.latest.get("status") == "FAILED" and not any(text in message for text in texts):
                    explanation = f"step {step} FAILED with {message!r}, which does not name {sorted(texts)[0]}"
                    found.append(
                        Finding("unresolvable", "REF-11", "reference not named", explanation, (row.last_seq,), run.id)
                    )
            for task in run.tasks:
                if steps_of(run, plan, task) == [step]:
                    explanation = f"a task was published for step {step}, though {sorted(texts)[0]} leads to nothing"
                    found.append(
                        Finding("unresolvable", "REF-11", "task without input", explanation, (task.first.seq,), run.id)
                    )
    return found


def _shown(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


CHECKERS = (
    Checker(
        "row_inputs",
        "The input_data of every step's row is its resolved mapping, recomputed from plan, input and recorded outputs.",
        ("CMP-04", "CMP-05", "REF-11", "REF-13", "LOP-01", "PAR-01", "CON-02", "LOP-06", "FJN-03"),
        _row_inputs,
        ("database",),
    ),
    Checker(
        "task_inputs",
        "Every task has the agent and the resolved mapping of a step.",
        ("MSG-12", "CMP-04", "CMP-05", "REF-13", "PAR-01", "CON-02", "LOP-06", "FJN-03"),
        _task_inputs,
        ("kafka", "database"),
    ),
    Checker(
        "rows_have_tasks",
        "Every completed agent step had a task with the agent and the input of its row.",
        ("MSG-12",),
        _rows_have_tasks,
        ("kafka", "database"),
    ),
    Checker(
        "call_inputs", "An agent is called with the input of the task.", ("AGT-02",), _call_inputs, ("kafka", "agent")
    ),
    Checker(
        "unresolvable",
        "A step whose reference leads to nothing fails, names the reference, and has no task.",
        ("REF-11",),
        _unresolvable,
        ("kafka", "database"),
    ),
)
