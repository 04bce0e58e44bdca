"""A sound definition, and every mistake that can be made in one with what is told about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Raw = dict[str, Any]


def agent(step_id: str, **fields: Any) -> Raw:
    return {"id": step_id, "agent_name": "x", **fields}


def sound() -> Raw:
    """A definition with every type of step and no mistake."""
    steps = [
        agent("first", next_step="both"),
        {"id": "both", "type": "parallel", "parallel_steps": ["one", "two"], "next_step": "choice"},
        agent("one"),
        agent("two"),
        {
            "id": "choice", "type": "conditional", "condition": {"expression": "${one.output.n} == 1"},
            "if_true_step": "yes", "if_false_step": "no", "next_step": "each",
        },
        agent("yes"),
        agent("no"),
        {
            "id": "each", "type": "loop", "next_step": "fork",
            "loop_config": {"collection": "${first.output.items}", "loop_body": ["prepare", "handle"]},
        },
        agent("prepare", input_mapping={"item": "${loop.item}"}),
        agent("handle", input_mapping={"made": "${prepare.output}"}),
        {
            "id": "fork", "type": "fork_join",
            "fork_join_config": {
                "branches": {"l": {"steps": ["l1", "l2"]}, "r": {"steps": ["r1"]}}, "join_policy": "n_of_m", "n_required": 2,
            },
        },
        agent("l1"),
        agent("l2", input_mapping={"before": "$.l1.output_data"}),
        agent("r1"),
    ]  # fmt: skip
    return {"name": "w", "start_step": "first", "steps": {step["id"]: step for step in steps}}


Change = Callable[[Raw], Any]


def step(step_id: str, **fields: Any) -> Change:
    return lambda definition: definition["steps"][step_id].update(fields)


def reference(step_id: str, text: str) -> Change:
    return step(step_id, input_mapping={"k": ["", {"a/b": text}]})


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def config(step_id: str, **fields: Any) -> Change:
    def change(definition: Raw) -> None:
        raw = definition["steps"][step_id]
        (raw.get("loop_config") or raw["fork_join_config"]).update(fields)

    return change


def _renamed_id(definition: Raw) -> None:
    definition["steps"]["one"]["id"] = "One"


_IN_REFERENCE = "/steps/{}/input_mapping/k/1/a~1b"

# (clause, what is done to the sound definition, pointer, message, suggestion)
MISTAKES: list[tuple[str, Change, str, str, str | None]] = [
    (
        "DEF-01", lambda d: d.pop("name"),
        "", "'name' is a required property", None,
    ),
    (
        "DEF-01", lambda d: d.update(name=""),
        "/name", "'' should be non-empty", None,
    ),
    (
        "DEF-01", lambda d: d.pop("start_step"),
        "", "'start_step' is a required property", None,
    ),
    (
        "DEF-01", lambda d: d.update(steps={}),
        "/steps", "{} should be non-empty", None,
    ),
    (
        "DEF-02", lambda d: d["steps"]["one"].pop("id"),
        "/steps/one", "step 'one': 'id' is a required property", None,
    ),
    (
        "DEF-02", _renamed_id,
        "/steps/one/id", "the id of step 'one' must equal its key, found 'One'", "write 'one'",
    ),
    (
        "DEF-03", step("one", type="agnet"),
        "/steps/one/type", "step 'one': 'agnet' is not one of ['agent', 'parallel', 'conditional', 'loop', 'fork_join']",
        "one of 'agent', 'parallel', 'conditional', 'loop', 'fork_join'",
    ),
    (
        "DEF-03, DEF-15", step("one", type=None),
        "/steps/one/type", "step 'one': None is not one of ['agent', 'parallel', 'conditional', 'loop', 'fork_join']",
        "one of 'agent', 'parallel', 'conditional', 'loop', 'fork_join'",
    ),
    (
        "DEF-04", lambda d: d["steps"]["one"].pop("agent_name"),
        "/steps/one", "step 'one': 'agent_name' is a required property", None,
    ),
    (
        "DEF-04", step("both", parallel_steps=["one"]),
        "/steps/both/parallel_steps", "step 'both': ['one'] is too short", None,
    ),
    (
        "DEF-04", step("choice", condition={}),
        "/steps/choice/condition", "step 'choice': 'expression' is a required property", None,
    ),
    (
        "DEF-04", step("choice", if_true_step=None, if_false_step=None),
        "/steps/choice", "step 'choice': a conditional names an if_true_step, an if_false_step, or both; found neither", None,
    ),
    (
        "DEF-04", config("each", loop_body=[]),
        "/steps/each/loop_config/loop_body", "step 'each': [] should be non-empty", None,
    ),
    (
        "DEF-04", config("fork", branches={"l": {"steps": ["l1"]}}),
        "/steps/fork/fork_join_config/branches", "step 'fork': {'l': {'steps': ['l1']}} does not have enough properties", None,
    ),
    (
        "DEF-04", config("fork", join_policy="most"),
        "/steps/fork/fork_join_config/join_policy", "step 'fork': 'most' is not one of ['all', 'any', 'majority', 'n_of_m']",
        "one of 'all', 'any', 'majority', 'n_of_m'",
    ),
    (
        "DEF-06", config("fork", n_required=3),
        "/steps/fork/fork_join_config/n_required",
        "n_required of step 'fork' must be from 1 to the number of its branches, 2; found 3", None,
    ),
    (
        "DEF-06", config("fork", n_required=0),
        "/steps/fork/fork_join_config/n_required", "step 'fork': 0 is less than the minimum of 1", None,
    ),
    (
        "DEF-07", config("each", max_iterations=0),
        "/steps/each/loop_config/max_iterations", "step 'each': 0 is less than the minimum of 1", None,
    ),
    (
        "DEF-07", step("both", max_parallelism=1.5),
        "/steps/both/max_parallelism", "step 'both': 1.5 is not of type 'integer', 'null'", "a value of type integer or null",
    ),
    (
        "DEF-17", config("fork", branch_timeout_seconds=31536001),
        "/steps/fork/fork_join_config/branch_timeout_seconds",
        "step 'fork': 31536001 is greater than the maximum of 31536000", None,
    ),
    (
        "DEF-08", lambda d: d.update(start_step="frist"),
        "/start_step", "start_step names 'frist', which is no step", "did you mean 'first'?",
    ),
    (
        "DEF-08", step("first", next_step="boths"),
        "/steps/first/next_step", "next_step of step 'first' names 'boths', which is no step", "did you mean 'both'?",
    ),
    (
        "DEF-08", step("both", parallel_steps=["one", "two", "onne"]),
        "/steps/both/parallel_steps/2", "step 'both' names 'onne', which is no step", "did you mean 'one'?",
    ),
    (
        "DEF-08", config("each", loop_body=["prepare", "handle", "handel"]),
        "/steps/each/loop_config/loop_body/2", "step 'each' names 'handel', which is no step", "did you mean 'handle'?",
    ),
    (
        "DEF-08", config("fork", branches={"l": {"steps": ["l1", "l2"]}, "r": {"steps": ["r1", "zzz"]}}),
        "/steps/fork/fork_join_config/branches/r/steps/1", "step 'fork' names 'zzz', which is no step",
        "the steps are 'first', 'both', 'one', 'two', 'choice', 'yes', 'no', 'each', 'prepare', 'handle', 'fork', "
        "'l1', 'l2', 'r1'",
    ),
    (
        "DEF-08", step("choice", if_false_step="nope"),
        "/steps/choice/if_false_step", "step 'choice' names 'nope', which is no step", "did you mean 'no'?",
    ),
    (
        "DEF-09", step("fork", next_step="both"),
        "/steps/fork/next_step", "the steps run in a cycle: 'both' -> 'choice' -> 'each' -> 'fork' -> 'both'", "write null",
    ),
    (
        "DEF-09", step("fork", next_step="fork"),
        "/steps/fork/next_step", "the steps run in a cycle: 'fork' -> 'fork'", "write null",
    ),
    (
        "DEF-09", step("both", parallel_steps=["one", "two", "both"]),
        "/steps/both/parallel_steps/2", "step 'both' contains itself", None,
    ),
    (
        "DEF-10", lambda d: d["steps"].update(lost=agent("lost")),
        "/steps/lost", "step 'lost' can never run: nothing leads to it",
        "name it as a next_step or in a composite step, or remove it",
    ),
    (
        "DEF-10", lambda d: d["steps"].update(
            lost={"id": "lost", "type": "parallel", "parallel_steps": ["p", "q"], "next_step": "then"},
            p=agent("p"), q=agent("q"), then=agent("then"),
        ),
        "/steps/lost", "step 'lost' can never run: nothing leads to it",
        "name it as a next_step or in a composite step, or remove it",
    ),
    (
        "DEF-09", lambda d: d["steps"].update(p=agent("p", next_step="q"), q=agent("q", next_step="p")),
        "/steps/p", "step 'p' can never run: only a cycle of steps leads to it", None,
    ),
    (
        "DEF-11", step("fork", next_step="one"),
        "/steps/fork/next_step", "step 'one' is named here, and runs already as part of 'both'",
        "a step has one place: give a copy of it an id of its own",
    ),
    (
        "DEF-11", step("choice", if_false_step="yes"),
        "/steps/choice/if_false_step", "step 'yes' is named here, and runs already as part of 'choice'",
        "a step has one place: give a copy of it an id of its own",
    ),
    (
        "DEF-11", step("both", parallel_steps=["one", "two", "one"]),
        "/steps/both/parallel_steps", "step 'both': ['one', 'two', 'one'] has non-unique elements", None,
    ),
    (
        "DEF-12", step("one", next_step="choice"),
        "/steps/one/next_step", "step 'one' runs as part of 'both', so nothing follows it",
        "write null; what follows is the next_step of 'both'",
    ),
    (
        "DEF-14", lambda d: d["steps"].update({"": agent("a")}),
        "/steps", "a name here has 1 to 200 characters, found 0", None,
    ),
    (
        "DEF-14", lambda d: d["steps"].update({"a" * 201: agent("a")}),
        "/steps", "a name here has 1 to 200 characters, found 201", None,
    ),
    (
        "DEF-16", lambda d: d["steps"].update({"a/~'\nb": {"id": "a/~'\nb"}}),
        "/steps/a~1~0'\nb", "step 'a/~'\nb': 'agent_name' is a required property", None,
    ),
    (
        "REF-15", reference("one", "x${loop.item.k}"),
        _IN_REFERENCE.format("one"), "${loop.item.k} in step 'one' can never be resolved: step 'one' is in no loop", None,
    ),
    (
        "REF-15", config("each", collection="${loop.item}"),
        "/steps/each/loop_config/collection", "${loop.item} in step 'each' can never be resolved: step 'each' is in no loop",
        None,
    ),
    (
        "REF-16", reference("two", "${one.output}"),
        _IN_REFERENCE.format("two"),
        "${one.output} in step 'two' can never be resolved: step 'one' runs beside step 'two', not before it", None,
    ),
    (
        "REF-16", reference("r1", "${l1.output}"),
        _IN_REFERENCE.format("r1"),
        "${l1.output} in step 'r1' can never be resolved: step 'l1' runs beside step 'r1', not before it", None,
    ),
    (
        "REF-16", reference("no", "${yes.output}"),
        _IN_REFERENCE.format("no"),
        "${yes.output} in step 'no' can never be resolved: steps 'no' and 'yes' never run in the same execution of 'choice'",
        None,
    ),
    (
        "REF-17", reference("one", "$.one.output_data.x"),
        _IN_REFERENCE.format("one"),
        "$.one.output_data.x in step 'one' can never be resolved: a step has no output before it has run", None,
    ),
    (
        "REF-17", reference("one", "${both.output}"),
        _IN_REFERENCE.format("one"),
        "${both.output} in step 'one' can never be resolved: step 'one' runs as part of 'both', which has not ended by then",
        None,
    ),
    (
        "REF-17", reference("both", "${one.output}"),
        _IN_REFERENCE.format("both"),
        "${one.output} in step 'both' can never be resolved: step 'one' runs as part of 'both', which has not begun by then",
        None,
    ),
    (
        "REF-17", reference("first", "${fork.output}"),
        _IN_REFERENCE.format("first"),
        "${fork.output} in step 'first' can never be resolved: step 'fork' runs after step 'first'", None,
    ),
    (
        "REF-17", reference("prepare", "${handle.output}"),
        _IN_REFERENCE.format("prepare"),
        "${handle.output} in step 'prepare' can never be resolved: step 'handle' runs after step 'prepare'", None,
    ),
    (
        "REF-17", step("choice", condition={"expression": "len(${each.output.iterations}) > 1"}),
        "/steps/choice/condition/expression",
        "${each.output.iterations} in step 'choice' can never be resolved: step 'each' runs after step 'choice'", None,
    ),
    (
        "REF-18", reference("l1", "${prepare.output}"),
        _IN_REFERENCE.format("l1"),
        "${prepare.output} in step 'l1' can never be resolved: step 'prepare' runs once per iteration of 'each'; "
        "outside of it take ${each.output.iterations[n]}", None,
    ),
    (
        "REF-19", reference("two", "a ${frist.output.x} b"),
        _IN_REFERENCE.format("two"), "${frist.output.x} in step 'two' names 'frist', which is no step", "did you mean 'first'?",
    ),
    (
        "CND-07", step("choice", condition={"expression": "1 === 2"}),
        "/steps/choice/condition/expression",
        "the expression of step 'choice' is no condition: expected a value or an operator at column 5, found '='", None,
    ),
    (
        "limit", step("one", input_mapping={"k": deep(100)}),
        "/steps/one/input_mapping", "the input_mapping of step 'one' is nested deeper than 100 levels", None,
    ),
    (
        "limit", step("one", input_mapping={"k": deep(100_000)}),
        "/steps/one/input_mapping", "the input_mapping of step 'one' is nested deeper than 100 levels", None,
    ),
    (
        "limit", config("each", collection=deep(5000)),
        "/steps/each/loop_config/collection", "the collection of step 'each' is nested deeper than 100 levels", None,
    ),
]  # fmt: skip
