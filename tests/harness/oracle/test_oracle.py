"""The oracle says of small workflows what the contract's clauses say, and tells apart what is allowed and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.oracle import Allowed, Observed, Row, Task, Undecided, allowed, differences, shown_path

Json = Any
OK: Json = [{"ok": {"n": 1}}]
BAD: Json = [{"rpc_error": {"message": "no"}}]


def agent(step: str, **fields: Json) -> Json:
    return {"id": step, "agent_name": f"w-{step}", **fields}


def of(*steps: Json, given: Json = None, timeline: Json = (), **agents: Json) -> Allowed:
    workflow = {"name": "w", "start_step": steps[0]["id"], "steps": {step["id"]: step for step in steps}}
    names = {step["agent_name"] for step in steps if "agent_name" in step}
    scripts = {name: agents.get(name.removeprefix("w-"), OK) for name in names}
    return allowed(workflow, given or {}, scripts, timeline)


def loop(*body: str, collection: Json = (1, 2, 3), **config: Json) -> Json:
    return {
        "id": "l",
        "type": "loop",
        "loop_config": {"collection": list(collection), "loop_body": list(body), **config},
    }


def told(outcome: Allowed) -> dict[str, str]:
    return {shown_path(path): "|".join(sorted(one.statuses)) for path, one in outcome.final.executions.items()}


def observed(outcome: Allowed, **changes: Json) -> Observed:
    """The one run that the outcome describes."""
    executions = outcome.final.executions.values()
    rows = [
        Row(
            one.step,
            min(one.statuses),
            one.input,
            one.output,
            one.said or "why" if one.statuses == {"FAILED"} else None,
        )
        for one in executions
    ]
    tasks = [
        Task(str(number), outcome.plan.steps[one.step]["agent_name"], one.input)
        for number, one in enumerate(executions)
        if one.is_asked
    ]
    error = "; ".join(f"{step}: {said}" for step, said in outcome.final.causes) or None
    return replace(Observed(outcome.final.status, error, rows, tasks), **changes)


def test_a_failed_step_ends_the_chain() -> None:
    """FAI-01 and FAI-04: the run FAILS, and what follows is not run."""
    outcome = of(agent("a", next_step="b"), agent("b"), a=BAD)
    assert outcome.statuses == {"FAILED"}
    assert told(outcome) == {"a": "FAILED"}
    assert outcome.final.causes == (("a", "no"),)


def test_a_loop_that_stops_in_turn_runs_no_further() -> None:
    """LOP-10 in sequential mode."""
    outcome = of(loop("x"), agent("x"), x=BAD)
    assert told(outcome) == {"l": "FAILED", "l[0]/x": "FAILED"}


def test_a_loop_that_stops_side_by_side_leaves_a_choice() -> None:
    """LOP-05 and LOP-10: with two at once the third starts only if the first two did not both fail."""
    outcome = of(loop("x", execution_mode="parallel", max_parallelism=2), agent("x"), x=BAD)
    assert told(outcome) == {"l": "FAILED", "l[0]/x": "FAILED", "l[1]/x": "FAILED"}
    some = [{"if": {"input": {"i": 0}, "then": {"fail": "no"}, "else": {"ok": {}}}}]
    mapping = {"i": "${loop.index}"}
    outcome = of(loop("x", execution_mode="parallel", max_parallelism=2), agent("x", input_mapping=mapping), x=some)
    last = outcome.final.executions[((None, "l"), (2, "x"))]
    assert last.may_be_absent
    assert differences(outcome, observed(outcome)) == []
    without = [row for row in observed(outcome).rows if row.input != {"i": 2}]
    asked = [task for task in observed(outcome).tasks if task.input != {"i": 2}]
    assert differences(outcome, observed(outcome, rows=without, tasks=asked)) == []


def test_collected_errors_may_be_worded_freely() -> None:
    """LOP-12: the agent's words are in it, whatever else."""
    outcome = of(loop("x", collection=[1], on_error="collect"), agent("x"), x=BAD)
    entry = {"step_id": "x", "status": "FAILED", "output_data": None}

    def with_error(**error: Json) -> list[Row]:
        rows = {row.step: row for row in observed(outcome).rows}
        output = {"iterations": [{**entry, **error}], "total_count": 1, "failed_count": 1}
        return [replace(rows["l"], output=output), rows["x"]]

    assert differences(outcome, observed(outcome, rows=with_error(error_message="agent w said no (1)"))) == []
    (found,) = differences(outcome, observed(outcome, rows=with_error()))
    assert (found.clause, found.step, found.what) == ("LOP-06", "l", "output")


def test_a_branch_that_is_not_heard_of_times_out() -> None:
    """FJN-10: it failed, how far it came is open, and any is content with the other."""
    branches = {"slow": {"steps": ["a", "b"], "timeout_seconds": 1}, "other": {"steps": ["c"]}}
    fork = {"id": "f", "type": "fork_join", "fork_join_config": {"branches": branches, "join_policy": "any"}}
    outcome = of(fork, agent("a"), agent("b"), agent("c"), b=[{"hang": True}])
    assert outcome.statuses == {"COMPLETED"}
    assert told(outcome) == {
        "f": "COMPLETED",
        "f:slow/a": "COMPLETED|FAILED",
        "f:slow/b": "FAILED",
        "f:other/c": "COMPLETED",
    }


