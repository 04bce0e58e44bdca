"""Timelines: acts on one run, each at a condition that is certain to come about, as the oracle tells.

Every act is in the form of scenario files, on the run `r`. An act with `before: true` comes before the run is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from harness.generation.beside import neighbour
from harness.generation.choosing import Chooser
from harness.generation.making import Act, Changed, Json, Making
from harness.generation.over_rest import misuse, read
from harness.oracle import Allowed, Undecided, allowed
from harness.oracle.certainty import may_answer

ON_A_RUN = ("cancel", "retry", "duplicate", "late", "forge", "delay", "time_out", "early_cancel", "together")
"""What can be done to one run while others are under way."""

BESIDE_A_RUN = ("neighbour",)
"""What happens beside a run: another one of its workflow."""

OVER_REST = ("misuse", "read")
"""What is asked of an API about a run that has ended."""

_SELDOM_POSSIBLE = frozenset({"retry", "time_out", "together"})
"""What few cases let be done to them: tried first half of the time, or it would hardly ever be done."""

_RESULTS: Sequence[Mapping[str, Json]] = (
    {"output": {"forged": True}},
    {"error": "forged"},
    {"output": None},
    {"error": None},
    {"error": ""},
)
_WAYS_TO_CANCEL: Sequence[Mapping[str, str]] = ({}, {"via": "message"})

ON_PROCESSES = ("kill", "add", "remove", "restart")
"""What disturbs all runs of a subject."""


@dataclass(frozen=True)
class Disorder:
    """What may be done: `words` of ON_A_RUN, BESIDE_A_RUN, OVER_REST and ON_PROCESSES, to one case in `one_in`; `ways` are
    how runs are asked for (None: as the subject lets it)."""

    words: tuple[str, ...] = ON_A_RUN
    one_in: int = 3
    ways: tuple[str | None, ...] = (None,)
    counting_agents: bool = True


USUAL_DISORDER = Disorder()


@st.composite
def timelines(
    draw: st.DrawFn,
    workflow: Mapping[str, Any],
    given: Any,
    agents: Mapping[str, Any],
    disorder: Disorder = USUAL_DISORDER,
) -> tuple[Mapping[str, Any], Mapping[str, Any], tuple[Act, ...]]:
    """(workflow, agents, acts): a timeline for a run, and the workflow and agents with what it needs of them, such as an
    agent that is held."""
    return some_timeline(Chooser(draw), workflow, given, agents, disorder)


def some_timeline(
    choose: Chooser, workflow: Mapping[str, Any], given: Any, agents: Mapping[str, Any], disorder: Disorder
) -> Changed:
    """One such timeline; without any act where nothing of what was drawn can be done to the run."""
    unchanged: Changed = (workflow, agents, ())
    try:
        plain = allowed(workflow, given, agents)
    except Undecided:
        return unchanged
    making = Making(workflow, given, agents, plain, choose)
    seldom = [word for word in disorder.words if word in _SELDOM_POSSIBLE] if choose.rarely(2) else []
    for word in dict.fromkeys((*_rotated(choose, seldom), *_rotated(choose, disorder.words))):
        made: Changed | None = _MAKERS[word](making)
        if made is not None:
            return made
    return unchanged


def _rotated(choose: Chooser, words: Sequence[str]) -> Sequence[str]:
    """All words, from any of them on."""
    first = choose.number(0, len(words) - 1) if words else 0
    return (*words[first:], *words[:first])


def _cancel(making: Making) -> Changed | None:
    choose = making.choose
    steps = making.sure_steps()
    if not steps or not making.is_repeatable:
        return (making.workflow, making.agents, ({"cancel": "r"},))
    step = choose.one_of(steps)
    held = making.with_held(step)
    if held is None:
        return (making.workflow, making.agents, ({"when": making.has_begun(step), "cancel": "r"},))
    cancelled = {"run": "r", "is": "CANCELLED"}
    agent = making.agent_of(step)
    begun = making.has_begun(step)
    acts: list[Act] = [{"when": begun, "cancel": "r"}]
    match choose.number(0, 3):
        case 0:
            acts.append({"when": cancelled, "release": agent})
        case 1:
            again: dict[str, Json] = {"run": "r", "by": "another", **choose.one_of(_WAYS_TO_CANCEL)}
            acts = [{"when": begun, "cancel": {"run": "r", "by": "one"}}, {"when": cancelled, "cancel": again}]
            acts.append({"release": agent})
        case _:
            acts += [{"when": cancelled, "release": agent}, {"retry": "r"}]
    return making.workflow, held, tuple(acts)


def _early_cancel(making: Making) -> Changed | None:
    act = {"before": True, "cancel": {"run": "r", "via": "message"}}
    return making.workflow, making.agents, (act,)


def _retry(making: Making) -> Changed | None:
    if making.status != "FAILED":
        return None
    choose = making.choose
    chain = making.plain.plan.chain
    reached = [step for step in chain if any(path[0][1] == step for path in making.plain.final.executions)]
    act: Json = {"run": "r", "from": choose.one_of(reached)} if choose.rarely(2) else "r"
    acts: tuple[Act, ...] = ({"when": {"run": "r", "is": "FAILED"}, "retry": act},)
    try:
        allowed(making.workflow, making.given, making.agents, acts)
    except Undecided:
        return None
    return making.workflow, making.agents, acts


def _duplicate(making: Making) -> Changed | None:
    choose = making.choose
    steps = making.sure_steps()
    topics = ["requests"]
    if steps:
        topics = ["results", "requests", "tasks"] if making.is_repeatable else ["results", "requests"]
    topic = choose.one_of(topics)
    ended = {"run": "r", "is": making.status}
    when: Json = ended
    if steps and choose.rarely(2):
        when = {"run": "r", "step": choose.one_of(steps), "is": "COMPLETED"}
        step = when["step"]
        executions = [one for one in making.plain.final.executions.values() if one.step == step]
        if executions[0].statuses != {"COMPLETED"}:
            when = ended
    where = {"run_id": "{{r.id}}"}
    act = {"when": when, "duplicate": {"topic": topic, "where": where, "times": choose.number(1, 3)}}
    return making.workflow, making.agents, (act,)


def _late(making: Making) -> Changed | None:
    """Another result for a task whose first one was applied (DEL-03), or whose run has ended (DEL-04)."""
    steps = making.asked_once()
    if not steps:
        return None
    step = making.choose.one_of(steps)
    execution = next(one for one in making.plain.final.executions.values() if one.step == step)
    (status,) = execution.statuses
    when = {"run": "r", "step": step, "is": status} if making.choose.rarely(2) else {"run": "r", "is": making.status}
    act = {"when": when, "answer": {"run": "r", "step": step, **_forged(making.choose)}}
    return making.workflow, making.agents, (act,)


def _forge(making: Making) -> Changed | None:
    """The first result is another's, and the agent's own comes after it."""
    steps = making.sure_steps()
    if not steps:
        return None
    step = making.choose.one_of(steps)
    held = making.with_held(step)
    if held is None or any(word in held[making.agent_of(step)][0]["held"] for word in ("status", "reset", "if")):
        return None
    answer = {"run": "r", "step": step, **_forged(making.choose)}
    acts = ({"when": making.has_begun(step), "answer": answer},)
    try:
        now = allowed(making.workflow, making.given, held, acts)
    except Undecided:
        return None
    (status,) = next(one for one in now.final.executions.values() if one.step == step).statuses
    release = {"when": {"run": "r", "step": step, "is": status}, "release": making.agent_of(step)}
    return making.workflow, held, (*acts, release)


def _forged(choose: Chooser) -> Mapping[str, Json]:
    """A result in the bridge's place, such as its schema allows (CMP-14, FAI-07, MSG-03)."""
    made: Mapping[str, Json] = choose.one_of(_RESULTS)
    return {**made, "key": None} if choose.rarely(4) else made


