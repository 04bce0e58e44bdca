"""Conditions: whether what has been seen so far is what a scenario asks for. Nothing here waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.history import Event
from harness.observer import Answer
from harness.runner.probes import Probes, request_key, run_id_of
from harness.runner.tasks import is_agent_step, tasks_of_step
from harness.runner.view import RunView, View
from harness.scenario import matchers, templates


@dataclass(frozen=True)
class Judgement:
    """`holds` is None while there is nothing yet to look at. `found` says what was seen."""

    holds: bool | None
    found: str


def judge(condition: Mapping[str, Any], view: View, values: dict[str, Any], probes: Probes) -> Judgement:
    """Judge a condition in its form in the file. What its matchers bind goes into `values` when it holds."""
    for word, of_parts in (("all", _all), ("any", _any)):
        if word in condition:
            return of_parts([judge(part, view, values, probes) for part in condition[word]])
    if "not" in condition:
        inner = judge(condition["not"], view, dict(values), probes)
        return Judgement(None if inner.holds is None else not inner.holds, inner.found)
    tried = dict(values)
    try:
        judgement = _judge_one(condition, view, tried, probes)
    except templates.UnknownName as unknown:
        return Judgement(None, f"nothing is called '{unknown.name}' yet")
    if judgement.holds:
        values.update((name, value) for name, value in tried.items() if name not in values)
    return judgement


def _all(parts: list[Judgement]) -> Judgement:
    broken = next((part for part in parts if part.holds is False), None)
    unknown = next((part for part in parts if part.holds is None), None)
    return broken or unknown or Judgement(True, "; ".join(part.found for part in parts))


def _any(parts: list[Judgement]) -> Judgement:
    holding = next((part for part in parts if part.holds), None)
    found = "; ".join(part.found for part in parts)
    return holding or Judgement(None if any(part.holds is None for part in parts) else False, found)


def _judge_one(condition: Mapping[str, Any], view: View, values: dict[str, Any], probes: Probes) -> Judgement:
    if "step" in condition:
        return _judge_step(condition, view, values)
    if "run" in condition:
        return _judge_run(condition, view, values)
    if "agent" in condition:
        return _judge_agent(condition, view, values)
    if "message" in condition:
        return _judge_messages(condition, view, values)
    if "update" in condition:
        return _judge_updates(condition, view, values)
    if "rest" in condition:
        return _judge_rest(condition, values, probes)
    if "table" in condition:
        return _judge_table(condition, values, probes)
    role = templates.fill(condition["ready"], values)
    lacking = probes.ready.get(role, "nobody has looked yet")
    return Judgement(lacking is None, lacking or f"{role} is ready")


def _judge_run(condition: Mapping[str, Any], view: View, values: dict[str, Any]) -> Judgement:
    run = _run(condition["run"], view, values)
    if run is None:
        return Judgement(None, f"run {condition['run']} has not been made")
    row = run.row
    checks: list[Judgement] = []
    if "rest" in condition:
        checks.append(_seen(f"GET of {condition['run']} answers", condition["rest"], run.rest_status, values))
    if "is" in condition:
        checks.append(_seen(f"run {condition['run']} is", condition["is"], row and row["status"], values))
    for column, matcher in condition.get("row", {}).items():
        checks.append(_in_row(f"run {condition['run']}: {column}", column, matcher, row, values))
    if "error" in condition:
        checks.append(_in_row(f"run {condition['run']}: error", "error_message", condition["error"], row, values))
    if "steps" in condition:
        wanted = templates.fill(condition["steps"], values)
        began = run.began()
        checks.append(Judgement(wanted == began, f"the steps of {condition['run']} that began are {_shown(began)}"))
    return _all(checks)


def _judge_step(condition: Mapping[str, Any], view: View, values: dict[str, Any]) -> Judgement:
    run = _run(condition["run"], view, values)
    if run is None:
        return Judgement(None, f"run {condition['run']} has not been made")
    step = templates.fill(condition["step"], values)
    what = f"step {step} of {condition['run']}"
    rows = run.rows_of(step)
    if "branch" in condition:
        branch = templates.fill(condition["branch"], values)
        rows = [row for row in rows if row.get("branch_name") == branch]
        what += f" in branch {branch}"
    if "iteration" in condition:
        number = templates.fill(condition["iteration"], values)
        rows = rows[number : number + 1]
        what += f" in iteration {number}"
    row = rows[-1] if rows else None
    checks: list[Judgement] = []
    if "times" in condition:
        narrowed = "branch" in condition or "iteration" in condition
        asked = len(rows) if narrowed or not is_agent_step(run, step) else len(tasks_of_step(run, step))
        checks.append(_counted(f"different tasks of {what}", condition["times"], asked, values))
    if "is" in condition:
        checks.append(_seen(f"{what} is", condition["is"], row and row["status"], values))
    for word, column in (("input", "input_data"), ("output", "output_data"), ("error", "error_message")):
        if word in condition:
            checks.append(_in_row(f"{what}: {word}", column, condition[word], row, values))
    return _all(checks)


def _judge_agent(condition: Mapping[str, Any], view: View, values: dict[str, Any]) -> Judgement:
    name = condition["agent"]
    agent = view.agents[name]
    checks: list[Judgement] = []
    for word, count in (("calls", len(agent.inputs)), ("answered", agent.answered), ("at_once", agent.most_at_once)):
        if word in condition:
            checks.append(_counted(f"agent {name}: {word.replace('_', ' ')}", condition[word], count, values))
    if "inputs" in condition:
        difference = matchers.matches(condition["inputs"], agent.inputs, values)
        checks.append(Judgement(difference is None, f"agent {name}: inputs {difference or 'as expected'}"))
    if "keys" in condition:
        mixed = {task: keys for task, keys in agent.keys.items() if len(keys) > 1 or None in keys}
        told = "; ".join(f"task {task} came with {sorted(map(str, keys))}" for task, keys in mixed.items())
        checks.append(Judgement(not mixed, f"agent {name}: {told or 'one key for each task'}"))
    return _all(checks)


def _judge_messages(condition: Mapping[str, Any], view: View, values: dict[str, Any]) -> Judgement:
    wanted = condition["message"]
    fits = message_filter(wanted, values)
    seen = view.messages[wanted["topic"]]
    what = f"messages on {wanted['topic']}" + (f" where {_shown(wanted['where'])}" if "where" in wanted else "")
    if "consumed" in wanted:
        seen = [event for event in seen if view.is_consumed(event)]
        what += " that were consumed"
    count = len({_identity(event) for event in seen if fits(event)})
    return _counted(what, condition.get("count", {"at_least": 1}), count, values)


def _identity(event: Event) -> Hashable:
    """What copies of one message have in common. Everything is published at least once, so that how often the subject
    has done it is its own affair; what the harness publishes is counted as it is. Updates are, too: those of two
    iterations may be equal."""
    value = event["value"]
    if event["by"] != "subject" or event["topic"] == "updates":
        return event.seq
    if event["topic"] == "tasks" and value is not None and isinstance(value.get("task_id"), str):
        return str(value["task_id"])
    return event["topic"], event["key"], event["raw"] if value is None else json.dumps(value, sort_keys=True)


def message_filter(wanted: Mapping[str, Any], values: dict[str, Any]) -> Callable[[Event], bool]:
    """Tells whether a message has the fields (`where`), the `key`, the `headers` and the sender (`by`) that are wanted.
    What the first fitting one binds holds for the next ones as well."""

    def fits(event: Event) -> bool:
        if "by" in wanted and event["by"] != wanted["by"]:
            return False
        tried = dict(values)
        asked = [("where", event["value"] or {}), ("headers", event["headers"] or {})]
        for word, found in asked:
            if word in wanted and matchers.matches({"like": wanted[word]}, found, tried) is not None:
                return False
        if "key" in wanted and matchers.matches(wanted["key"], event["key"], tried) is not None:
            return False
        values.update(tried)
        return True

    return fits


def _judge_updates(condition: Mapping[str, Any], view: View, values: dict[str, Any]) -> Judgement:
    wanted = condition["update"]
    run = _run(wanted["run"], view, values)
    if run is None:
        return Judgement(None, f"run {wanted['run']} has not been made")
    step, status = (templates.fill(wanted.get(word), values) for word in ("step", "status"))
    count = sum(
        (step is None or event["value"].get("step_id") == step)
        and (status is None or event["value"].get("status") == status)
        for event in run.updates
    )
    what = f"updates of {wanted['run']}" + "".join(f" {word}" for word in (step, status) if word is not None)
    return _counted(what, condition.get("count", {"at_least": 1}), count, values)


def _judge_rest(condition: Mapping[str, Any], values: dict[str, Any], probes: Probes) -> Judgement:
    request = templates.fill(condition["rest"], values)
    answer = probes.answers.get(request_key(request))
    what = f"{request.get('method', 'GET')} {request['path']}"
    if answer is None:
        return Judgement(None, f"{what} has not been asked")
    return judge_answer(what, condition, answer, values)


def _judge_table(condition: Mapping[str, Any], values: dict[str, Any], probes: Probes) -> Judgement:
    table = templates.fill(condition["table"], values)
    rows = probes.tables.get(table)
    if rows is None:
        return Judgement(None, f"nobody has looked at the table {table}")
    if isinstance(rows, str):
        return Judgement(False, rows)
    count, nearest = 0, ""
    for row in rows:
        tried = dict(values)
        difference = matchers.matches({"like": condition.get("where", {})}, row, tried)
        if difference is None:
            count += 1
            values.update(tried)
        elif not nearest and any(row.get(name) == wanted for name, wanted in _literal(condition, values).items()):
            nearest = f"; a row that is nearly so: {difference}"
    judgement = _counted(f"rows of {table}", condition.get("count", {"at_least": 1}), count, values)
    return judgement if judgement.holds else Judgement(False, judgement.found + nearest)


def _literal(condition: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns for which a condition names a text, filled in."""
    given = condition.get("where", {})
    return {name: templates.fill(wanted, values) for name, wanted in given.items() if isinstance(wanted, str)}


