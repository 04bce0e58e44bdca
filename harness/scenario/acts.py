"""The timeline and the expectations of a file, brought into their long form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.scenario import model
from harness.scenario.model import MODES, Act, Expectation
from harness.scenario.parts import Parts

WORDS: Final = (
    "execute", "cancel", "retry", "kill", "stop", "start", "restart", "pause", "resume", "add", "remove", "hold", "release",
    "answer", "publish", "duplicate", "redeliver", "fault", "cut", "join", "exhaust", "fill", "rest", "wait", "all",
)  # fmt: skip
"""What an act can be; exactly one stands in each entry of the timeline."""

_SHORT: Final[Mapping[str, str]] = {
    "execute": "workflow",
    "cancel": "run",
    "retry": "run",
    **dict.fromkeys(("kill", "stop", "start", "restart", "pause", "resume", "add", "remove"), "role"),
    "hold": "agent",
    "release": "agent",
    "redeliver": "group",
    **dict.fromkeys(("cut", "join", "exhaust", "fill"), "part"),
}
"""Which argument a text stands for, where an act's arguments are no mapping."""

_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "execute": {"input": {}, "as": "run"},
    "answer": {"times": 1},
    "exhaust": {"seconds": 2},
    "fill": {"seconds": 3},
    "publish": {"times": 1},
    "duplicate": {"times": 1},
    "rest": {"method": "GET"},
}


def word_of(entry: Mapping[str, Any]) -> str:
    """The word of an entry of the timeline."""
    return next(word for word in WORDS if word in entry)


def long_arguments(word: str, written: Any, workflows: Mapping[str, Any]) -> dict[str, Any]:
    """An act's arguments as a mapping, with defaults (not for `all` and `wait`)."""
    given = dict(written) if isinstance(written, Mapping) else {_SHORT[word]: written}
    arguments = {**_DEFAULTS.get(word, {}), **given}
    if word == "execute" and "workflow" not in arguments and len(workflows) == 1:
        (arguments["workflow"],) = workflows
    return arguments


def acts_of(parts: Parts) -> tuple[Act, ...]:
    """The timeline."""
    counts = run_counts(parts.data)
    entries = parts.data["timeline"]
    return tuple(act for index, entry in enumerate(entries) for act in _acts(parts, entry, ("timeline", index), counts))


def expectations_of(parts: Parts) -> tuple[Expectation, ...]:
    """What is expected, in the order of the file; an expectation of several runs becomes one for each."""
    counts = run_counts(parts.data)
    expect: Mapping[str, Any] = parts.data.get("expect", {})
    return tuple(
        Expectation(mode, what, _place(parts, ("expect", mode, index)))
        for mode in MODES
        for index, written in enumerate(expect.get(mode, ()))
        for what in _each_run(written, counts, denied=mode == "never")
    )


def executes_of(timeline: Any) -> Iterator[dict[str, Any]]:
    """The arguments of every `execute`, those in `all` among them."""
    for entry in timeline:
        word = word_of(entry)
        if word == "all":
            yield from executes_of(entry["all"])
        elif word == "execute":
            yield long_arguments(word, entry[word], {})


def run_counts(data: Mapping[str, Any]) -> dict[str, int]:
    """Name in `execute` → how many runs it makes, where it makes several and their number is known."""
    return {
        arguments["as"]: arguments["count"]
        for arguments in executes_of(data["timeline"])
        if isinstance(arguments.get("count"), int)
    }


def each_run_meant(condition: Mapping[str, Any], counts: Mapping[str, int], *, denied: bool = False) -> dict[str, Any]:
    """A condition in which a name of several runs has become `all` of them; below a `not` `any`, so that none may be."""
    for word in ("all", "any"):
        if word in condition:
            return {**condition, word: [each_run_meant(part, counts, denied=denied) for part in condition[word]]}
    if "not" in condition:
        return {**condition, "not": each_run_meant(condition["not"], counts, denied=not denied)}
    each = _each_run(condition, counts, denied=denied)
    return each[0] if len(each) == 1 else {"any" if denied else "all": each}


def _each_run(condition: Mapping[str, Any], counts: Mapping[str, int], *, denied: bool) -> list[dict[str, Any]]:
    if any(word in condition for word in ("all", "any", "not")):
        return [each_run_meant(condition, counts, denied=denied)]
    name = condition.get("run") or condition.get("update", {}).get("run")
    if name not in counts:
        return [dict(condition)]
    if "update" in condition:
        return [
            {**condition, "update": {**condition["update"], "run": f"{name}-{number}"}}
            for number in range(1, counts[name] + 1)
        ]
    return [{**condition, "run": f"{name}-{number}"} for number in range(1, counts[name] + 1)]


def _acts(parts: Parts, entry: Mapping[str, Any], place: tuple[str | int, ...], counts: Mapping[str, int]) -> list[Act]:
    word = word_of(entry)
    when = each_run_meant(entry["when"], counts) if "when" in entry else None
    where = _place(parts, (*place, word))
    arguments: Mapping[str, Any]
    if word == "all":
        inner = enumerate(entry["all"])
        acts = tuple(act for index, part in inner for act in _acts(parts, part, (*place, "all", index), counts))
        return [Act(word, {"acts": acts}, when, where)]
    if word == "wait":
        return [Act(word, each_run_meant(entry["wait"], counts), when, where)]
    arguments = long_arguments(word, entry[word], parts.data.get("workflows", {}))
    if word in ("cancel", "retry", "answer") and arguments["run"] in counts:
        name = arguments["run"]
        numbers = range(1, counts[name] + 1)
        each = tuple(Act(word, {**arguments, "run": f"{name}-{number}"}, None, where) for number in numbers)
        return [Act("all", {"acts": each}, when, where)]
    return [Act(word, arguments, when, where)]


def _place(parts: Parts, place: tuple[str | int, ...]) -> model.Place:
    mistake = parts.mistake(place, "", at_key=True)
    return model.Place(mistake.path, mistake.line, mistake.column)
