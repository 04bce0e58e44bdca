"""A case as a scenario: in memory for the runner, and as a file that a person can read, commit and run."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from harness.exploration.judging import Judged
from harness.generation import Case
from harness.generation.cases import RUN, WORKFLOW
from harness.generation.invalid import OF_THE_NAME
from harness.history import Event
from harness.oracle import Allowed, Difference, Execution, Said, Undecided
from harness.oracle.differences import tasks_asked
from harness.oracle.wildcards import is_fixed
from harness.scenario import templates
from harness.scenario.acts import long_arguments, word_of
from harness.scenario.matchers import WORDS
from harness.scenario.model import Act, Agent, Place, Scenario
from harness.scenario.needs import is_alone, needs_of

Json = Any

_TEMPLATE = re.compile(rf"\{{\{{ *({templates.NAME}(?:\.{templates.NAME})*) *\}}\}}")
_NOWHERE = Place(Path("generated"), 1, 1)
_WIDE = 110
_DEADLINE_SECONDS = 20.0
MOST_EXPECTED = 4
REFUSED_NAME = "refused-{{unique}}"
_WAITING, _WAITED_FOR = "waiting", "waited-for"


def document(
    case: Case, guarantee: str, clauses: Sequence[str], expect: Mapping[str, Json] | None = None
) -> dict[str, Json]:
    """The data of a scenario file."""
    if case.is_refused:
        return _refused_document(case, guarantee, clauses)
    workflow = {key: value for key, value in case.workflow.items() if key != "name"}
    if case.flaw is not None:
        workflow["invalid"] = True
    found: dict[str, Json] = {
        "guarantee": _escaped(guarantee),
        "clauses": list(clauses),
        "workflows": {WORKFLOW: _escaped(workflow)},
        "agents": _escaped(case.agents),
        "timeline": [_act(act) for act in case.whole_timeline],
    }
    return {**found, "expect": expect} if expect else found


def among_others(data: Mapping[str, Json], count: int) -> dict[str, Json]:
    """The data of a scenario file of one plain run, with so many of its kind instead, asked for at once."""
    (first, *rest) = data["timeline"]
    asked = {**first, "execute": {**first["execute"], "count": count, "via": "kafka"}}
    expect = {
        mode: kept
        for mode, listed in data.get("expect", {}).items()
        if (kept := [one for one in listed if f"{{{{{RUN}.id}}}}" not in repr(one)])
    }
    return {**data, "timeline": [asked, *rest], "expect": expect}


def beside_one_that_waits(data: Mapping[str, Json], status: str) -> dict[str, Json]:
    """The data of a scenario file of one plain run, which ends so, while another run waits for its agent (ISO-06)."""
    (first, *rest) = data["timeline"]
    waiting = {"start_step": "s", "steps": {"s": {"id": "s", "agent_name": _WAITED_FOR}}}
    return {
        **data,
        "workflows": {**data["workflows"], _WAITING: waiting},
        "agents": {**data["agents"], _WAITED_FOR: [{"held": {"ok": {}}}]},
        "timeline": [
            {"execute": {"workflow": _WAITING, "as": _WAITING}},
            {
                "when": {"agent": _WAITED_FOR, "calls": 1},
                "execute": {**first["execute"], "workflow": WORKFLOW},
            },
            *rest,
            {"when": {"run": RUN, "is": status}, "release": _WAITED_FOR},
        ],
    }


def _refused_document(case: Case, guarantee: str, clauses: Sequence[str]) -> dict[str, Json]:
    """An invalid definition, offered to the API: refused, its place named, and nothing of it left."""
    flaw = case.flaw or {}
    body: dict[str, Json] = dict(_escaped(case.workflow))
    has_name = flaw["way"] not in OF_THE_NAME
    if has_name:
        body["name"] = REFUSED_NAME
    told = {"anywhere": {"contains": _escaped(flaw["place"])}}
    offered = {"method": "POST", "path": "/workflows", "body": body, "status": {"one_of": [400, 422]}, "answer": told}
    left = [{"table": "workflow_definitions", "where": {"name": REFUSED_NAME}, "count": 0}] if has_name else []
    found: dict[str, Json] = {
        "guarantee": _escaped(guarantee),
        "clauses": list(clauses),
        "timeline": [{"rest": offered}],
    }
    return {**found, "expect": {"finally": left}} if left else found


def scenario_of(case: Case, name: str, clauses: Sequence[str] = ("CMP-01",)) -> Scenario:
    """The scenario of a case without any expectation, as the runner wants it."""
    data = document(case, "generated", clauses)
    workflows: Mapping[str, Json] = data.get("workflows", {})
    return Scenario(
        id=name,
        path=_NOWHERE.path,
        guarantee="generated",
        clauses=tuple(clauses),
        needs=needs_of(data),
        alone=is_alone(data),
        deadline_seconds=_DEADLINE_SECONDS,
        workflows=MappingProxyType({name: _plain(one) for name, one in workflows.items()}),
        agents=MappingProxyType({agent: _agent(agent, written) for agent, written in data.get("agents", {}).items()}),
        timeline=tuple(_long(act, workflows) for act in data["timeline"]),
        expectations=(),
    )


def _plain(definition: Mapping[str, Json]) -> Mapping[str, Json]:
    return {key: value for key, value in definition.items() if key != "invalid"}


def _agent(name: str, written: Any) -> Agent:
    long = written if isinstance(written, Mapping) else {"script": written}
    known = ("per", "timeout_ms", "retry_config", "auth", "registered", "status")
    return Agent(name=name, script=tuple(long["script"]), **{word: long[word] for word in known if word in long})


def _long(written: Mapping[str, Json], workflows: Mapping[str, Json]) -> Act:
    word = word_of(written)
    return Act(word, long_arguments(word, written[word], workflows), written.get("when"), _NOWHERE)


def _act(act: Mapping[str, Json]) -> dict[str, Json]:
    """Acts name the run by a template, on purpose; what is data in them is escaped."""
    if "execute" in act:
        return {**act, "execute": _escaped(act["execute"])}
    if "answer" in act and isinstance(act["answer"], Mapping):
        return {**act, "answer": _escaped(act["answer"])}
    return dict(act)


def _escaped(value: Json) -> Json:
    """Data that look like a template, so that they stay data."""
    if isinstance(value, str):
        return _TEMPLATE.sub(lambda match: f"{{{{{match[0]}}}}}", value) if "{{" in value else value
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, (list, tuple)) else value


def expected_of(case: Case, judged: Judged) -> dict[str, Json]:
    """What a scenario file expects of a case that was judged; nothing but an end where the oracle does not know."""
    if case.flaw is not None:
        said = {"run": RUN, "error": {"length": {"at_least": 1}}}
        asked = {"message": {"topic": "tasks", "where": {"run_id": "{{r.id}}"}}, "count": 0}
        return {} if case.is_refused else {"eventually": [{"run": RUN, "is": "FAILED"}], "finally": [said, asked]}
    try:
        expected = expectations(case.allowed(), judged.differences)
        more = [_end_of(name, case.allowed(run=name)) for name in case.others]
        if any(one.clause == "CAN-08" for one in judged.findings):
            # The oracle leaves it open, and a file is read by those who do not.
            open_rows = {"run_id": f"{{{{{RUN}.id}}}}", "status": "RUNNING"}
            more.append({"table": "step_executions", "where": open_rows, "count": 0})
        return {**expected, "eventually": [*expected["eventually"], *more]}
    except Undecided:
        ends = [{"run": RUN, "is": status} for status in ("COMPLETED", "FAILED", "CANCELLED")]
        return {"eventually": [{"any": ends}]}


def expectations(allowed: Allowed, differences: Sequence[Difference]) -> dict[str, Json]:
    """What a scenario file expects of a case: how the run ends, and what the differing steps come to."""
    found: dict[str, Json] = {"eventually": [_end_of(RUN, allowed)]}
    if allowed.is_cut:
        return found
    steps = list(dict.fromkeys(one.step for one in differences if one.step is not None))
    if not steps and len(allowed.plan.agents) <= MOST_EXPECTED and not allowed.was_cut:
        steps = list(allowed.plan.agents)
    listed = [line for step in steps[:MOST_EXPECTED] if step in allowed.plan.steps for line in _of_step(allowed, step)]
    if not allowed.earlier:
        # What an executor keeps of before a retry beside the newer rows is left to it (TBL-07).
        unexplained = [one.step for one in differences if one.what == "row" and one.clause in ("CMP-08", "CMP-03")]
        listed += [_at_most(allowed, step) for step in dict.fromkeys(unexplained) if step is not None]
    if any(one.what == "error" and one.step is None for one in differences) and allowed.final.causes:
        words = [said or step for step, said in allowed.final.causes]
        errors = [{"run": RUN, "error": {"contains": _escaped(word)}} for word in dict.fromkeys(words)]
        listed.append(errors[0] if len(errors) == 1 else {"any": errors})
    return {**found, "finally": listed} if listed else found


def _end_of(run: str, allowed: Allowed) -> dict[str, Json]:
    ends: list[dict[str, Json]] = [{"run": run, "is": status} for status in sorted(allowed.statuses)]
    return ends[0] if len(ends) == 1 else {"any": ends}


def _of_step(allowed: Allowed, step: str) -> list[dict[str, Json]]:
    """The expectations about one step, as far as rows without their places can be held to them."""
    executions = [one for one in allowed.final.executions.values() if one.step == step]
    asked = len(tasks_asked(allowed, step))
    line: dict[str, Json] = {"run": RUN, "step": _escaped(step)}
    is_sure = all(not one.may_be_absent for one in executions)
    if allowed.plan.kind(step) == "agent" and is_sure:
        # How far a round came that was cancelled is not known.
        line["times"] = {"at_most": asked} if allowed.was_cut else asked
    if len(executions) == 1 and is_sure:
        line |= _facts(executions[0])
    elif executions and is_sure and all(one.statuses == executions[0].statuses for one in executions):
        in_turn = [one for one in executions if is_fixed(one.input)]
        if len(in_turn) == len(executions) and _is_in_turn(allowed, step):
            return [
                *([line] if "times" in line else []),
                *(
                    {"run": RUN, "step": _escaped(step), "iteration": index, **_facts(one)}
                    for index, one in enumerate(executions)
                ),
            ]
    return [line] if len(line) > 2 else []


def _at_most(allowed: Allowed, step: str) -> dict[str, Json]:
    """That a step has no more rows than it is executed; `times` counts its tasks alone."""
    most = sum(one.step == step for one in allowed.final.executions.values())
    where = {"run_id": f"{{{{{RUN}.id}}}}", "step_id": _escaped(step)}
    return {"table": "step_executions", "where": where, "count": {"at_most": most} if most else 0}


def _is_in_turn(allowed: Allowed, step: str) -> bool:
    modes = [allowed.plan.steps[loop]["loop_config"].get("execution_mode") for loop in allowed.plan.loops_around(step)]
    return bool(modes) and "parallel" not in modes and not allowed.earlier


def _facts(one: Execution) -> dict[str, Json]:
    facts: dict[str, Json] = {}
    if len(one.statuses) == 1:
        (facts["is"],) = one.statuses
    if one.input and is_fixed(one.input):
        facts["input"] = _literal(one.input)
    if one.statuses == {"COMPLETED"}:
        facts["output"] = _literal(one.output)
    elif one.statuses == {"FAILED"} and one.said:
        facts["error"] = {"contains": _escaped(one.said)}
    return facts


def _literal(value: Json) -> Json:
    """A value as a matcher that stands for it."""
    if isinstance(value, Said):
        return {"contains": _escaped(value.part)} if value.part else {"type": "string"}
    if not is_fixed(value):
        if isinstance(value, Mapping):
            return {_escaped(key): _literal(item) for key, item in value.items()}
        return [_literal(item) for item in value]
    escaped = _escaped(value)
    return {"equals": escaped} if _has_words(value) else escaped


def _has_words(value: Json) -> bool:
    if isinstance(value, Mapping):
        return bool(set(value) & set(WORDS)) or any(map(_has_words, value.values()))
    return isinstance(value, list) and any(map(_has_words, value))


def text_of(data: Mapping[str, Json], head: Sequence[str]) -> str:
    """The file's text, with these lines as comment at its head; what is short stands on one line."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.allow_unicode = True
    written = CommentedMap()
    for key, value in data.items():
        written[key] = _laid_out(value, 2)
    stream = io.StringIO()
    yaml.dump(written, stream)
    comment = "".join(f"# {' '.join(line.split())}\n" if line.strip() else "#\n" for line in head)
    return comment + stream.getvalue()


def _laid_out(value: Json, indent: int) -> Json:
    """Mappings and lists of a few words in the flow style, all others as blocks."""
    if isinstance(value, Mapping):
        made: Any = CommentedMap((key, _laid_out(item, indent + 2)) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        made = CommentedSeq(_laid_out(item, indent + 2) for item in value)
    else:
        return value
    is_definition = isinstance(value, Mapping) and "start_step" in value and isinstance(made.get("steps"), CommentedMap)
    if is_definition:
        made["steps"].fa.set_block_style()
    elif not value or (len(str(value)) + indent <= _WIDE and indent > 2):
        made.fa.set_flow_style()
    return made


def with_case(events: Sequence[Event], case: Case) -> tuple[Event, ...]:
    """A history whose beginning holds the generated case, so that it can be made smaller by itself."""
    told = json.loads(case.key)
    return tuple(
        replace(event, data={**event.data, "case": told})
        if event.kind == "begin" and event.source == "harness"
        else event
        for event in events
    )
