"""The oracle reads references and conditions as the clauses say."""

from __future__ import annotations

from typing import Any

import pytest

from harness.oracle.conditions import NotParsed, evaluate, parse
from harness.oracle.plan import NotAPlan, Plan
from harness.oracle.references import Reference, Unresolvable, follow, parts, resolve
from harness.oracle.values import MISSING, same
from tests.harness.checkers.story import steps

IDS = {"a", "a.output.b", "x y", "workflow_input"}
DATA = {
    "": {"n": 1, "text": "t", "list": [1, {"k": None}], "ref": "${workflow.input.n}"},
    "a": {"v": True, "o": {"z": [0.5]}},
    "a.output.b": {"v": "longest"},
    "x y": None,
    "workflow_input": {"n": 9},
}


def lookup(reference: Reference) -> Any:
    return (
        DATA.get(reference.name, MISSING)
        if reference.source != "loop"
        else {"item": {"k": 5}, "index": 0}.get(reference.name, MISSING)
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${workflow.input.n}", 1),
        ("${workflow.input}", DATA[""]),
        ("$.workflow_input.list[1].k", None),
        ("${a.output}", DATA["a"]),
        ("$.a.output_data.o.z[0]", 0.5),
        ("${x y.output}", None),
        ("${a.output.b.output.v}", "longest"),
        ("$.workflow_input.n", 1),
        ("${loop.item.k}", 5),
        ("n=${workflow.input.n}, v=${a.output.v}, t=${workflow.input.text}, ${x y.output}", "n=1, v=true, t=t, null"),
        ("${workflow.input.ref}", "${workflow.input.n}"),
        ("${workflow.input.ref} ${workflow.input.n}", "${workflow.input.n} 1"),
        ("${", "${"),
        ("${foo}", "${foo}"),
        ("$5", "$5"),
        ("$.x", "$.x"),
        ("${a ${workflow.input.n}", "${a 1"),
        ("it is $.a.output_data.v", "it is $.a.output_data.v"),
        ({"k": ["${workflow.input.n}", 2], "${workflow.input.n}": None}, {"k": [1, 2], "${workflow.input.n}": None}),
    ],
)
def test_a_mapping_resolves_as_ref_says(written: Any, value: Any) -> None:
    assert same(resolve(written, IDS, lookup), value)


@pytest.mark.parametrize(
    "written",
    ["${workflow.input.no}", "${a.output.v.more}", "${x y.output.v}", "${workflow.input.list[2]}", "a ${loop.total} b"],
)
def test_a_reference_that_leads_nowhere_names_itself(written: str) -> None:
    with pytest.raises(Unresolvable) as caught:
        resolve(written, IDS, lookup)
    assert caught.value.reference.text in written


@pytest.mark.parametrize(
    ("expression", "truth", "is_evaluated"),
    [
        ("1 == 1.0", True, True),
        ("true == 1", False, True),
        ("'1' == 1", False, True),
        ("[1, {0}] == 1".replace("{0}", "2"), False, True),
        ("1 < 2 and not 2 < 1", True, True),
        ("not 1 == 1 or 2 == 2", True, True),
        ("'b' > 'a'", True, True),
        ("1 < 'a'", False, False),
        ("not (1 < 'a')", False, False),
        ("1 == 1 or ${a.output.no} == 1", True, True),
        ("${a.output.no} == 1 or 1 == 1", False, False),
        ("2 in ${workflow.input.list}", False, True),
        ("1 in ${workflow.input.list}", True, True),
        ("${workflow.input.list} contains 1", True, True),
        ("'n' in ${workflow.input}", True, True),
        ("'x' not in 'abc'", True, True),
        ("1 in 'abc'", False, False),
        ("len(${workflow.input.list}) == 2", True, True),
        ("len(5) == 1", False, False),
        ("${a.output.v}", True, True),
        ("${x y.output}", False, True),
        ("'' or [] or 0 or null or False", False, True),
        (r"'it\'s' == \"it's\"".replace(r"\"", '"'), True, True),
        ("$.a.output_data.v == True", True, True),
        ("-1 < 0", True, True),
        ("not not true", True, True),
    ],
)
def test_a_condition_is_as_cnd_says(expression: str, truth: bool, is_evaluated: bool) -> None:
    assert evaluate(parse(expression, IDS), lookup) == (truth, is_evaluated)


@pytest.mark.parametrize(
    "expression", ["", "1 ==", "f(1)", "a.b == 1", "x = 1", "(1", "1 2", "${nobody.output} == 1", "1 < 2 < 3"]
)
def test_what_the_oracle_does_not_read_is_not_judged(expression: str) -> None:
    with pytest.raises(NotParsed):
        parse(expression, IDS)


@pytest.mark.parametrize(
    "plan",
    [
        None,
        {"steps": {}},
        steps("a", b={}),
        {"start_step": "a", "steps": {"a": {"id": "a", "next_step": "a"}}},
        {"start_step": "a", "steps": {"a": {"id": "a", "next_step": "b"}}},
        {
            "start_step": "a",
            "steps": {"a": {"id": "a", "type": "parallel", "parallel_steps": ["a", "b"]}, "b": {"id": "b"}},
        },
        {"start_step": "a", "steps": {"a": {"id": "a", "type": "loop", "loop_config": {"loop_body": 5}}}},
        {
            "start_step": "a",
            "steps": {
                "a": {"id": "a"},
                "b": {"type": "parallel", "parallel_steps": ["c"]},
                "c": {"type": "parallel", "parallel_steps": ["b"]},
            },
        },
    ],
)
def test_a_plan_that_is_not_sound_is_no_plan(plan: Any) -> None:
    with pytest.raises(NotAPlan):
        Plan.of(plan)


def test_parts_keep_the_whole_text() -> None:
    text = "a ${workflow.input.n}${foo} b ${a.output.v} c"
    assert "".join(part if isinstance(part, str) else part.text for part in parts(text, IDS)) == text


def test_a_path_goes_through_no_null() -> None:
    assert follow({"a": None}, ("a",)) is None
    assert follow({"a": None}, ("a", "b")) is MISSING