def test_a_retry_keeps_what_is_completed() -> None:
    """RES-02 and RES-04: the failed step is asked again, the one before it is not."""
    timeline = [{"when": {"run": "r", "is": "FAILED"}, "retry": "r"}]
    outcome = of(agent("a", next_step="b"), agent("b"), timeline=timeline, b=[*BAD, {"ok": {"n": 2}}])
    assert outcome.statuses == {"COMPLETED"}
    assert [one.is_kept for one in outcome.final.executions.values()] == [True, False]
    tasks = [Task("1", "w-a", {}), Task("2", "w-b", {}), Task("3", "w-b", {})]
    assert differences(outcome, observed(outcome, tasks=tasks)) == []
    assert [one.clause for one in differences(outcome, observed(outcome, tasks=tasks[:2]))] == ["CMP-08"]


def test_a_cancellation_that_races_leaves_both() -> None:
    """CAN-09: either it or the run's own end holds; with an agent that is held, only it can."""
    cancel = {"cancel": "r"}
    assert of(agent("a"), timeline=[cancel]).statuses == {"CANCELLED", "COMPLETED"}
    held = of(agent("a"), timeline=[cancel, {"release": "w-a"}], a=[{"held": {"ok": {}}}])
    assert held.statuses == {"CANCELLED"}
    assert differences(held, Observed("CANCELLED", None, [Row("a", "CANCELLED", {})], [Task("1", "w-a", {})])) == []


CANCEL_FIRST = {"cancel": {"run": "r", "via": "message"}}


def test_a_cancellation_before_its_run_leaves_nothing_to_do() -> None:
    """CAN-05: no task at all, once it has been consumed."""
    execute = {"when": {"message": {"topic": "cancellations", "consumed": True}}, "execute": {"as": "r"}}
    outcome = of(agent("a"), timeline=[CANCEL_FIRST, execute])
    assert (outcome.statuses, outcome.final.executions) == ({"CANCELLED"}, {})
    assert differences(outcome, Observed("CANCELLED", None)) == []
    assert differences(outcome, Observed("CANCELLED", None, [], [Task("1", "w-a", {})])) != []


def test_a_cancellation_that_is_only_published_before_its_run_may_be_read_after_it() -> None:
    """Nothing orders two topics: the request may be read first, and then the run is cancelled wherever it is."""
    outcome = of(agent("a"), timeline=[CANCEL_FIRST, {"execute": {"as": "r"}}])
    assert outcome.statuses == {"CANCELLED", "COMPLETED"}
    assert differences(outcome, Observed("CANCELLED", None)) == []
    assert differences(outcome, Observed("CANCELLED", None, [Row("a", "CANCELLED", {})], [Task("1", "w-a", {})])) == []
    assert differences(outcome, Observed("FAILED", "why", [], [])) != []


def test_the_first_result_counts() -> None:
    """DEL-03: a result in the bridge's place is the first one while the agent is held, and not after its answer."""
    forged = {"answer": {"run": "r", "step": "a", "output": {"forged": 1}}}
    held = of(agent("a"), timeline=[forged, {"release": "w-a"}], a=[{"held": {"ok": {"n": 1}}}])
    assert held.final.executions[((None, "a"),)].output == {"forged": 1}
    late = of(agent("a"), timeline=[{"when": {"run": "r", "step": "a", "is": "COMPLETED"}, **forged}])
    assert late.final.executions[((None, "a"),)].output == {"n": 1}
    with pytest.raises(Undecided):
        of(agent("a"), timeline=[forged])


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"status": None}, "CMP-01"),
        ({"status": "FAILED", "error": "why"}, "CMP-02"),
        ({"error": "why"}, "FAI-05"),
        ({"rows": []}, "TBL-04"),
        ({"rows": [Row("a", "COMPLETED", {"x": "1"}, {"n": 1})]}, "CMP-04"),
        ({"rows": [Row("a", "COMPLETED", {"x": 1}, {"n": True})]}, "CMP-07"),
        ({"rows": [Row("a", "COMPLETED", {"x": 1}, {"n": 1})] * 2}, "CMP-08"),
        ({"rows": [Row("a", "COMPLETED", {"x": 1}, {"n": 1}), Row("b", "COMPLETED", {})]}, "CMP-03"),
        ({"tasks": []}, "CMP-08"),
        ({"tasks": [Task("1", "w-a", {"x": 1}), Task("2", "w-a", {"x": 1})]}, "CMP-08"),
        ({"tasks": [Task("1", "w-a", {"x": 1}), Task("2", "w-a", {"x": 2})]}, "CMP-04"),
    ],
)
def test_every_difference_is_told_with_its_clause(changes: dict[str, Json], clause: str) -> None:
    """One thing wrong is one difference."""
    outcome = of(agent("a", input_mapping={"x": "${workflow.input.x}"}), given={"x": 1})
    assert differences(outcome, observed(outcome)) == []
    assert [one.clause for one in differences(outcome, observed(outcome, **changes))] == [clause]


