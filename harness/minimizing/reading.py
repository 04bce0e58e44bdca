"""A scenario file as a generated case, where it says nothing that a case cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.generation import Case
from harness.generation.cases import IS_CONSUMED, RUN, WORKFLOW
from harness.oracle import NotAPlan, Plan
from harness.scenario import templates
from harness.scenario.acts import long_arguments, word_of

Json = Any

_ON_THE_RUN = frozenset({"cancel", "retry", "answer", "duplicate", "hold", "release"})
_ON_PROCESSES = frozenset({"kill", "stop", "start", "restart", "pause", "resume", "add", "remove", "redeliver"})
_OF_AN_AGENT = frozenset({"script", "per", "timeout_ms", "retry_config", "auth", "registered", "status"})
_LOOKED_UP = ("rest", "ready", "table")


class _SaysMore(Exception):
    """The file says what no case can say."""


def case_of(document: Mapping[str, Json]) -> Case | None:
    """The case that a scenario file comes to, without what it expects: one run of one workflow, whose acts the oracle knows.
    None when it is more than that."""
    try:
        return _case(document)
    except (_SaysMore, templates.UnknownName, NotAPlan):
        return None


def _case(document: Mapping[str, Json]) -> Case:
    workflows = document.get("workflows", {})
    entries = document["timeline"]
    executes = [index for index, entry in enumerate(entries) if "execute" in entry]
    if len(workflows) != 1 or len(executes) != 1 or any("all" in entry for entry in entries):
        raise _SaysMore
    ((_, definition),) = workflows.items()
    made = long_arguments("execute", entries[executes[0]]["execute"], workflows)
    if "count" in made or "key" in made:
        raise _SaysMore
    workflow = templates.fill({key: value for key, value in definition.items() if key != "invalid"}, {})
    Plan.of(workflow)
    agents = {name: _agent(written) for name, written in document.get("agents", {}).items()}
    asked = {str(step.get("agent_name")) for step in workflow["steps"].values()} - {"None"}
    if asked - set(agents):
        raise _SaysMore
    alias = str(made["as"])
    before = [{**act, "before": True} for act in _acts(entries[: executes[0]], alias)]
    if any("cancel" not in act or "when" in act for act in before):
        raise _SaysMore
    if _renamed(entries[executes[0]].get("when"), alias, "") != (IS_CONSUMED if before else None):
        raise _SaysMore
    after = _acts(entries[executes[0] + 1 :], alias)
    given = templates.fill(made["input"], {})
    return Case(
        {"name": WORKFLOW, **workflow},
        {name: written for name, written in agents.items() if name in asked},
        given,
        (*before, *after),
        made.get("via"),
    )


def _agent(written: Json) -> Json:
    if isinstance(written, Mapping) and set(written) - _OF_AN_AGENT:
        raise _SaysMore
    return templates.fill(written, {})


def _acts(entries: Sequence[Mapping[str, Json]], alias: str) -> list[dict[str, Json]]:
    """The acts; what is waited for in between belongs to the act that follows."""
    found: list[dict[str, Json]] = []
    waited: list[Json] = []
    for entry in entries:
        word = word_of(entry)
        conditions = [_condition(entry[key], alias) for key in ("wait", "when") if key in entry]
        waited += [one for one in conditions if one != {}]
        if word == "wait":
            continue
        if word not in _ON_THE_RUN | _ON_PROCESSES:
            raise _SaysMore
        when = {} if not waited else {"when": waited[0] if len(waited) == 1 else {"all": waited}}
        found.append({**when, word: _renamed(entry[word], alias, word)})
        waited = []
    return found


def _condition(condition: Mapping[str, Json], alias: str) -> Json:
    """Readiness of processes is nothing that an outcome may rest on, and is left out."""
    if set(condition) == {"ready"}:
        return {}
    if any(word in repr(condition) for word in (f"'{name}'" for name in _LOOKED_UP)):
        raise _SaysMore
    return _renamed(condition, alias, "")


def _renamed(value: Json, alias: str, word: str) -> Json:
    """The same about the run `r`, whatever the file calls it."""
    if isinstance(value, Mapping):
        return {
            key: RUN if key == "run" and item == alias else _renamed(item, alias, "") for key, item in value.items()
        }
    if isinstance(value, list):
        return [_renamed(item, alias, "") for item in value]
    if not isinstance(value, str):
        return value
    if word in ("cancel", "retry") and value == alias:
        return RUN
    text = value.replace(f"{{{{{alias}.id}}}}", f"{{{{{RUN}.id}}}}")
    if any(name != f"{RUN}.id" for _, name in templates.names(text)):
        raise _SaysMore
    return text
