"""References in both syntaxes, as REF-01 to REF-27 say."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from system.engine.references import Unresolved, compile_template, parse_reference, references_in, resolve
from tests.engine.strategies import ODD_IDS, literals

INPUT = {
    "text": "hello", "n": 3, "zero": 0, "none": None, "yes": True, "half": 0.5, "list": [1, [2, {"x": "deep"}]],
    "object": {"a b": 1, "ü": "ö"}, "trap": "${workflow.input.n}", "big": 2**53 - 1,
}  # fmt: skip
OUTPUTS: dict[str, Any] = {
    "a": {"value": "of a", "output": {"value": "inner"}},
    "a.b": {"value": "of a.b"},
    "a.output": {"value": "of a.output"},
    "workflow": {"value": "of workflow"},
    "workflow_input": {"output_data": "of the step"},
    "loop": {"value": "of loop"},
    "empty": None,
    ".output": {"value": "of .output"},
    **{step_id: {"value": step_id} for step_id in ODD_IDS if step_id not in ("a.b", "loop", "workflow")},
}


class _Scope:
    workflow_input: Any = INPUT

    def output_of(self, step_id: str) -> Any:
        if step_id == "missing":
            raise Unresolved("step 'missing' did not run")
        return OUTPUTS[step_id]

    def loop_variable(self, name: str) -> Any:
        return {"item": {"k": [7]}, "index": 0, "total": 2, "is_first": True, "is_last": False}[name]


def value_of(template: Any) -> Any:
    return resolve(compile_template(template, OUTPUTS), _Scope())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # REF-01, REF-05, REF-08, REF-09, REF-10
        ("${workflow.input}", INPUT),
        ("${workflow.input.text}", "hello"),
        ("${workflow.input.n}", 3),
        ("${workflow.input.zero}", 0),
        ("${workflow.input.none}", None),
        ("${workflow.input.yes}", True),
        ("${workflow.input.list[1][1].x}", "deep"),
        ("${workflow.input.object.a b}", 1),
        ("${workflow.input.object.ü}", "ö"),
        ("${workflow.input.big}", 9007199254740991),
        ("$.workflow_input", INPUT),
        ("$.workflow_input.list[0]", 1),
        # REF-06
        ("${a.output}", OUTPUTS["a"]),
        ("${a.output.value}", "of a"),
        ("$.a.output_data", OUTPUTS["a"]),
        ("$.a.output_data.value", "of a"),
        ("${empty.output}", None),
        # REF-12
        ("${workflow.input.trap}", "${workflow.input.n}"),
        # REF-13
        ("${loop.item}", {"k": [7]}),
        ("${loop.item.k[0]}", 7),
        ("${loop.index}", 0),
        ("${loop.total}", 2),
        ("${loop.is_first}", True),
        ("${loop.is_last}", False),
        # REF-25: the longest id that there is
        ("${a.output.output.value}", "of a.output"),
        ("${a.b.output.value}", "of a.b"),
        ("$.a.b.output_data.value", "of a.b"),
        ("${workflow.output.value}", "of workflow"),
        ("${loop.output.value}", "of loop"),
        ("${.output.output.value}", "of .output"),
        # REF-26
        ("$.workflow_input.n", 3),
    ],
)  # fmt: skip
def test_a_whole_reference_is_the_value_itself(text: str, value: Any) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("step_id", [step_id for step_id in OUTPUTS if isinstance(OUTPUTS[step_id], dict)])
def test_any_step_id_can_be_referred_to_where_the_syntax_can_hold_it(step_id: str) -> None:
    if not set("{}") & set(step_id):
        assert value_of(f"${{{step_id}.output}}") == OUTPUTS[step_id]
    if not step_id.startswith("workflow_input"):
        assert value_of(f"$.{step_id}.output_data") == OUTPUTS[step_id]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n is ${workflow.input.n}", "n is 3"),
        ("${workflow.input.text} ${workflow.input.text}", "hello hello"),
        ("${workflow.input.n}${workflow.input.none}", "3null"),
        ("<${workflow.input.yes}>", "<true>"),
        ("<${workflow.input.half}>", "<0.5>"),
        ('<${workflow.input.list}>', '<[1,[2,{"x":"deep"}]]>'),
        ("<${workflow.input.object}>", '<{"a b":1,"ü":"ö"}>'),
        ("<${workflow.input.trap}>", "<${workflow.input.n}>"),
        ("${${workflow.input.n}}", "${3}"),
        ("$${workflow.input.n}", "$3"),
        ("${foo} ${workflow.input.n}", "${foo} 3"),
        ("see $.workflow_input.n: ${workflow.input.n}", "see $.workflow_input.n: 3"),
    ],
)  # fmt: skip
def test_an_embedded_reference_is_written_into_the_text(text: str, value: str) -> None:
    """REF-02, REF-07, REF-12."""
    assert value_of(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "$", "${", "${}", "}", "${foo}", "$5", "$.x", "$.", "$..", "${workflow}", "${workflow.inputs}",
        "${workflow.input.}", "${workflow.input..a}", "${workflow.input[x]}", "${workflow.input[-1]}", "${workflow.input[]}",
        "${loop}", "${loop.}", "${loop.items}", "${.output.x}", "$.a.output", "$.a.output_datax", "${a.output_data}",
        "see $.workflow_input.n", "$.workflow_input.n ", "${ workflow.input.n }", "$.workflow_inputs",
    ],
)  # fmt: skip
def test_everything_else_is_a_literal(text: str) -> None:
    """REF-04. (A trailing blank belongs to the name of the last field.)"""
    if text == "$.workflow_input.n ":
        with pytest.raises(Unresolved):
            value_of(text)
    else:
        assert parse_reference(text, OUTPUTS) is None
        assert value_of(text) == text


@pytest.mark.parametrize("path", ["", ".x", "[0]", ".x[1].y"])
def test_a_reference_to_an_unknown_step_is_one_still(path: str) -> None:
    """REF-19: so that it can be refused; of several readings the shortest id is reported."""
    for text in (f"${{nope.output{path}}}", f"$.nope.output_data{path}"):
        reference = parse_reference(text, OUTPUTS)
        assert reference is not None
        assert (reference.source, reference.name) == ("step", "nope")
    reference = parse_reference("${x1.output.output.y}", {})
    assert reference is not None
    assert reference.name == "x1"


@pytest.mark.parametrize(
    "text",
    [
        "${workflow.input.nope}", "${workflow.input.text.x}", "${workflow.input.text[0]}", "${workflow.input.list[9]}",
        "${workflow.input.list.x}", "${workflow.input.none.x}", "${workflow.input[0]}", "${workflow.input.n[0]}",
        "$.workflow_input.nope", "${empty.output.x}", "${loop.index.x}", "${a.output.nope}",
        "${workflow.input.list[99999999999999999999]}",
    ],
)  # fmt: skip
def test_a_reference_that_leads_nowhere_is_named_as_it_is_written(text: str) -> None:
    """REF-11, whole and embedded."""
    for template in (text, [f"<{text}>"]) if text.startswith("${") else (text,):
        with pytest.raises(Unresolved) as raised:
            value_of(template)
        assert text in str(raised.value)


def test_a_step_that_did_not_run_is_named_with_the_reference() -> None:
    with pytest.raises(Unresolved) as raised:
        resolve(compile_template({"k": ["${missing.output}"]}, {"missing": 1}), _Scope())
    assert str(raised.value) == "reference ${missing.output} cannot be resolved: step 'missing' did not run"


def test_mappings_are_resolved_at_any_depth_and_keys_are_literals() -> None:
    """REF-03."""
    template = {"${workflow.input.n}": [{"x": ["${workflow.input.n}", "a${workflow.input.n}"]}], "y": {"z": 1}}
    assert value_of(template) == {"${workflow.input.n}": [{"x": [3, "a3"]}], "y": {"z": 1}}


@given(literals)
def test_a_value_without_references_is_handed_over_unchanged(value: Any) -> None:
    template = compile_template(value, ())
    assert list(references_in(template)) == []
    assert resolve(template, _Scope()) == value


@given(st.text(alphabet="${}.[]0ab_loputinwrkfe ", max_size=60))
def test_no_text_makes_the_parser_raise(text: str) -> None:
    """Whatever a text is, it is compiled; what it holds is a reference or a literal."""
    template = compile_template(text, ("a", "a.output", "o"))
    for _, reference in references_in(template):
        assert reference.text in text


def test_pointers_lead_to_the_text_that_holds_a_reference() -> None:
    template = compile_template({"a/b": ["", {"~": "x ${workflow.input.n} ${a.output}"}]}, OUTPUTS)
    assert [(pointer, reference.text) for pointer, reference in references_in(template)] == [
        ("/a~1b/1/~0", "${workflow.input.n}"),
        ("/a~1b/1/~0", "${a.output}"),
    ]


def test_a_value_too_deep_for_a_text_leaves_the_reference_unresolved() -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]

    class Deep(_Scope):
        workflow_input = {"deep": deep}

    assert resolve(compile_template("${workflow.input.deep}", ()), Deep()) is deep
    with pytest.raises(Unresolved, match=r"\$\{workflow.input.deep\} cannot be written into a text"):
        resolve(compile_template("x${workflow.input.deep}", ()), Deep())


@pytest.mark.parametrize("unit", [".output", "${a.output", "${", "}", "$.", "[0]", "${a.output}"])
def test_a_megabyte_of_anything_is_compiled_in_linear_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    begun = time.process_time()
    for candidate in (text, f"${{{text}}}", f"$.{text}", f"$.a{text.replace('.output', '.output_data')}"):
        compile_template(candidate, OUTPUTS)
    assert time.process_time() - begun < 10
