"""What conditions need to be asked for from outside, since no history has it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.observer import Answer
from harness.scenario import templates


@dataclass
class Probes:
    """What was asked for from outside, because no history has it: REST answers by request, readiness by role, and the rows
    of tables, or a sentence that says why there are none."""

    answers: dict[str, Answer] = field(default_factory=dict)
    ready: dict[str, str | None] = field(default_factory=dict)
    """Role → what is lacking, or None when it is ready."""

    tables: dict[str, list[dict[str, Any]] | str] = field(default_factory=dict)


def requests_in(condition: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, request) of every REST request that has to be made before a condition can be judged; `run` in a request is
    the run that it reads."""
    for part in leaves(condition):
        try:
            if "rest" in part and "run" in part:
                run_id = run_id_of(part["run"], values)
                if run_id is not None:
                    yield f"run {run_id}", {"method": "GET", "path": f"/runs/{run_id}", "run": run_id}
            elif "rest" in part:
                request = templates.fill(part["rest"], values)
                yield request_key(request), request
        except templates.UnknownName:
            continue


def roles_in(condition: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """The roles whose readiness a condition asks for."""
    for part in leaves(condition):
        if "ready" in part:
            yield templates.fill(part["ready"], values)


def tables_in(condition: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """The tables that a condition looks at."""
    for part in leaves(condition):
        if "table" in part:
            yield templates.fill(part["table"], values)


def leaves(condition: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The conditions that look at something."""
    if "not" in condition:
        yield from leaves(condition["not"])
    elif "all" in condition or "any" in condition:
        for part in condition.get("all", condition.get("any", ())):
            yield from leaves(part)
    else:
        yield condition


def run_id_of(name: str, values: Mapping[str, Any]) -> str | None:
    """The run of a name; a text that is no run's name but has been bound is a run_id itself."""
    filled = templates.fill(name, values)
    of_run = values.get(filled)
    if isinstance(of_run, Mapping):
        found = of_run.get("id")
        return found if isinstance(found, str) else None
    return filled if filled != name else None


def request_key(request: Mapping[str, Any]) -> str:
    """What a request is known by among the probes."""
    return json.dumps(request, sort_keys=True, default=str)