def _delay(making: Making) -> Changed | None:
    """An agent answers only once it has been asked, after whatever else could go on meanwhile."""
    held = making.can_be_held()
    if not held:
        return None
    step = making.choose.one_of(list(held))
    return making.workflow, held[step], ({"when": making.has_begun(step), "release": making.agent_of(step)},)


def _together(making: Making) -> Changed | None:
    """An agent is held until others that start without waiting for it have answered, or itself has been asked by all iterations
    that run side by side (PAR-02, FJN-01, LOP-05)."""
    held = making.can_be_held()
    sure = making.sure_steps()
    pairs = [
        (step, other)
        for step in held
        for other in sure
        if other != step and _is_beside(making.plain, step, other) and may_answer(making.agents[making.agent_of(other)])
    ]
    loops = _asked_side_by_side(making)
    if pairs and not (loops and making.choose.rarely(2)):
        step, other = making.choose.one_of(pairs)
        answered = {"agent": making.agent_of(other), "answered": {"at_least": 1}}
        when = {"all": [making.has_begun(step), answered]}
        return making.workflow, held[step], ({"when": when, "release": making.agent_of(step)},)
    if loops:
        step = making.choose.one_of(list(loops))
        agents = making.with_held(step)
        assert agents is not None
        act = {"when": making.has_begun(step, loops[step]), "release": making.agent_of(step)}
        return making.workflow, agents, (act,)
    return None


