"""A scenario told in prose, for people who read a report or review a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import contract
from harness.scenario.matchers import BOUNDS, word_of
from harness.scenario.model import Act, Scenario

_MOST_CHARACTERS: Final = 160


def explain(scenarios: Sequence[Scenario]) -> str:
    """The guarantee, the clauses, what happens step by step, what is expected, and how the variants differ.

    `scenarios` are those of one file, at least one; they are told by the first of them.
    """
    first = scenarios[0]
    lines = [first.id.partition("[")[0], "", f"Guarantee: {first.guarantee}", "", "Clauses:"]
    lines += [f"  {line}" for line in _clauses(scenarios)]
    lines += ["", "It needs:", *(f"  {line}" for line in _needs(first))]
    if len(scenarios) > 1:
        lines += ["", f"Variants ({len(scenarios)}; told below as in the first):"]
        lines += [f"  {variant_of(one)}: {_given(one, scenarios)}" for one in scenarios]
    if first.draws:
        lines += ["", f"Drawn anew for each of {first.examples} examples:"]
        lines += [f"  {name}: {_shown(draw)}" for name, draw in first.draws.items()]
    if first.agents:
        lines += ["", "Agents:"]
        for agent in first.agents.values():
            calls = ", then ".join(_entry(entry) for entry in agent.script)
            counted = " (counted for each task)" if agent.per == "task" else ""
            lines.append(f"  {agent.name} answers{counted}: {calls}{' from then on' if len(agent.script) > 1 else ''}")
    lines += ["", "What happens:"]
    lines += [f"  {number}. {line}" for number, act in enumerate(first.timeline, 1) for line in [_entry_of(act)]]
    if first.expectations:
        lines += ["", "What is expected:"]
        lines += [f"  {line}" for line in _expected(first)]
    lines += ["", "All checkers judge its history as well."]
    return "\n".join(lines) + "\n"


def variant_of(scenario: Scenario) -> str:
    """The name of the variant, or nothing."""
    return scenario.id.partition("[")[2].rstrip("]")


_MODES: Final = {
    "eventually": "In time,",
    "finally": "When all of that is so,",
    "always": "At all times,",
    "never": "At no time",
}


def _expected(scenario: Scenario) -> Iterator[str]:
    """What is expected; where one entry of the file speaks of several runs, it is told once."""
    for (mode, _), entries in groupby(scenario.expectations, lambda one: (one.mode, one.place)):
        first, *others = entries
        told = condition(first.what)
        if others:
            name = str(first.what.get("run") or first.what["update"]["run"])
            several = f"{name} to {name.rpartition('-')[0]}-{len(others) + 1}"
            told = told.replace(name, f"{'each' if mode != 'never' else 'any'} of {several}", 1)
        yield f"{_MODES[mode]} {told}"


def _clauses(scenarios: Sequence[Scenario]) -> Iterator[str]:
    by_id = {clause.id: clause for clause in contract.clauses()}
    for clause_id in dict.fromkeys(clause for scenario in scenarios for clause in scenario.clauses):
        clause = by_id[clause_id]
        level = contract.CONFORMANCE_LEVELS[clause.conformance_level]
        yield f"{clause_id} {clause.title} ({clause.level}, {level}): {' '.join(clause.text.split())}"


def _needs(scenario: Scenario) -> Iterator[str]:
    needs = scenario.needs
    yield f"roles: {', '.join(sorted(needs.roles))}"
    if needs.step_types:
        yield f"step types: {', '.join(sorted(needs.step_types))}"
    if needs.extensions:
        yield f"extensions: {', '.join(sorted(needs.extensions))}"
    if scenario.alone:
        yield "the subject for itself, since it disturbs processes"
    yield f"at most {scenario.deadline_seconds:g} s for each waiting"


def _given(scenario: Scenario, among: Sequence[Scenario]) -> str:
    """The parameters in which the variants differ."""
    differing = [
        name
        for name in scenario.parameters
        if len({json.dumps(one.parameters.get(name), sort_keys=True) for one in among}) > 1
    ]
    return ", ".join(f"{name} = {_shown(scenario.parameters[name])}" for name in differing) or "nothing of its own"


def _entry(entry: Mapping[str, Any]) -> str:
    ((word, argument),) = entry.items()
    if word == "slow":
        return f"after {argument['seconds']} s {_entry(argument.get('then', {'echo': True}))}"
    if word == "held":
        return f"once released {_entry(argument)}"
    if word == "if":
        then, otherwise = _entry(argument["then"]), _entry(argument["else"])
        return f"{then} when its input is {_shown(argument['input'])}, else {otherwise}"
    plain = {"echo": "its input", "hang": "never", "reset": "with a reset connection"}
    known = {"ok": "{}", "fail": "a failed task that says {}", "rpc_error": "the JSON-RPC error {}"}
    known |= {"status": "status {}", "body": "the text {}"}
    return plain[word] if word in plain else known[word].format(_shown(argument))


def _entry_of(act: Act) -> str:
    told = _act(act)
    return f"Once {condition(act.when)}: {told}." if act.when is not None else f"{told[0].upper()}{told[1:]}."


def _act(act: Act) -> str:
    arguments = act.arguments
    if act.word == "all":
        return "at the same time: " + "; ".join(
            _act(inner) if inner.when is None else f"once {condition(inner.when)}, {_act(inner)}"
            for inner in arguments["acts"]
        )
    if act.word == "wait":
        return f"wait until {condition(arguments)}"
    return _ACTS[act.word].format(**{name: _shown(value) for name, value in _spoken(act.word, arguments).items()})


_ACTS: Final = {
    "execute": "execute {workflow} as {runs} with input {input}{via}",
    "cancel": "cancel {run}{via}",
    "retry": "retry {run}{origin}{via}",
    "kill": "kill {process}",
    "stop": "stop {process} in order",
    "start": "start {process}",
    "restart": "restart {process}",
    "pause": "pause {process}",
    "resume": "let {process} go on",
    "add": "add one more {process}",
    "remove": "stop the last {process}",
    "hold": "hold the calls of {agent}",
    "release": "release the calls of {agent}",
    "answer": "answer the task of step {step} of {run} in the bridge's place with {result}{times}",
    "publish": "publish to {topic}: {message}{times}",
    "duplicate": "send the messages{where} seen on {topic} again{times}",
    "redeliver": "set the offsets of the {group}'s group back to the beginning{topic}",
    "fault": "{do} {at}{then}",
    "cut": "cut {who} off from the {part}{lasting}",
    "join": "join {who} to the {part} again",
    "exhaust": "take all connections of the {part} for {seconds} s",
    "fill": "fill the disk of the {part} for {seconds} s",
    "rest": "request {method} {path}{body}{answered}",
}


def _fault(arguments: Mapping[str, Any]) -> dict[str, str]:
    """What an act `fault` does, where, and what follows."""
    point = arguments["at"]
    number = f" {point['number']}" if "number" in point else ""
    of = f" of {point['of']}" if "of" in point else ""
    at = (
        f"at the {point['boundary']}{of} number {point.get('nth', 1)} of the {point['role']}{number}, counted from here"
    )
    then = ""
    if "then" in arguments:
        following = _fault(arguments["then"])
        then = f"; after that {following['do']} {following['at'].replace('from here', 'from then')}"
    return {"do": str(arguments["do"]).replace("_", " "), "at": at, "then": then}


class _Words(str):
    """A text to be told without quotes."""

    __slots__ = ()


def _spoken(word: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the sentence of the act wants them."""
    told: dict[str, Any] = {key: _Words(value) if isinstance(value, str) else value for key, value in arguments.items()}
    told["via"] = _Words(_VIA[arguments["via"]] if arguments.get("via") in _VIA else "")
    times = arguments.get("times", 1)
    told["times"] = _Words("" if times == 1 else f", {times} times")
    if "role" in arguments:
        number = f" {arguments['number']}" if "number" in arguments else ""
        told["process"] = _Words(f"{arguments['role']}{number}")
    if word == "execute":
        several = f"{arguments['as']}-1 to {arguments['as']}-{arguments['count']}" if "count" in arguments else None
        told["runs"] = _Words(several or arguments["as"])
    elif word == "retry":
        told["origin"] = _Words(f" from step {arguments['from']}" if "from" in arguments else "")
    elif word == "answer":
        failed = f"the failure {_shown(arguments.get('error'))}"
        told["result"] = _Words(f"the output {_shown(arguments['output'])}" if "output" in arguments else failed)
    elif word == "publish":
        told["message"] = arguments.get("value", arguments.get("raw"))
    elif word == "duplicate":
        told["where"] = _Words(f" with {_fields(arguments['where'])}" if "where" in arguments else "")
    elif word == "redeliver":
        told["topic"] = _Words(f", on {arguments['topic']} alone" if "topic" in arguments else "")
    elif word in ("cut", "join"):
        told["who"] = told.get("process", _Words("all processes"))
        told["lasting"] = _Words(f" for {arguments['seconds']} s" if "seconds" in arguments else "")
    elif word == "fault":
        told |= {name: _Words(text) for name, text in _fault(arguments).items()}
    elif word == "rest":
        body = f" with {_shown(arguments['body'])}" if "body" in arguments else ""
        told["body"] = _Words(f" with the text {_shown(arguments['raw'])}" if "raw" in arguments else body)
        asked = [f"{name} {matcher(arguments[name])}" for name in ("status", "answer") if name in arguments]
        told["answered"] = _Words(f"; {' and '.join(asked)}" if asked else "")
    return told