def test_what_was_in_flight_at_a_cancellation_keeps_its_id() -> None:
    """RES-09: two different tasks for it are one too many; not when the first had failed, or the retry begins at a step."""
    agents: dict[str, Json] = {"a": [{"held": {"ok": {}}}]}
    cancelled = {"run": "r", "is": "CANCELLED"}
    acts: list[Json] = [{"when": {"agent": "w-a", "calls": 1}, "cancel": "r"}, {"when": cancelled, "release": "w-a"}]
    twice = [Task("one", "w-a", {}), Task("two", "w-a", {})]
    kept = of(agent("a"), timeline=[*acts, {"retry": "r"}], **agents)
    rows = [Row("a", "COMPLETED", {}, {})]
    assert [one.clause for one in differences(kept, Observed("COMPLETED", None, rows, twice))] == ["CMP-08"]
    assert differences(kept, Observed("COMPLETED", None, rows, twice[:1])) == []
    begun_anew = of(agent("a"), timeline=[*acts, {"retry": {"run": "r", "from": "a"}}], **agents)
    assert differences(begun_anew, Observed("COMPLETED", None, rows, twice)) == []


@pytest.mark.parametrize(
    ("script", "hangs", "expected", "calls"),
    [([{"hang": True}, {"ok": {"n": 1}}], 2, "COMPLETED", 2), ([{"hang": True}], 2, "FAILED", 3)],
)
def test_a_call_that_times_out_is_made_again(script: Json, hangs: int, expected: str, calls: int) -> None:
    """AGT-15, AGT-11."""
    timed = {"per": "task", "timeout_ms": 400, "retry_config": {"max_retries": hangs}, "script": script}
    outcome = of(agent("a"), a=timed)
    assert outcome.statuses == {expected}
    assert outcome.final.calls["w-a"] == calls


def test_whether_a_slow_call_times_out_is_a_race() -> None:
    def slow(seconds: float) -> Json:
        return {"timeout_ms": 400, "script": [{"slow": {"seconds": seconds, "then": {"ok": {}}}}]}

    assert of(agent("a"), a=slow(0.1)).statuses == {"COMPLETED"}
    assert of(agent("a"), a=slow(2)).statuses == {"FAILED"}
    with pytest.raises(Undecided, match="race"):
        of(agent("a"), a=slow(0.3))


def test_a_result_without_output_is_a_success() -> None:
    """CMP-14; and one without a message a failure (FAI-07)."""
    held: Json = [{"held": {"ok": {}}}]

    def answered(**result: Json) -> Allowed:
        act = {"when": {"agent": "w-a", "calls": 1}, "answer": {"run": "r", "step": "a", **result}}
        return of(agent("a"), timeline=[act], a=held)

    (one,) = answered(output=None).final.executions.values()
    assert (one.statuses, one.output) == ({"COMPLETED"}, None)
    (one,) = answered(error=None).final.executions.values()
    assert one.statuses == {"FAILED"}


def test_acts_on_another_run_change_nothing() -> None:
    """ISO-05."""
    timeline = [{"execute": {"as": "r"}}, {"execute": {"as": "other"}}, {"cancel": "other"}]
    assert of(agent("a"), timeline=timeline).statuses == {"COMPLETED"}
    workflow = {"name": "w", "start_step": "a", "steps": {"a": agent("a")}}
    assert allowed(workflow, {}, {"w-a": OK}, timeline, "other").statuses == {"COMPLETED", "CANCELLED"}
    with pytest.raises(Undecided, match="another run"):
        of(agent("a"), timeline=timeline, a=[{"ok": {}}, {"fail": "no"}])


def test_a_death_may_give_an_agent_the_tries_that_it_lacked() -> None:
    """A bridge counts its tries anew after its death, and a script that counts a task's calls goes on."""
    timeline = [{"execute": {"as": "r"}}, {"kill": "bridge"}, {"start": "bridge"}]

    def away(times: int) -> Json:
        return {"per": "task", "script": [*[{"status": 503}] * times, {"ok": {}}]}

    assert of(agent("a"), timeline=timeline, a=away(3)).statuses == {"COMPLETED"}
    assert of(agent("a"), a=away(4)).statuses == {"FAILED"}
    with pytest.raises(Undecided, match="anew"):
        of(agent("a"), timeline=timeline, a=away(4))


def test_of_several_references_that_lead_to_nothing_any_may_be_told_of() -> None:
    """A database may keep the fields of an object in another order than they were sent in."""
    nothing = ["${workflow.input.x}", "${workflow.input.y}"]
    (one,) = of(agent("a", input_mapping={"b": nothing[0], "a": "x"})).final.executions.values()
    assert one.said == nothing[0]
    (one,) = of(agent("a", input_mapping={"b": nothing[0], "a": [nothing[1]]})).final.executions.values()
    assert one.said == ""
