"""Smaller scenarios than one that fails: what the shrinking of a fault schedule tries, simplest first; pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_SHORT_SECONDS: Final = 6
_MOST_REDUCTIONS: Final = 50
_REFERENCE: Final = re.compile(r"\$\{(\w[\w-]*)\.output|\$\.(\w[\w-]*)\.output_data")

Data = dict[str, Any]


def smaller(data: Mapping[str, Any]) -> Iterator[Data]:
    """Scenarios with less in them, the greatest steps first. Each fits the schema when the given one does; whether each can
    be carried out is for whoever tries it to see."""
    yield from _at_once(data)
    yield from _sooner(data)
    yield from _without_later_faults(data)
    yield from _without_steps(data)
    yield from _smaller_composites(data)
    yield from _without_mappings(data)
    yield from _simpler_agents(data)
    yield from _without_acts(data)
    yield from _without_expectations(data)
    yield from _simpler_points(data)


def size(data: Mapping[str, Any]) -> int:
    """How much there is to read."""
    return len(repr({name: value for name, value in data.items() if name not in ("guarantee", "clauses")}))


def _changed(data: Mapping[str, Any]) -> Data:
    return copy.deepcopy(dict(data))


def _at_once(data: Mapping[str, Any]) -> Iterator[Data]:
    """As small as it gets by all that leaves its acts alone: often that fails as well, and saves the way there."""
    made = _changed(data)
    for reduce in (
        _sooner,
        _without_later_faults,
        _without_mappings,
        _smaller_composites,
        _without_steps,
        _simpler_agents,
    ):
        for _ in range(_MOST_REDUCTIONS):
            smallest = next(iter(reduce(made)), None)
            if smallest is None:
                break
            made = smallest
    if size(made) < size(data):
        yield from _with_earlier_points(made)


def _sooner(data: Mapping[str, Any]) -> Iterator[Data]:
    if data.get("deadline_seconds", 20) > _SHORT_SECONDS:
        yield {**_changed(data), "deadline_seconds": _SHORT_SECONDS}
    if data.get("alone"):
        yield {name: value for name, value in _changed(data).items() if name != "alone"}


def _without_later_faults(data: Mapping[str, Any]) -> Iterator[Data]:
    for index, entry in enumerate(data["timeline"]):
        if "then" in entry.get("fault", {}):
            made = _changed(data)
            del made["timeline"][index]["fault"]["then"]
            yield made
        if "fault" in entry and sum("fault" in one for one in data["timeline"]) > 1:
            made = _changed(data)
            del made["timeline"][index]
            yield made


def _without_steps(data: Mapping[str, Any]) -> Iterator[Data]:
    """Without one step of a row, the fault point moved forward as far as may be needed."""
    for name, definition in data.get("workflows", {}).items():
        steps = definition["steps"]
        inner = {one for step in steps.values() for one in _inner(step)}
        for step_id in [one for one in steps if one not in inner]:
            if len([one for one in steps if one not in inner]) == 1:
                continue
            made = _changed(data)
            _remove(made, name, step_id)
            yield from _with_earlier_points(made)


def _with_earlier_points(data: Data) -> Iterator[Data]:
    """The scenario, and the same with its fault points one to three crossings earlier, or at the first."""
    yield data
    faults = [entry["fault"] for entry in data["timeline"] if "fault" in entry]
    highest = max((fault["at"].get("nth", 1) for fault in faults), default=1)
    for less in sorted({1, 2, 3, highest - 1} & set(range(1, highest))):
        made = _changed(data)
        for entry in made["timeline"]:
            if "fault" in entry:
                entry["fault"]["at"]["nth"] = max(1, entry["fault"]["at"].get("nth", 1) - less)
        yield made


def _inner(step: Mapping[str, Any]) -> list[str]:
    """The steps that run as part of a step."""
    loop, fork = step.get("loop_config", {}), step.get("fork_join_config", {})
    branches = [one for branch in fork.get("branches", {}).values() for one in branch["steps"]]
    named = [step[key] for key in ("if_true_step", "if_false_step") if step.get(key)]
    return [*step.get("parallel_steps", ()), *loop.get("loop_body", ()), *branches, *named]


def _remove(data: Data, workflow: str, step_id: str) -> None:
    """Take a step out, with what runs as part of it, and with all that refers to it."""
    definition = data["workflows"][workflow]
    steps = definition["steps"]
    gone = {step_id, *_inner(steps[step_id])}
    following = steps[step_id].get("next_step")
    if definition["start_step"] == step_id:
        definition["start_step"] = following
    for one in gone:
        del steps[one]
    for step in steps.values():
        if step.get("next_step") == step_id:
            if following is None:
                del step["next_step"]
            else:
                step["next_step"] = following
        mapping = step.get("input_mapping", {})
        kept = {key: value for key, value in mapping.items() if not _refers(value, gone)}
        if mapping:
            step["input_mapping"] = kept
        if not kept:
            step.pop("input_mapping", None)
    data["timeline"] = [entry for entry in data["timeline"] if not _names(entry.get("when"), gone)]
    for listed in data.get("expect", {}).values():
        listed[:] = [one for one in listed if not _names(one, gone)]
    _tidy(data)


def _refers(value: Any, steps: set[str]) -> bool:
    return any((one or other) in steps for one, other in _REFERENCE.findall(repr(value)))


def _names(condition: Any, steps: set[str]) -> bool:
    if isinstance(condition, Mapping):
        return condition.get("step") in steps or any(_names(one, steps) for one in condition.values())
    return isinstance(condition, list) and any(_names(one, steps) for one in condition)


def _tidy(data: Data) -> None:
    """Agents that nobody asks, and expectations of which none is left, are gone."""
    asked = {
        step.get("agent_name") for definition in data["workflows"].values() for step in definition["steps"].values()
    }
    said = repr([data["timeline"], data.get("expect")])
    data["agents"] = {
        name: agent for name, agent in data.get("agents", {}).items() if name in asked or f"'{name}'" in said
    }
    data["expect"] = {mode: listed for mode, listed in data.get("expect", {}).items() if listed}


def _smaller_composites(data: Mapping[str, Any]) -> Iterator[Data]:
    for name, definition in data.get("workflows", {}).items():
        for step_id, step in definition["steps"].items():
            for inner in _inner(step)[:1]:
                made = _changed(data)
                steps = made["workflows"][name]["steps"]
                alone = {
                    **steps[inner],
                    "id": step_id,
                    **({"next_step": step["next_step"]} if "next_step" in step else {}),
                }
                for one in _inner(step):
                    steps.pop(one, None)
                steps[step_id] = alone
                _forget_outputs(made, name, step_id)
                yield from _with_earlier_points(made)
            collection = step.get("loop_config", {}).get("collection")
            if isinstance(collection, list) and len(collection) > 1:
                made = _changed(data)
                made["workflows"][name]["steps"][step_id]["loop_config"]["collection"] = collection[:-1]
                yield from _with_earlier_points(made)


def _forget_outputs(data: Data, workflow: str, step_id: str) -> None:
    """A step that is no composite any more has no loop around it, and another output."""
    for step in data["workflows"][workflow]["steps"].values():
        mapping = step.get("input_mapping", {})
        kept = {
            key: value
            for key, value in mapping.items()
            if not _refers(value, {step_id}) and "${loop." not in repr(value)
        }
        if kept:
            step["input_mapping"] = kept
        else:
            step.pop("input_mapping", None)
    data["expect"].pop("finally", None)
    _tidy(data)


def _without_mappings(data: Mapping[str, Any]) -> Iterator[Data]:
    made = _changed(data)
    for definition in made.get("workflows", {}).values():
        for step in definition["steps"].values():
            step.pop("input_mapping", None)
    made.get("expect", {}).pop("finally", None)
    if made != data:
        yield made
    made = _changed(data)
    for entry in made["timeline"]:
        if isinstance(entry.get("execute"), dict):
            entry["execute"].pop("input", None)
    if made != data:
        yield made


def _simpler_agents(data: Mapping[str, Any]) -> Iterator[Data]:
    agents = data.get("agents", {})
    if len(agents) > 1:
        made = _changed(data)
        first = next(iter(agents))
        for definition in made["workflows"].values():
            for step in definition["steps"].values():
                if "agent_name" in step:
                    step["agent_name"] = first
        _tidy(made)
        yield made
    made = _changed(data)
    made["agents"] = {name: [{"ok": {}}] for name in agents}
    made.get("expect", {}).pop("finally", None)
    if made["agents"] != agents:
        yield made


def _without_acts(data: Mapping[str, Any]) -> Iterator[Data]:
    for index, entry in enumerate(data["timeline"]):
        if "fault" not in entry and "execute" not in entry:
            made = _changed(data)
            del made["timeline"][index]
            yield made


def _without_expectations(data: Mapping[str, Any]) -> Iterator[Data]:
    expect = data.get("expect", {})
    for mode in expect:
        if len(expect) > 1:
            yield {**_changed(data), "expect": {one: listed for one, listed in expect.items() if one != mode}}


def _simpler_points(data: Mapping[str, Any]) -> Iterator[Data]:
    for index, entry in enumerate(data["timeline"]):
        at = entry.get("fault", {}).get("at", {})
        if at.get("nth", 1) > 1:
            made = _changed(data)
            made["timeline"][index]["fault"]["at"]["nth"] = 1
            yield made
        elif "nth" in at:
            made = _changed(data)
            del made["timeline"][index]["fault"]["at"]["nth"]
            yield made
        if "of" in at:
            made = _changed(data)
            del made["timeline"][index]["fault"]["at"]["of"]
            yield made