def judge_answer(what: str, wanted: Mapping[str, Any], answer: Answer, values: dict[str, Any]) -> Judgement:
    """Hold an answer to the matchers `status` and `answer`."""
    if answer.status is None:
        return Judgement(False, f"{what} got no answer: {answer.body}")
    for word, found in (("status", answer.status), ("answer", answer.body)):
        if word in wanted and (difference := matchers.matches(wanted[word], found, values)):
            return Judgement(
                False, f"{what} answered {answer.status}: {word}: {difference}; body {_shown(answer.body)}"
            )
    return Judgement(True, f"{what} answered {answer.status}")


def _run(name: str, view: View, values: Mapping[str, Any]) -> RunView | None:
    run_id = run_id_of(name, values)
    return view.run(run_id) if run_id is not None else None


def _seen(what: str, wanted: Any, found: Any, values: dict[str, Any]) -> Judgement:
    wanted = templates.fill(wanted, values)
    if found is None:
        return Judgement(None, f"{what} not there")
    return Judgement(found == wanted, f"{what} {found}")


def _in_row(what: str, column: str, matcher: Any, row: Mapping[str, Any] | None, values: dict[str, Any]) -> Judgement:
    if row is None:
        return Judgement(None, f"{what}: no row is there")
    difference = matchers.matches(matcher, row.get(column, matchers.MISSING), values)
    return Judgement(difference is None, f"{what} {difference or 'as expected'}")


def _counted(what: str, wanted: Any, count: int, values: Mapping[str, Any]) -> Judgement:
    difference = matchers.count_matches(templates.fill(wanted, values), count)
    return Judgement(difference is None, f"{what}: {difference or count}")


def _shown(value: Any) -> str:
    return matchers.shown(value)
