"""A good history of each shape of run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.history import History
from tests.harness.checkers.story import Story, steps

CHAIN = steps(
    "a",
    "b",
    "c",
    b={"input_mapping": {"x": "${a.output.v}"}},
    c={"input_mapping": {"text": "got ${b.output.v}", "w": "$.workflow_input.w"}},
)


def chain() -> Story:
    story = Story()
    run = story.run(CHAIN, {"w": [1, None]})
    story.take_up(run)
    story.do(run, "a", {}, {"v": 1})
    story.do(run, "b", {"x": 1}, {"v": {"k": 2}})
    story.do(run, "c", {"text": 'got {"k":2}', "w": [1, None]}, {"done": True})
    story.over(run)
    return story


def failed() -> Story:
    story = Story()
    run = story.run(CHAIN, {"w": 1})
    story.take_up(run)
    story.do(run, "a", {}, {"v": 1})
    story.do(run, "b", {"x": 1}, error="no more paper")
    story.over(run, "FAILED", "step b failed: no more paper")
    return story


def cancelled() -> Story:
    story = Story()
    run = story.run(CHAIN, {"w": 1})
    story.take_up(run)
    one = story.begin(run, "a", {})
    call = story.call(one)
    story.rest("POST", f"/runs/{run}/cancel", 202, {"run_id": run, "status": "CANCELLED"})
    story.over(run, "CANCELLED")
    one.row.update(status="CANCELLED")
    story.add("database", "step_row", run, row=one.row)
    story.rest("GET", f"/runs/{run}", 200, story.run_rows[run])
    story.answer(one, call, {"v": 1})
    story.result(one, {"v": 1})
    return story


def retried() -> Story:
    story = failed()
    run = next(iter(story.run_rows))
    story.wait(1)
    story.rest("POST", f"/runs/{run}/retry", 202, {})
    story.set_run(run, status="PENDING", error_message=None, completed_at=None)
    story.message("requests", story.request(run), run=run)
    story.take_up(run)
    story.do(run, "b", {"x": 1}, {"v": "2"})
    story.do(run, "c", {"text": "got 2", "w": 1}, {"done": True})
    story.over(run)
    return story


PARALLEL = steps(
    "p", "z",
    p={"type": "parallel", "parallel_steps": ["x", "y"], "max_parallelism": 1},
    z={"input_mapping": {"all": "${p.output}"}},
    x={"input_mapping": {"n": 1}},
    y={"input_mapping": {"n": 2}},
)  # fmt: skip


def parallel() -> Story:
    story = Story()
    run = story.run(PARALLEL, {})
    story.take_up(run)
    story.do(run, "x", {"n": 1}, {"o": 1})
    story.do(run, "y", {"n": 2}, {"o": 2})
    output = {"x": {"o": 1}, "y": {"o": 2}}
    story.composite(run, "p", output)
    story.do(run, "z", {"all": output}, {})
    story.over(run)
    return story


def loop_plan(**config: Any) -> dict[str, Any]:
    whole = {"collection": "${workflow.input.items}", "loop_body": ["x", "y"], **config}
    return steps(
        "l", "z",
        l={"type": "loop", "loop_config": whole},
        z={"input_mapping": {"n": "${l.output.total_count}"}},
        x={"input_mapping": {"item": "${loop.item}", "at": "${loop.index}"}},
        y={"input_mapping": {"from": "${x.output.v}", "last": "${loop.is_last}"}},
    )  # fmt: skip


def loop_output(*entries: tuple[str, Any]) -> dict[str, Any]:
    listed = [
        {"step_id": step, "status": "FAILED" if output is None else "COMPLETED", "output_data": output}
        for step, output in entries
    ]
    return {
        "iterations": listed,
        "total_count": len(listed),
        "failed_count": sum(output is None for _, output in entries),
    }


def loop() -> Story:
    story = Story()
    run = story.run(loop_plan(), {"items": ["p", "q"]})
    story.take_up(run)
    for index, item in enumerate(["p", "q"]):
        story.do(run, "x", {"item": item, "at": index}, {"v": item * 2})
        story.do(run, "y", {"from": item * 2, "last": index == 1}, {"w": index})
    story.composite(run, "l", loop_output(("y", {"w": 0}), ("y", {"w": 1})))
    story.do(run, "z", {"n": 2}, {})
    story.over(run)
    return story


def loop_parallel() -> Story:
    """Two iterations at once under continue, of which one fails."""
    story = Story()
    run = story.run(
        loop_plan(execution_mode="parallel", max_parallelism=2, on_error="continue", max_iterations=2),
        {"items": ["p", "q", "r"]},
    )
    story.take_up(run)
    one, two = story.begin(run, "x", {"item": "p", "at": 0}), story.begin(run, "x", {"item": "q", "at": 1})
    story.serve(two, error="torn")
    story.serve(one, {"v": "pp"})
    story.do(run, "y", {"from": "pp", "last": False}, {"w": 0})
    story.composite(run, "l", loop_output(("y", {"w": 0}), ("x", None)))
    story.do(run, "z", {"n": 2}, {})
    story.over(run)
    return story


def fork_plan(policy: str = "any", **config: Any) -> dict[str, Any]:
    branches = {"left": {"steps": ["x", "y"]}, "right": {"steps": ["v"]}}
    return steps(
        "f", "z",
        f={"type": "fork_join", "fork_join_config": {"branches": branches, "join_policy": policy, **config}},
        z={"input_mapping": {"all": "${f.output}"}},
        x={"input_mapping": {"n": 1}},
        y={"input_mapping": {"n": "${x.output.v}"}},
        v={"input_mapping": {"n": 3}},
    )  # fmt: skip


def fork() -> Story:
    story = Story()
    run = story.run(fork_plan(), {})
    story.take_up(run)
    left, right = story.begin(run, "x", {"n": 1}), story.begin(run, "v", {"n": 3})
    story.serve(right, error="closed")
    story.serve(left, {"v": 2})
    story.do(run, "y", {"n": 2}, {"w": 1})
    output = {"left": {"w": 1}, "right": None}
    story.composite(run, "f", output)
    story.do(run, "z", {"all": output}, {})
    story.over(run)
    return story


CONDITION = steps(
    "a", "c", "z",
    c={"type": "conditional", "condition": {"expression": "${a.output.n} > 3 and not ('x' in ${a.output.tags})"}, "if_true_step": "t", "if_false_step": "e"},
    z={"input_mapping": {"took": "${c.output.branch_taken}"}},
    t={"input_mapping": {"big": True}},
    e={"input_mapping": {"big": False}},
)  # fmt: skip


def condition() -> Story:
    story = Story()
    run = story.run(CONDITION, {})
    story.take_up(run)
    story.do(run, "a", {}, {"n": 4, "tags": ["y"]})
    story.do(run, "t", {"big": True}, {"o": 1})
    output = {"condition_result": True, "branch_taken": "then", "branch_step_id": "t", "branch_output": {"o": 1}}
    story.composite(run, "c", output)
    story.do(run, "z", {"took": "then"}, {})
    story.over(run)
    return story


def killed() -> Story:
    """The consumer dies while b is in flight; its task is published again, and a late copy of an older one comes, too."""
    story = Story()
    run = story.run(CHAIN, {"w": 1})
    story.take_up(run)
    first = story.do(run, "a", {}, {"v": 1})
    two = story.begin(run, "b", {"x": 1})
    story.process("killed")
    story.task(first)
    story.ask(two, {"v": "2"})
    story.process("started")
    story.task(two)
    story.ask(two, {"v": "2"})
    story.finish(two, {"v": "2"})
    story.do(run, "c", {"text": "got 2", "w": 1}, {"done": True})
    story.over(run)
    return story


def two_runs() -> Story:
    story = Story()
    runs = [story.run(CHAIN, {"w": {"marker": name}}, alias=name) for name in ("marker-one", "marker-two")]
    for run in runs:
        story.take_up(run)
    for step, given, output in (("a", {}, {"v": 1}), ("b", {"x": 1}, {"v": "2"})):
        for run in runs:
            story.do(run, step, given, output)
    for run, name in zip(runs, ("marker-one", "marker-two"), strict=True):
        story.do(run, "c", {"text": "got 2", "w": {"marker": name}}, {"done": True})
        story.over(run)
    return story


def bad_messages() -> Story:
    """What is not valid is set aside, and the run behind it goes on."""
    story = Story()
    story.message("requests", "{not json", run=None, by="harness", key=None)
    story.message("results", {"run_id": 5}, run=None, by="harness", key=None)
    run = story.run(CHAIN, {"w": 1}, via="kafka")
    story.add(
        "kafka",
        "message",
        None,
        topic="dead_letters",
        from_topic="requests",
        partition=0,
        offset=0,
        key=None,
        by="subject",
        value=None,
        raw="{not json",
        headers={},
    )
    story.take_up(run)
    story.do(run, "a", {}, {"v": 1})
    story.do(run, "b", {"x": 1}, {"v": "2"})
    story.do(run, "c", {"text": "got 2", "w": 1}, {"done": True})
    story.over(run)
    return story


def agent_retries() -> Story:
    """The agent answers 503 twice; the bridge pauses as told."""
    story = Story(
        agent_records={"worker": {"retry_config": {"max_retries": 2, "initial_delay_ms": 100}, "timeout_ms": 1000}}
    )
    run = story.run(steps("a"), {})
    story.take_up(run)
    one = story.begin(run, "a", {})
    for pause in (0.06, 0.15):
        story.answer(one, story.call(one), status=503)
        story.wait(pause)
    story.serve(one, {"v": 1})
    story.over(run)
    return story


GOOD: dict[str, Callable[[], Story]] = {
    made.__name__: made
    for made in (
        chain, failed, cancelled, retried, parallel, loop, loop_parallel, fork, condition, killed, two_runs, bad_messages, agent_retries,
    )
}  # fmt: skip


def history(name: str) -> History:
    """The good history of a shape."""
    return GOOD[name]().end()
