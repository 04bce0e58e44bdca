"""Scenario files as data, and what is smaller than one: fewer acts, runs, expectations, steps and agents."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from harness.faults.grid.smaller import smaller as smaller_by_faults
from harness.generation import Case
from harness.scenario import templates
from harness.scenario.acts import long_arguments, word_of
from harness.scenario.definitions import definition_mistakes
from harness.scenario.model import Act, Agent, Scenario
from harness.shrinking.cases import smaller_cases

Json = Any
Document = dict[str, Any]

OF_PROCESSES = frozenset(
    ("kill", "stop", "start", "restart", "pause", "resume", "add", "remove", "redeliver", "fault", "cut", "join")
)
"""Acts that change no outcome of a run, whatever they do to processes (RES, DEL, GRP)."""

_PAIRS = ((("cut",), "join"), (("pause",), "resume"), (("kill", "stop"), "start"), (("hold",), "release"))
"""What takes something away, and what gives it back: without the second any executor stands still."""

_SECTIONS = ("guarantee", "clauses", "deadline_seconds", "workflows", "agents", "timeline", "expect")
_ENDS = ("COMPLETED", "FAILED", "CANCELLED")
_USUAL_SECONDS = 20.0
_ALONE = frozenset({"role", "run", "agent", "group", "part"})
_USUAL: Mapping[str, Mapping[str, Json]] = {
    "execute": {"input": {}},
    "answer": {"times": 1},
    "publish": {"times": 1},
    "duplicate": {"times": 1},
    "exhaust": {"seconds": 2},
}


def document_of(scenario: Scenario, drawn: Mapping[str, Json]) -> Document:
    """A scenario written out: no includes, variants, parameters or draws are left in it."""
    found: Document = {"guarantee": scenario.guarantee, "clauses": list(scenario.clauses)}
    if scenario.deadline_seconds != _USUAL_SECONDS:
        found["deadline_seconds"] = scenario.deadline_seconds
    found["workflows"] = copy.deepcopy(dict(scenario.workflows))
    found["agents"] = {name: _agent(agent) for name, agent in scenario.agents.items()}
    found["timeline"] = [_act(act, scenario) for act in scenario.timeline]
    expect: dict[str, list[Json]] = {}
    for one in scenario.expectations:
        expect.setdefault(one.mode, []).append(copy.deepcopy(dict(one.what)))
    found["expect"] = expect
    whole: Document = templates.fill_known({name: value for name, value in found.items() if value != {}}, drawn)
    for name, definition in whole.get("workflows", {}).items():
        if next(iter(definition_mistakes({"workflows": {name: definition}, "timeline": []})), None) is not None:
            definition["invalid"] = True
    return whole


def _agent(agent: Agent) -> Json:
    script = [copy.deepcopy(dict(entry)) for entry in agent.script]
    more = {
        name: getattr(agent, name)
        for name, usual in (
            ("per", "agent"), ("timeout_ms", None), ("retry_config", None), ("auth", None), ("registered", True),
            ("status", "active"), ("url", None),
        )
        if getattr(agent, name) != usual
    }  # fmt: skip
    return {**more, "script": script} if more else script


def _act(act: Act, scenario: Scenario) -> Document:
    when = {} if act.when is None else {"when": copy.deepcopy(dict(act.when))}
    if act.word == "all":
        return {**when, "all": [_act(one, scenario) for one in act.arguments["acts"]]}
    arguments = copy.deepcopy(dict(act.arguments))
    for name, usual in _USUAL.get(act.word, {}).items():
        if arguments.get(name) == usual:
            del arguments[name]
    if act.word == "execute" and len(scenario.workflows) == 1:
        arguments.pop("workflow", None)
    if len(arguments) == 1 and set(arguments) <= _ALONE and act.word != "answer":
        (only,) = arguments.values()
        if isinstance(only, str):
            return {**when, act.word: only}
    return {**when, act.word: arguments}


Leeway = Literal["all", "neutral", "expectations"]
"""What may be left out: anything; what cannot make an expectation about a run that is left untrue of an executor that keeps
the contract; or nothing but expectations, where one is left that counts what happens."""


def smaller_documents(document: Mapping[str, Json], leeway: Leeway = "all") -> Iterator[Document]:
    """Scenario files with less in them, the boldest first; whether each can be carried out is for whoever tries it to see.

    With the leeway `all`, what is left out may be what an expectation rests on: then only checkers can be believed.
    """
    changes = [_without_expectations]
    if leeway != "expectations":
        changes = [_without_runs, *changes, _without_acts_on_processes, _fewer_runs]
    if leeway == "all":
        changes += [_no_expectations, _without_acts, _smaller_workflows, _smaller_by_faults]
    for change in changes:
        for found in change(document):
            tidied = tidy(found, document)
            if tidied is not None and tidied != document:
                yield tidied


def _without_runs(document: Mapping[str, Json]) -> Iterator[Document]:
    made = [alias for entry in flat(document["timeline"]) if (alias := _made_by(entry)) is not None]
    for alias in made if len(made) > 1 else ():
        changed = _copy(document)
        is_of_others = partial(_is_of_others, [alias])
        changed["timeline"] = _kept(changed["timeline"], is_of_others)
        changed["expect"] = _expecting(changed, is_of_others)
        yield changed


def _without_expectations(document: Mapping[str, Json]) -> Iterator[Document]:
    for mode, listed in document.get("expect", {}).items():
        for index in range(len(listed)):
            changed = _copy(document)
            del changed["expect"][mode][index]
            yield changed


def _no_expectations(document: Mapping[str, Json]) -> Iterator[Document]:
    """Nothing but that every run ends: what checkers see needs no more."""
    runs = [alias for entry in flat(document["timeline"]) if (alias := _made_by(entry)) is not None]
    if runs:
        ends = [{"any": [{"run": alias, "is": status} for status in _ENDS]} for alias in runs]
        yield {**_copy(document), "expect": {"eventually": ends}}


def _without_acts_on_processes(document: Mapping[str, Json]) -> Iterator[Document]:
    if any(word_of(entry) in OF_PROCESSES for entry in flat(document["timeline"])):
        changed = _copy(document)
        changed["timeline"] = _kept(changed["timeline"], lambda entry: word_of(entry) not in OF_PROCESSES)
        yield changed


def _fewer_runs(document: Mapping[str, Json]) -> Iterator[Document]:
    """One run in the place of several of one name; what is expected of each is expected of it."""
    for entry in flat(document["timeline"]):
        arguments = entry.get("execute")
        if isinstance(arguments, Mapping) and isinstance(arguments.get("count"), int) and arguments["count"] > 1:
            for count in sorted({1, arguments["count"] // 2} - {0}):
                changed = _copy(document)
                for other in flat(changed["timeline"]):
                    if other == entry:
                        other["execute"]["count"] = count
                gone = [f"{arguments.get('as', 'run')}-{number}" for number in range(count + 1, arguments["count"] + 1)]
                # How often agents are called, and what else is counted, is another number then.
                left = _expecting(changed, partial(_is_of_others, gone))
                changed["expect"] = _expecting({"expect": left}, lambda one: "run" in one)
                yield changed


def _without_acts(document: Mapping[str, Json]) -> Iterator[Document]:
    entries = document["timeline"]
    for index, entry in enumerate(entries):
        if _made_by(entry) is None:
            yield {**_copy(document), "timeline": _copy([*entries[:index], *entries[index + 1 :]])}
        if "when" in entry:
            changed = _copy(document)
            del changed["timeline"][index]["when"]
            yield changed
        for inner in range(len(entry.get("all", ()))):
            changed = _copy(document)
            del changed["timeline"][index]["all"][inner]
            if not changed["timeline"][index]["all"]:
                del changed["timeline"][index]
            yield changed


def _smaller_workflows(document: Mapping[str, Json]) -> Iterator[Document]:
    for name, definition in document.get("workflows", {}).items():
        if definition.get("invalid") or next(templates.names(definition), None) is not None:
            continue
        asked = {str(step.get("agent_name")) for step in definition["steps"].values()}
        agents = {agent: written for agent, written in document.get("agents", {}).items() if agent in asked}
        whole = Case({"name": name, **_copy(definition)}, _copy(agents), {}, ())
        for case in smaller_cases(whole):
            changed = _copy(document)
            changed["workflows"][name] = {key: value for key, value in case.workflow.items() if key != "name"}
            changed["agents"] = {**changed.get("agents", {}), **_copy(case.agents)}
            yield changed


def _smaller_by_faults(document: Mapping[str, Json]) -> Iterator[Document]:
    """Earlier and plainer fault points, as the grid of faults looks for them."""
    if any("fault" in entry for entry in document["timeline"]):
        yield from smaller_by_faults(document)


def tidy(document: Document, before: Mapping[str, Json]) -> Document | None:
    """Without what names a step that `before` has and this has not, and without what nothing names; None when nothing is left
    to be done, or to be expected where something was."""
    found = _copy(document)
    used = {
        str(long_arguments("execute", entry["execute"], found.get("workflows", {})).get("workflow"))
        for entry in flat(found["timeline"])
        if "execute" in entry
    }
    said = repr([found["timeline"], found.get("expect")])
    workflows = {
        name: one for name, one in found.get("workflows", {}).items() if name in used or f"workflows.{name}." in said
    }
    gone = _steps_of(before.get("workflows", {})) - _steps_of(workflows)
    found["timeline"] = _kept(found["timeline"], lambda entry: not _names_any(entry, gone))
    found["expect"] = _expecting(found, lambda one: not _names_any(one, gone))
    asked = {
        str(step.get("agent_name")) for one in workflows.values() for step in _steps(one) if isinstance(step, Mapping)
    }
    said = repr([found["timeline"], found.get("expect")])
    agents = {
        name: one
        for name, one in found.get("agents", {}).items()
        if name in asked or f"'{name}'" in said or f"agents.{name}." in said
    }
    for section, left in (("workflows", workflows), ("agents", agents)):
        found.pop(section, None)
        if left:
            found[section] = left
    if not found["expect"]:
        del found["expect"]
    is_empty = not found["timeline"] or ("expect" in before and "expect" not in found)
    return None if is_empty or _leaves_more_open(found, before) else _in_order(found)


def _leaves_more_open(document: Mapping[str, Json], before: Mapping[str, Json]) -> bool:
    """Whether more is taken away and never given back than before."""

    def open_of(one: Mapping[str, Json], takers: Sequence[str], giver: str) -> int:
        words = Counter(word_of(entry) for entry in flat(one["timeline"]))
        return sum(words[taker] for taker in takers) - words[giver]

    return any(open_of(document, *pair) > max(0, open_of(before, *pair)) for pair in _PAIRS)


def _steps_of(workflows: Mapping[str, Json]) -> set[str]:
    return {step for one in workflows.values() if isinstance(one.get("steps"), Mapping) for step in one["steps"]}


def _steps(definition: Mapping[str, Json]) -> list[Json]:
    steps = definition.get("steps")
    return list(steps.values()) if isinstance(steps, Mapping) else []


def _in_order(document: Document) -> Document:
    """The sections as files have them."""
    return {name: document[name] for name in _SECTIONS if name in document}


def _names_any(value: Json, steps: set[str]) -> bool:
    if isinstance(value, Mapping):
        named = (value.get("step"), value.get("from"))
        listed = value.get("steps")
        return (
            any(isinstance(one, str) and one in steps for one in named)
            or (isinstance(listed, list) and any(one in steps for one in listed if isinstance(one, str)))
            or any(_names_any(one, steps) for one in value.values())
        )
    return isinstance(value, list) and any(_names_any(one, steps) for one in value)


def _is_about_run(value: Json, alias: str) -> bool:
    if isinstance(value, Mapping):
        if _made_by(value) == alias or value.get("run") == alias:
            return True
        if any(isinstance(value.get(word), str) and value[word] == alias for word in ("cancel", "retry")):
            return True
        return any(_is_about_run(one, alias) for one in value.values())
    if isinstance(value, list):
        return any(_is_about_run(one, alias) for one in value)
    return isinstance(value, str) and f"{{{{{alias}.id}}}}" in value


def _is_of_others(aliases: Sequence[str], value: Document) -> bool:
    return not any(_is_about_run(value, alias) for alias in aliases)


def _made_by(entry: Mapping[str, Json]) -> str | None:
    if "execute" not in entry:
        return None
    return str(long_arguments("execute", entry["execute"], {}).get("as"))


def flat(timeline: Sequence[Json]) -> Iterator[Document]:
    """Every act, those within `all` among them."""
    for entry in timeline:
        if "all" in entry:
            yield from flat(entry["all"])
        else:
            yield entry


def _kept(timeline: Sequence[Json], is_kept: Callable[[Document], bool]) -> list[Document]:
    found: list[Document] = []
    for entry in timeline:
        if "all" in entry:
            inner = _kept(entry["all"], is_kept)
            if inner:
                found.append({**entry, "all": inner})
        elif is_kept(entry):
            found.append(entry)
    return found


def _expecting(document: Mapping[str, Json], is_kept: Callable[[Document], bool]) -> dict[str, list[Json]]:
    kept = {mode: [one for one in listed if is_kept(one)] for mode, listed in document.get("expect", {}).items()}
    return {mode: listed for mode, listed in kept.items() if listed}


def _copy(value: Json) -> Any:
    return copy.deepcopy(value)