_VIA: Final = {"rest": " over REST", "kafka": " by row and message", "message": " by message alone"}


def condition(what: Mapping[str, Any]) -> str:
    """A condition as part of a sentence."""
    for word, joint in (("all", " and "), ("any", " or ")):
        if word in what:
            return f"({joint.join(condition(part) for part in what[word])})"
    if "not" in what:
        return f"it is not so that {condition(what['not'])}"
    if "ready" in what:
        return f"{what['ready']} is ready"
    subject = next(key for key in _ABOUT if key in what)
    asked = [_asked(key, value) for key, value in what.items() if key in _ASKED and key != subject]
    return f"{_ABOUT[subject](what)} {' and '.join(asked) if asked else 'are there'}"


def _asked(key: str, value: Any) -> str:
    if key in _COUNTS:
        told = _count(value)
    elif key in _MATCHED:
        told = matcher(value)
    elif key == "row":
        told = _fields(value)
    else:
        told = str(value) if isinstance(value, str) else _shown(value)
    return f"{_ASKED[key]} {told}"


_ABOUT: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "step": lambda what: (
        f"step {what['step']} of {what['run']}"
        + (f", iteration {what['iteration']}," if "iteration" in what else "")
        + (f", branch {what['branch']}," if "branch" in what else "")
    ),
    "run": lambda what: str(what["run"]),
    "agent": lambda what: f"agent {what['agent']}",
    "message": lambda what: (
        f"messages on {what['message']['topic']}"
        + (f" by the {what['message']['by']}" if "by" in what["message"] else "")
        + (f" with {_fields(what['message']['where'])}" if "where" in what["message"] else "")
        + (" that a group of the subject has consumed" if "consumed" in what["message"] else "")
    ),
    "update": lambda what: "updates of " + ", ".join(f"{key} {value}" for key, value in what["update"].items()),
    "rest": lambda what: f"{what['rest'].get('method', 'GET')} {what['rest']['path']}",
    "table": lambda what: (
        f"rows of the table {what['table']}" + (f" with {_fields(what['where'])}" if "where" in what else "")
    ),
}
_ASKED: Final = {
    "is": "is",
    "rest": "is told over REST as",
    "row": "has a row with",
    "error": "has an error that",
    "steps": "begins the steps",
    "times": "was asked for",
    "input": "has an input that",
    "output": "has an output that",
    "calls": "was called",
    "answered": "has answered",
    "inputs": "got a list of inputs that",
    "at_once": "has open at once",
    "keys": "was given for each task keys that are the",
    "count": "are there",
    "status": "has a status that",
    "answer": "gives an answer that",
}
_COUNTS: Final = ("times", "calls", "answered", "at_once", "count")
_MATCHED: Final = ("error", "input", "output", "status", "answer", "inputs")


