"""All that may come of a run: its rounds, with what the acts of a timeline do to it (CAN, RES, DEL, GRP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.oracle.acts import ENDS, Act, about, acts_of, runs_of
from harness.oracle.answers import AgentScript
from harness.oracle.interpretation import SURE_SECONDS, interpret
from harness.oracle.plan import NotAPlan, Plan
from harness.oracle.rounds import Round
from harness.oracle.wildcards import Undecided

_REPEATING = frozenset({"kill", "stop", "restart", "pause", "remove", "add", "redeliver", "fault", "cut"})


@dataclass(frozen=True)
class Allowed:
    """The set of outcomes that the contract allows.

    `statuses` are those that the run may end with. `final` is the round that tells of its steps, `earlier` those before a
    retry. `is_cut`: a cancellation may have ended `final` anywhere, so that each of its executions may be absent or
    CANCELLED. `was_cut`: one has ended an earlier round somewhere. `keeps_ids`: no retry began at a step of its own choice,
    so that what was in flight is asked for again under its id, and what was COMPLETED not at all (RES-02, RES-09).
    """

    plan: Plan
    statuses: frozenset[str]
    final: Round
    earlier: tuple[Round, ...] = ()
    is_cut: bool = False
    was_cut: bool = False
    keeps_ids: bool = True

    @property
    def rounds(self) -> tuple[Round, ...]:
        """All rounds, first to last."""
        return (*self.earlier, self.final)


def allowed(
    workflow: Mapping[str, Any],
    given: Any,
    agents: Mapping[str, Any],
    timeline: Sequence[Any] = (),
    run: str | None = None,
) -> Allowed:
    """What may come of one run of a workflow.

    Args:
        workflow: a definition of the contract that is legal.
        given: the run's input_data.
        agents: scripted agents by their names, as in a scenario file.
        timeline: acts, as in a scenario file, in any of their forms. Without `execute`, they come after it.
        run: its name in the timeline; the one that is executed first, where nothing is said.

    Raises:
        Undecided: the contract, or the oracle, does not say.
    """
    try:
        plan = Plan.of(workflow)
    except NotAPlan as error:
        raise Undecided(f"the oracle does not follow the workflow: {error}") from error
    scripts = {name: AgentScript.of(name, written) for name, written in agents.items()}
    acts = about(list(acts_of(timeline)), run)
    return _Walk(plan, given, scripts).through(acts, is_alone=len(runs_of(timeline)) <= 1)


class _Walk:
    """Through a timeline, round by round."""

    def __init__(self, plan: Plan, given: Any, scripts: Mapping[str, AgentScript]) -> None:
        self._plan = plan
        self._given = given
        self._scripts = dict(scripts)
        self._rounds: list[Round] = []
        self._is_cut = self._was_cut = self._cut_is_sure = False

    def through(self, acts: list[Act], *, is_alone: bool = True) -> Allowed:
        if not is_alone:
            self._demand_pure("another run calls the same agents")
        if acts and not any(act.word == "execute" for act in acts):
            acts = [Act("execute", {}, {}), *acts]
        self._force_answers(acts)
        if any(_repeats_calls(act) for act in acts):
            self._demand_repeatable("calls may be made twice")
            self._demand_no_time_outs()
        self._rounds.append(interpret(self._plan, self._given, self._scripts))
        for index, act in enumerate(acts):
            if act.word == "execute":
                if self._is_cut and _waits_for_the_cancellation(act):
                    return Allowed(self._plan, frozenset({"CANCELLED"}), _nothing(self._rounds[0]))
            elif act.word == "cancel":
                self._cancel(act, acts[: index + 1])
            elif act.word == "retry":
                self._retry(act)
        final = self._rounds[-1]
        statuses = {final.status} if not self._is_cut else {"CANCELLED"}
        if self._is_cut and not self._cut_is_sure:
            statuses.add(final.status)
        keeps_ids = not any("from" in act.arguments for act in acts if act.word == "retry")
        return Allowed(
            self._plan, frozenset(statuses), final, tuple(self._rounds[:-1]), self._is_cut, self._was_cut, keeps_ids
        )  # fmt: skip

    def _cancel(self, act: Act, so_far: list[Act]) -> None:
        if act.when.get("is") in ENDS and "step" not in act.when:
            return
        if self._is_cut:
            return
        self._is_cut = True
        self._cut_is_sure = any(self._is_held(name, so_far) for name in self._asked_for_sure())

    def _asked_for_sure(self) -> set[str]:
        return {
            str(self._plan.steps[one.step].get("agent_name"))
            for one in self._rounds[-1].executions.values()
            if one.is_asked and not one.may_be_absent and not one.is_kept
        }

    def _is_held(self, name: str, so_far: list[Act]) -> bool:
        script = self._scripts.get(name)
        if script is None or not all("held" in entry for entry in script.entries):
            return False
        return all(act.about("agent") != name for act in so_far if act.word == "release")

    def _retry(self, act: Act) -> None:
        resume = act.arguments.get("from")
        last = self._rounds[-1]
        if self._is_cut:
            if not self._cut_is_sure:
                raise Undecided("whether there is a cancelled run to retry depends on a race")
            self._demand_repeatable("a call of before the cancellation may count, or not")
            self._rounds.append(interpret(self._plan, self._given, self._scripts))
            self._is_cut, self._was_cut = False, True
            return
        if last.status != "FAILED":
            raise Undecided("a run that has not failed is retried")
        before = last.completed
        if resume is not None:
            if resume not in self._plan.chain:
                raise Undecided("the retry is refused (RES-07)")
            again = set(self._plan.chain[self._plan.chain.index(resume) :])
            before = {path: one for path, one in before.items() if path[0][1] not in again}
        self._rounds.append(interpret(self._plan, self._given, self._scripts, before=before, calls=last.calls))

    def _force_answers(self, acts: list[Act]) -> None:
        """A result in the bridge's place is the first one when the agent's own is held back (DEL-03)."""
        for index, act in enumerate(acts):
            if act.word != "answer":
                continue
            step = str(act.arguments["step"])
            name = str(self._plan.steps[step].get("agent_name"))
            if act.when.get("is") in ENDS:
                continue
            if not self._is_held(name, acts[:index]) or len(self._plan.loops_around(step)) or self._is_shared(name):
                raise Undecided("which of two results is the first depends on a race")
            entry = (
                {"ok": act.arguments["output"]}
                if "output" in act.arguments
                else {"rpc_error": {"message": act.arguments["error"] or ""}}
            )
            self._scripts[name] = replace(self._scripts[name], entries=[entry])

    def _is_shared(self, name: str) -> bool:
        return [self._plan.steps[step].get("agent_name") for step in self._plan.agents].count(name) > 1

    def _demand_pure(self, why: str) -> None:
        if not all(script.is_pure for script in self._scripts.values()):
            raise Undecided(f"{why}, and an agent counts its calls")

    def _demand_repeatable(self, why: str) -> None:
        self._demand_pure(why)
        if not all(script.is_repeatable for script in self._scripts.values()):
            raise Undecided(f"{why}, and an agent answers otherwise when its task is given anew")

    def _demand_no_time_outs(self) -> None:
        for step in self._plan.steps:
            if self._plan.kind(step) == "fork_join":
                config = self._plan.steps[step]["fork_join_config"]
                times = [config.get("branch_timeout_seconds")]
                times += [branch.get("timeout_seconds") for branch in config["branches"].values()]
                if any(time is not None and time < 3 * SURE_SECONDS for time in times):
                    raise Undecided("a time-out may be over before a process is back")


def _repeats_calls(act: Act) -> bool:
    topic = act.arguments.get("topic")
    return act.word in _REPEATING or (act.word == "duplicate" and topic in (None, "tasks"))


def _waits_for_the_cancellation(act: Act) -> bool:
    """Nothing orders two topics: a request that follows its cancellation at once may be read before it."""
    message = act.when.get("message") or {}
    return message.get("topic") == "cancellations" and "consumed" in message


def _nothing(of: Round) -> Round:
    return Round("CANCELLED", {}, (), dict.fromkeys(of.calls, 0))