def _asked_side_by_side(making: Making) -> dict[str, int]:
    """The first steps of loops at top level whose iterations run side by side, with how many of them there are at once."""
    plan = making.plain.plan
    found: dict[str, int] = {}
    for loop in plan.chain:
        if plan.kind(loop) != "loop":
            continue
        config = plan.steps[loop]["loop_config"]
        step = config["loop_body"][0]
        asked = [one for one in making.plain.final.executions.values() if one.step == step and one.is_asked]
        most = config.get("max_parallelism") or len(asked)
        if (
            config.get("execution_mode") == "parallel"
            and plan.kind(step) == "agent"
            and not any(one.may_be_absent for one in asked)
            and min(len(asked), most) > 1
            and making.with_held(step) is not None
            and [making.agent_of(one) for one in plan.agents].count(making.agent_of(step)) == 1
        ):
            found[step] = min(len(asked), most)
    return found


def _is_beside(plain: Allowed, one: str, other: str) -> bool:
    """Whether two steps start without each other: first in their places below one parallel or fork_join."""
    slots = plain.plan.slots
    if one not in slots or other not in slots:
        return False
    first, second = slots[one], slots[other]
    parent = plain.plan.steps[first.parent]
    if first.parent != second.parent or plain.plan.kind(first.parent) not in ("parallel", "fork_join"):
        return False
    if plain.plan.kind(first.parent) == "parallel":
        return parent.get("max_parallelism") is None
    return first.name != second.name and first.position == second.position == 0


def _time_out(making: Making) -> Changed | None:
    """A branch whose agent is not heard of in time."""
    plan = making.plain.plan
    inside = [
        step
        for step in making.sure_steps()
        if step in plan.slots and plan.kind(plan.slots[step].parent) == "fork_join" and not plan.loops_around(step)
    ]
    if not inside:
        return None
    step = making.choose.one_of(inside)
    name = making.agent_of(step)
    slot = plan.slots[step]
    fork = dict(making.workflow["steps"][slot.parent])
    config = dict(fork["fork_join_config"])
    branch = {**config["branches"][slot.name], "timeout_seconds": 1}
    config["branches"] = {**config["branches"], slot.name: branch}
    if making.choose.rarely(2):
        config["branch_timeout_seconds"] = 600
    fork["fork_join_config"] = config
    workflow = {**making.workflow, "steps": {**making.workflow["steps"], slot.parent: fork}}
    written = making.agents[name]
    then = written[0] if isinstance(written, list) else {"echo": True}
    late = making.choose.one_of(({"hang": True}, {"slow": {"seconds": 2.2, "then": then}}))
    if "slow" in then or "if" in then:
        late = {"hang": True}
    agents = {**making.agents, name: [late]}
    try:
        allowed(workflow, making.given, agents)
    except Undecided:
        return None
    return workflow, agents, ()


def _process(word: str) -> Any:
    def make(making: Making) -> Changed | None:
        if not making.is_repeatable:
            return None
        role = making.choose.one_of(("consumer", "bridge"))
        steps = making.sure_steps()
        when = making.has_begun(making.choose.one_of(steps)) if steps else None
        acts: list[dict[str, Json]] = [{word: role}]
        if word == "kill":
            acts.append({"start": role})
        elif word == "remove":
            acts.insert(0, {"add": role})
        if when is not None:
            acts[0] = {"when": when, **acts[0]}
        return making.workflow, making.agents, tuple(acts)

    return make


_MAKERS: Mapping[str, Any] = {
    "cancel": _cancel,
    "early_cancel": _early_cancel,
    "retry": _retry,
    "duplicate": _duplicate,
    "late": _late,
    "forge": _forge,
    "delay": _delay,
    "together": _together,
    "time_out": _time_out,
    "neighbour": neighbour,
    "misuse": misuse,
    "read": read,
    **{word: _process(word) for word in ON_PROCESSES},
}
