"""Whether a timeline is sure to come to its end: whether all that it waits for comes about with every executor that keeps the
contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from harness.oracle.acts import ENDS, about, acts_of, runs_of
from harness.oracle.allowed import Allowed, allowed
from harness.oracle.plan import Plan
from harness.oracle.rounds import Execution, Path, shown_path
from harness.oracle.wildcards import Undecided

Json = Any


def doubt(
    workflow: Mapping[str, Json],
    given: Json,
    agents: Mapping[str, Json],
    timeline: Sequence[Mapping[str, Json]] = (),
) -> str | None:
    """Why a run may stand still, or an act be impossible, though the executor keeps the contract; None when neither can be.

    Conditions that generated timelines do not have are taken to come about. Takes what :func:`harness.oracle.allowed` takes.
    """
    case = _Case(workflow, given, agents)
    try:
        for index, act in enumerate(timeline):
            said = case.reach(timeline[:index]).of_act(act)
            if said is not None:
                return said
        others = list(runs_of(timeline))[1:]
        ends = (case.reach(timeline, run).of_end() for run in (None, *others))
        return next((said for said in ends if said is not None), None)
    except Undecided as error:
        return str(error)


@dataclass(frozen=True)
class _Case:
    workflow: Mapping[str, Json]
    given: Json
    agents: Mapping[str, Json]

    def reach(self, timeline: Sequence[Mapping[str, Json]], run: str | None = None) -> _Reach:
        """How far a run comes with these acts: the first one, or the one of that name."""
        given = self.given if run is None else runs_of(timeline)[run].arguments.get("input", {})
        return _Reach(self, allowed(self.workflow, given, self.agents, timeline, run), timeline, run)


class _Reach:
    """How far a run is sure to come once these acts are done, and no more."""

    def __init__(self, case: _Case, known: Allowed, timeline: Sequence[Mapping[str, Json]], run: str | None) -> None:
        self._case = case
        self._known = known
        self._plan = known.plan
        self._timeline = timeline
        self._acts = about([*acts_of(timeline)], run)
        self._runs = list(runs_of(timeline))
        self._held = self._executions_held(case.agents)

    def of_act(self, act: Mapping[str, Json]) -> str | None:
        retries = any(one.word == "retry" for one in acts_of([act]))
        when = act.get("when") or {}
        if retries and not _is_of_an_end(when) and not any(_is_of_an_end(one.when) for one in self._acts):
            return "a run is retried that may not have ended"
        return self._of_condition(when)

    def of_end(self) -> str | None:
        if self._held and self._known.statuses != {"CANCELLED"}:
            return f"the agent of {self._held[0].step} is held and never released"
        return None

    def _of_condition(self, when: Mapping[str, Json]) -> str | None:
        if "all" in when:
            return next(filter(None, map(self._of_condition, when["all"])), None)
        if "any" in when:
            told = [self._of_condition(one) for one in when["any"]]
            return None if None in told else next(iter(told), None)
        if "agent" in when:
            return self._of_agent(when)
        if "run" in when and when["run"] in self._runs[1:] and "step" not in when:
            return self._case.reach(self._timeline, when["run"])._of_run(str(when.get("is")))
        if "run" in when and self._runs and when["run"] not in self._runs:
            return f"the run {when['run']} is not made"
        if "run" in when and isinstance(when.get("is"), str):
            return self._of_step(str(when["step"]), when["is"]) if "step" in when else self._of_run(when["is"])
        return None

    def _of_run(self, status: str) -> str | None:
        if status not in ENDS:
            return None
        if self._known.statuses != {status}:
            return f"the run need not be {status}, it may be {' or '.join(sorted(self._known.statuses))}"
        if self._held and status != "CANCELLED":
            return f"the run cannot be {status} before the agent of {self._held[0].step} is released"
        return None

    def _of_step(self, step: str, status: str) -> str | None:
        found = [one for one in self._known.final.executions.values() if one.step == step]
        if self._known.is_cut or not found or any(one.may_be_absent or one.statuses != {status} for one in found):
            return f"step {step} need not be {status}"
        return self._behind_what_is_held(found, 1, is_over=True)

    def _of_agent(self, when: Mapping[str, Json]) -> str | None:
        name = str(when["agent"])
        sure = [one for one in self._asked() if not one.may_be_absent and self._agent_of(one) == name]
        counted = when.get("calls", when.get("answered"))
        least = counted.get("at_least", 1) if isinstance(counted, Mapping) else counted
        if not isinstance(least, int):
            return None
        if self._known.is_cut or not sure or self._known.final.calls[name] < least:
            return f"{name} need not be called{f' {least} times' if sure else ''}"
        if "answered" in when and not may_answer(self._case.agents.get(name)):
            return f"{name} need not answer"
        # Beyond one call for each execution, the others are repetitions, which come without anything more.
        return self._behind_what_is_held(sure, min(least, len(sure)), is_over="answered" in when)

    def _behind_what_is_held(self, executions: Sequence[Execution], least: int, *, is_over: bool) -> str | None:
        """Why fewer than so many of these come about, or end, while agents are held."""
        stopped: list[tuple[Execution, Execution]] = []
        for one in executions:
            for held in self._held:
                if is_over if held is one else not _is_free_of(self._plan, one.path, held.path):
                    stopped.append((one, held))
                    break
        if len(executions) - len(stopped) >= least:
            return None
        one, held = stopped[0]
        return f"{shown_path(one.path)} comes after {shown_path(held.path)}, whose agent is not released yet"

    def _asked(self) -> list[Execution]:
        return [one for one in self._known.final.executions.values() if one.is_asked and not one.is_kept]

    def _agent_of(self, one: Execution) -> str:
        return str(self._plan.steps[one.step].get("agent_name"))

    def _executions_held(self, agents: Mapping[str, Json]) -> list[Execution]:
        """Those that stand still at their agents, if they are reached."""
        released = {str(act.about("agent")) for act in self._acts if act.word == "release"}
        # The result of another stands for that of the agent.
        answered = {str(act.arguments["step"]) for act in self._acts if act.word == "answer"}
        held = {name for name, written in agents.items() if name not in released and _has_any(written, {"held"})}
        return [one for one in self._asked() if self._agent_of(one) in held and one.step not in answered]


def may_answer(written: Json) -> bool:
    """Whether every call of such an agent that is not held is answered: to hang or to reset the connection is no answer."""
    return not _has_any(written, {"hang", "reset"})


def _has_any(written: Json, words: Set[str]) -> bool:
    """Whether one of the words stands in an agent's script, at any depth."""
    if isinstance(written, Mapping):
        return bool(words & set(written)) or any(_has_any(item, words) for item in written.values())
    return isinstance(written, (list, tuple)) and any(_has_any(item, words) for item in written)


