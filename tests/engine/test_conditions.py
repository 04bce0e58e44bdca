"""Conditions, as CND-01 to CND-14 say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from system.engine.conditions import ConditionSyntaxError, parse_condition
from system.engine.references import Unresolved
from system.engine.values import is_deeper_than, json_equal
from tests.engine import expressions
from tests.engine.interpretation import Execution
from tests.engine.interpretation import Scope as PlainScope
from tests.engine.strategies import conditions, literals

INPUT: dict[str, Any] = {
    "n": 3, "zero": 0, "one": 1, "half": 0.5, "yes": True, "no": False, "none": None, "text": "hello", "blank": "",
    "list": [1, "a", None, [2], {"k": 1}], "bare": [], "object": {"k": 1, "ü": 2}, "hollow": {}, "trap": "1 == 1",
}  # fmt: skip


class _Scope:
    def __init__(self, workflow_input: Any = INPUT) -> None:
        self.workflow_input = workflow_input

    def output_of(self, step_id: str) -> Any:
        if step_id == "gone":
            raise Unresolved("step 'gone' did not run")
        return {"count": 2}

    def loop_variable(self, name: str) -> Any:
        raise Unresolved("it stands in no loop")


def holds(text: str) -> bool:
    text = re.sub(r"@(\w+(?:\[\d+\])?(?:\.\w+)?)", r"${workflow.input.\1}", text)
    return parse_condition(text, ("s", "gone")).holds(_Scope())


TRUE = [
    # CND-01
    "1 == 1", "1 != 2", "1 < 2", "2 <= 2", "3 > 2", "3 >= 3", "-1 < 0", "0.5 < 1", "1e2 == 100", "'a' < 'b'", "'Z' < 'a'",
    "'ä' > 'z'", "'\U0001f98a' > '\uffff'", "@n==3", "3==@n", "1<2", "@half < @n",
    # CND-02
    "true or false and false", "not false and true", "not (false and true)", "not not true", "not 1 == 2",
    "(true or false) and true", "not false or false", "true and not false", "not not not false", "((((1 == 1))))",
    # CND-03
    "1 in [1, 2]", "'a' in @list", "@list contains 'a'", "null in @list", "[2] in @list", "'ell' in @text", "@text contains ''",
    "'k' in @object", "@object contains 'ü'", "3 not in [1, 2]", "'x' not in @text", "not 3 in [1, 2]", "1.0 in @list",
    # CND-04
    "len(@list) == 5", "len(@text) == 5", "len(@object) == 2", "len('\U0001f98a') == 1", "len([]) == 0", "len (@bare) == 0",
    # CND-05
    r"'it\'s' == " + '"it\'s"', r'"a\\b" == ' + r"'a\\b'", "[] == []", "[1, [2]] == [1, [2.0]]",
    "\"'\" == '\\''", r"len('\n') == 2", "'' == @blank",
    # CND-06
    "$.workflow_input.n == 3", "$.workflow_input.list[0] == 1", "${s.output.count} > 1", "$.s.output_data.count == 2",
    "len($.workflow_input.list) > 4", "$.workflow_input.n<4",
    # CND-09
    "true != 1", "false != 0", "'1' != 1", "1 == 1.0", "null == null", "null != 0", "null != false", "@list[3] == [2]",
    "@object == @object", "@list[4] == @list[4]", "[true] != [1]", "@hollow != @bare",
    # CND-11
    "@trap == '1 == 1'", "not (@trap == true)",
    # CND-12
    "1", "'x'", "@list", "@object", "0.1", "not 0", "not ''", "not @bare", "not @hollow", "not null", "'false'",
    # CND-13
    "true or @missing", "not (false and @missing)", "true or @missing == 1 and @missing",
    # CND-14
    "True", "not False", "None == null",
]  # fmt: skip
FALSE = [
    "1 == 2", "0", "''", "[]", "null", "false", "@bare", "@hollow", "0.0", "-0",
    "true and false or false", "not true or false", "not (true or false)", "(true) and (false)",
    # CND-01, CND-03, CND-04: cannot be evaluated
    "1 < '2'", "'a' < 1", "null < 1", "true < 2", "[1] < [2]", "@object > 1", "1 in 1", "1 in 'text'", "1 in @object",
    "'a' in null", "len(1)", "len(null)", "len(true)", "null contains 1", "1 not in 2",
    # CND-08: and so they are under not, too
    "not @missing", "not (@missing == 1)", "@missing != 1", "@missing not in [1]", "not 1 < '2'", "not len(1)",
    "${gone.output.x} == 1", "not ${gone.output.x}", "@missing or true", "true and @missing", "(@missing or true) or true",
    "not (true and @missing)", "[@missing] != 1", "@none.deeper == null", "true in @list",
]  # fmt: skip
REFUSED = [
    # CND-10
    "", " ", "1 ==", "== 1", "1 = 1", "a", "a == 1", "print(1)", "len", "len(", "len()", "len 1", "x.y", "@n.strip()", "1 + 1",
    "1 == 1 == 1", "1 < 2 < 3", "1 2", "(1", "1)", "()", "[1", "[1 2]", "[,]", "not", "and 1", "1 or", "1 and or 1", "1 not 1",
    "'open", '"open', "'a\\'", "1.", ".5", "1e", "0x10", "1_000", "$x", "${", "${x", "${nope}", "$.x", "lambda: 1", "__import__('os')",
    "1; 2", "1 if 2 else 3", "`1`", "1 && 1", "!1", "1 <> 2", "1 is 1", "TRUE", "Null", "1 IN [1]", "1 in not [1]", "#", "\\",
    "${workflow.input.n", "len[1]", "@n[0", "1 == not 1", "{}", "1 in in [1]", "a'b'", "1a",
]  # fmt: skip


@pytest.mark.parametrize("text", TRUE)
def test_this_is_true(text: str) -> None:
    assert holds(text) is True


@pytest.mark.parametrize("text", FALSE)
def test_this_is_false_or_cannot_be_evaluated(text: str) -> None:
    assert holds(text) is False


@pytest.mark.parametrize("text", REFUSED)
def test_this_is_no_condition(text: str) -> None:
    with pytest.raises(ConditionSyntaxError):
        holds(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 == ", "expected a value (a literal, a reference, `len(...)` or a parenthesis) at column 5, found the end"),
        ("(1 == 1", "expected `)` at column 8, found the end"),
        ("1 ? 2", "expected a value or an operator at column 3, found '?'"),
        ("1 == 2 == 3", "expected `and`, `or` or the end (comparisons do not chain) at column 8, found '=='"),
        (
            "  ${x}",
            "expected a reference such as ${workflow.input.name} or ${step.output.name} at column 3, found '${x}'",
        ),
    ],
)
def test_a_syntax_error_says_what_was_expected_where(text: str, message: str) -> None:
    with pytest.raises(ConditionSyntaxError) as raised:
        parse_condition(text, ())
    assert str(raised.value) == message


def test_references_are_found_wherever_they_stand() -> None:
    text = "not (len(${a.output.x}) in [1, $.b.output_data]) or ${workflow.input} and ${loop.item} == 1"
    condition = parse_condition(text, ("a", "b"))
    assert [reference.text for reference in condition.references()] == [
        "${a.output.x}", "$.b.output_data", "${workflow.input}", "${loop.item}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "(" * 51 + "1" + ")" * 51,
        "[" * 5000,
        "not (" * 60 + "1" + ")" * 60,
        "1 == " * 10_000,
        "len(" * 100 + "1" + ")" * 100,
    ],
)
def test_there_is_a_limit_to_depth_and_length(text: str) -> None:
    with pytest.raises(ConditionSyntaxError):
        parse_condition(text, ())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(" * 49 + "1" + ")" * 49, True),
        ("not " * 2499 + "0", True),
        ("not (true and (" * 24 + "0" + "))" * 24, False),
        ("true and " * 1000 + "1", True),
        ("[" * 49 + "]" * 49 + " != 1", True),
    ],
)
def test_what_is_within_the_limits_works(text: str, value: bool) -> None:
    assert parse_condition(text, ()).holds(_Scope()) is value


def test_values_of_any_depth_are_compared() -> None:
    def nested(inner: Any) -> Any:
        for _ in range(5000):
            inner = [{"k": inner}]
        return inner

    scope = _Scope({"a": nested(1), "b": nested(1.0), "c": nested(2)})
    for text, value in (("a} == ${workflow.input.b", True), ("a} == ${workflow.input.c", False)):
        assert parse_condition(f"${{workflow.input.{text}}}", ()).holds(scope) is value
    assert is_deeper_than(nested(1), 9999)
    assert not is_deeper_than(nested(1), 10_000)


_WORDS = st.sampled_from(
    ["and", "or", "not", "in", "contains", "len", "(", ")", "[", "]", ",", "==", "!=", "<", ">=", "1", "-1", "1e400", "'a'", '"',
     "'", "\\", "true", "null", "${workflow.input.n}", "${workflow.input.nope}", "$.s.output_data.count", "${", "}", "$", " ", "\n",
     "\u2003", "ä", "len("]
)  # fmt: skip


@given(st.lists(_WORDS, max_size=25).map(" ".join) | st.lists(_WORDS, max_size=25).map("".join) | st.text(max_size=40))
@example("1e400 == 1e401")
@example("\x1c1")
def test_no_text_raises_anything_but_a_syntax_error_and_no_evaluation_raises(text: str) -> None:
    try:
        condition = parse_condition(text, ("s",))
    except ConditionSyntaxError:
        return
    assert condition.holds(_Scope()) in (True, False)


_OPERANDS = st.one_of(
    st.sampled_from(sorted(INPUT)).map(lambda name: f"${{workflow.input.{name}}}"),
    st.sampled_from(
        [
            "${workflow.input.nope}",
            "0",
            "1",
            "'a'",
            '"hello"',
            "true",
            "null",
            "[]",
            "[1, 'a']",
            "$.s.output_data.count",
        ]
    ),
)


@given(conditions(_OPERANDS))
def test_the_value_is_that_of_the_plain_reading(text: str) -> None:
    """A second reading of the grammar, which evaluates while it parses, comes to the same value."""
    scope = PlainScope({"steps": {"s": {}}}, INPUT, {"s": Execution("COMPLETED", {}, {"count": 2})})
    assert parse_condition(text, ("s",)).holds(_Scope()) is expressions.holds(text, scope)


@given(literals, literals)
def test_equality_is_an_equivalence_that_tells_types_apart(one: Any, other: Any) -> None:
    assert json_equal(one, one)
    assert json_equal(one, other) == json_equal(other, one)
    assert json_equal([one], [other]) == json_equal(one, other) == json_equal({"k": one}, {"k": other})
    assert json_equal(one, other) == (expressions.canonical(one) == expressions.canonical(other))