def _count(count: Any) -> str:
    if isinstance(count, Mapping):
        return " and ".join(f"{key.replace('_', ' ')} {value}" for key, value in count.items()) + " times"
    return "once" if count == 1 else f"{count} times"


def matcher(what: Any) -> str:
    """A matcher as the end of a sentence."""
    if not isinstance(what, Mapping) or word_of(what) is None:
        return f"is {_shown(what)}"
    if what.keys() <= BOUNDS:
        return "is " + " and ".join(f"{key.replace('_', ' ')} {value}" for key, value in what.items())
    ((word, argument),) = what.items()
    return {
        "bind": f"is kept as {{{{{argument}}}}}",
        "exists": "is there" if argument else "is not there",
        "matches": f"matches /{argument}/",
        "not": f"is not one that {matcher(argument)}",
    }.get(word, f"{_VERBS.get(word, word)} {_shown(argument)}")


_VERBS: Final = {
    "equals": "is", "contains": "contains", "like": "has at least", "one_of": "is one of", "all_of": "is all of",
    "type": "is of type", "length": "is of length", "anywhere": "holds, however deep,", "ascending": "ascends by",
    "descending": "descends by",
}  # fmt: skip


def _fields(where: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} that {matcher(value)}" for name, value in where.items())


def _shown(value: Any) -> str:
    if isinstance(value, _Words):
        return str(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
