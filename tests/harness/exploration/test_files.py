"""A generated case as a scenario file: it loads without a mistake, and means the same."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings

from harness.exploration.files import among_others, document, expectations, expected_of, scenario_of, text_of
from harness.exploration.judging import Judged
from harness.exploration.profiles import Drawn, keys_of
from harness.generation import Case, Size, cases
from harness.oracle import Difference, Undecided
from harness.runner.scripts import action_of
from harness.scenario import load, templates
from harness.verdict import Finding


def test_files_of_cases_are_read_without_a_mistake(tmp_path: Path) -> None:
    """Whatever ids, texts and values there are, those that look like templates among them."""
    folder = tmp_path / "scenarios" / "found"
    folder.mkdir(parents=True)
    for number, key in enumerate(keys_of(Drawn("smoke", 3, 60))):
        case = Case.of_key(key)
        try:
            allowed = case.allowed()
        except Undecided:
            continue
        every = [Difference("CMP-08", step, "row", "") for step in allowed.plan.steps]
        data = document(case, "Whatever is drawn, it holds.", ["CMP-01"], expectations(allowed, every))
        path = folder / f"case_{number}.yaml"
        path.write_text(text_of(data, ["one line", "another"]), encoding="utf-8")
        (scenario,) = load(path)
        workflow = templates.fill(scenario.workflows["main"], {})
        assert workflow == {name: value for name, value in case.workflow.items() if name != "name"}
        assert [act.word for act in scenario.timeline] == [act.word for act in scenario_of(case, "x/y").timeline]


@settings(max_examples=30, derandomize=True, deadline=None)
@given(cases(Size(most_steps=4)))
def test_every_script_can_be_played(case: Case) -> None:
    """The agent server knows every entry."""
    for agent in scenario_of(case, "x/y").agents.values():
        for entry in templates.fill([dict(one) for one in agent.script], {}):
            action_of(entry, {"i": 0})


def test_a_file_is_short() -> None:
    """One step is a few lines."""
    case = Case(
        {"name": "main", "start_step": "a", "steps": {"a": {"id": "a", "agent_name": "w"}}},
        {"w": [{"ok": {"n": 1}}]},
        {},
    )
    allowed = case.allowed()
    difference = Difference("CMP-07", "a", "output", "other")
    text = text_of(
        document(case, "Whatever is drawn, it holds.", ["CMP-07"], expectations(allowed, [difference])), ["why"]
    )
    assert text.splitlines() == [
        "# why",
        "guarantee: Whatever is drawn, it holds.",
        "clauses:",
        "  - CMP-07",
        "workflows:",
        "  main:",
        "    start_step: a",
        "    steps:",
        "      a: {id: a, agent_name: w}",
        "agents:",
        "  w: [ok: {n: 1}]",
        "timeline:",
        "  - {execute: {as: r}}",
        "expect:",
        "  eventually: [{run: r, is: COMPLETED}]",
        "  finally: [{run: r, step: a, times: 1, is: COMPLETED, output: {n: 1}}]",
    ]


def test_a_row_too_many_is_expected_not_to_be_there() -> None:
    """A step that is executed without a task of its own has no count of tasks that could tell."""
    case = Case(
        {
            "name": "main",
            "start_step": "l",
            "steps": {
                "l": {"id": "l", "type": "loop", "loop_config": {"collection": [1, 2], "loop_body": ["a"]}},
                "a": {"id": "a", "agent_name": "w", "input_mapping": {"missing": "${workflow.input.none}"}},
            },
        },
        {"w": [{"ok": {}}]},
        {},
    )
    difference = Difference("CMP-08", "a", "row", "one too many")
    expected = expectations(case.allowed(), [difference])
    where = {"run_id": "{{r.id}}", "step_id": "a"}
    assert {"table": "step_executions", "where": where, "count": {"at_most": 1}} in expected["finally"]


def test_many_of_a_kind_are_asked_for_at_once() -> None:
    """What names a single run by its id is no expectation of many."""
    table = {"table": "step_executions", "where": {"run_id": "{{r.id}}"}, "count": 1}
    data = {
        "timeline": [{"execute": {"as": "r", "input": {"n": 1}}}],
        "expect": {"eventually": [{"run": "r", "is": "COMPLETED"}], "finally": [table]},
    }
    assert among_others(data, 40) == {
        "timeline": [{"execute": {"as": "r", "input": {"n": 1}, "count": 40, "via": "kafka"}}],
        "expect": {"eventually": [{"run": "r", "is": "COMPLETED"}]},
    }


def test_an_open_step_of_a_cancelled_run_is_expected_to_be_closed() -> None:
    steps = {"a": {"id": "a", "agent_name": "w"}}
    acts = ({"when": {"agent": "w", "calls": 1}, "cancel": "r"},)
    case = Case({"name": "main", "start_step": "a", "steps": steps}, {"w": [{"held": {"ok": {}}}]}, {}, acts)
    finding = Finding("open_steps", "CAN-08", "step left open", "")
    expected = expected_of(case, Judged((finding,), (), None, ()))
    assert expected["eventually"] == [
        {"run": "r", "is": "CANCELLED"},
        {"table": "step_executions", "where": {"run_id": "{{r.id}}", "status": "RUNNING"}, "count": 0},
    ]