def _is_of_an_end(when: Mapping[str, Json]) -> bool:
    """Whether a condition is that the run has ended in a way from which it can be retried."""
    return "step" not in when and when.get("is") in ("FAILED", "CANCELLED")


def _is_free_of(plan: Plan, path: Path, other: Path) -> bool:
    """Whether what runs at a path does so without waiting for the end of what runs at another one."""
    around: str | None = None
    for (place, step), (other_place, other_step) in zip(path, other, strict=False):
        if (place, step) == (other_place, other_step):
            around = step
            continue
        if around is None:
            return plan.chain.index(step) < plan.chain.index(other_step)
        is_earlier = plan.slots[step].position < plan.slots[other_step].position
        kind, written = plan.kind(around), plan.steps[around]
        if kind == "parallel":
            return is_earlier or _is_among_the_first(plan.slots[step].position, written)
        if kind == "fork_join" and place != other_place:
            return True
        if kind == "loop" and isinstance(place, int) and isinstance(other_place, int) and place != other_place:
            config = written["loop_config"]
            is_side_by_side = config.get("execution_mode") == "parallel" and _is_among_the_first(place, config)
            return place < other_place or is_side_by_side
        return is_earlier
    return True


def _is_among_the_first(place: int, config: Mapping[str, Json]) -> bool:
    """Whether it is one of those that start at once."""
    most = config.get("max_parallelism")
    return most is None or place < most
