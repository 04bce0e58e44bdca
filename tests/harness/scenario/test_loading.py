"""Loading: variants, parameters, includes, long forms, several runs, needs, and where scenarios are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import contract
from harness.document import MistakesFound
from harness.scenario import Needs, Scenario, discover, load, scenario_id
from harness.scenario.acts import WORDS
from harness.scenario.parts import schema
from harness.subject.description import schema as subject_schema

BASE = """\
guarantee: A run of two steps is COMPLETED once both are.
clauses: [CMP-02]
workflows:
  main:
    start_step: a
    steps: {a: {id: a, agent_name: worker, next_step: b}, b: {id: b, agent_name: worker}}
agents:
  worker: [{ok: {done: 1}}]
"""
END = """
expect:
  eventually: [{run: run, is: COMPLETED}]
"""

Load = Callable[..., list[Scenario]]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Loads a file of the base and further lines."""

    def load_text(further: str, base: str = BASE) -> list[Scenario]:
        path = tmp_path / "scenarios" / "area" / "name.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(base + further, encoding="utf-8")
        return load(path)

    return load_text


def test_a_file_without_variants_is_one_scenario(loaded: Load) -> None:
    """With every default as the format's reference says."""
    (scenario,) = loaded("timeline: [{execute: {}}]" + END)
    assert scenario.id == "area/name"
    assert scenario.deadline_seconds == 20
    assert scenario.examples == 1
    assert not scenario.alone
    assert scenario.needs == Needs(frozenset({"consumer"}), frozenset({"agent"}), frozenset())
    (act,) = scenario.timeline
    assert (act.word, act.arguments) == ("execute", {"workflow": "main", "input": {}, "as": "run"})
    assert (act.place.line, act.place.column) == (9, 13)


def test_each_variant_gives_parameters_their_values(loaded: Load) -> None:
    """Everywhere, clauses and guarantee among them; a whole text keeps the type."""
    found = loaded(
        "variants: {few: {n: 2, clause: CMP-03}, many: {n: 5, clause: CMP-04}}\nparameters: {half: '{{n}}', n: 0}\n"
        "timeline: [{execute: {input: {n: '{{half}}', text: 'n={{n}}'}}}]" + END,
        BASE.replace("[CMP-02]", "['{{clause}}']"),
    )
    assert [scenario.id for scenario in found] == ["area/name[few]", "area/name[many]"]
    assert [scenario.clauses for scenario in found] == [("CMP-03",), ("CMP-04",)]
    assert [scenario.timeline[0].arguments["input"] for scenario in found] == [
        {"n": 2, "text": "n=2"},
        {"n": 5, "text": "n=5"},
    ]


def test_a_parameter_can_stand_for_any_value(loaded: Load) -> None:
    """Also where a word, a number, a list or a mapping is expected; it is judged when it is filled in."""
    text = (
        "parameters: {via: message, who: consumer, order: [a, b], steps: {a: {id: a, agent_name: worker}}, act: {hold: worker}}\n"
        "timeline: [{execute: {via: '{{via}}'}}, {kill: '{{who}}'}, {start: {role: '{{who}}'}}, '{{act}}']\n"
        "expect: {finally: [{run: run, steps: '{{order}}'}]}\n"
    )
    base = BASE[: BASE.index("    steps:")] + "    steps: '{{steps}}'\n" + BASE[BASE.index("agents:") :]
    with pytest.raises(MistakesFound, match="step 'b' of workflow 'main' does not exist"):
        loaded(text, base)
    (scenario,) = loaded(text.replace("[a, b]", "[a]"), base)
    assert [act.word for act in scenario.timeline] == ["execute", "kill", "start", "hold"]
    assert scenario.expectations[0].what["steps"] == ["a"]
    with pytest.raises(MistakesFound) as caught:
        loaded(
            text.replace("[a, b]", "[a]").replace("'{{who}}'}", "'{{whom}}'}").replace("'{{act}}'", "'{{atc}}'"), base
        )
    assert "only a parameter can stand here; did you mean 'act'?" in str(caught.value)


def test_draws_stay_open_until_the_scenario_is_run(loaded: Load) -> None:
    """And a scenario that draws has ten examples."""
    (scenario,) = loaded("draws: {x: json}\ntimeline: [{execute: {input: {x: '{{x}}'}}}]" + END)
    assert scenario.timeline[0].arguments["input"] == {"x": "{{x}}"}
    assert (scenario.draws, scenario.examples) == ({"x": {"json": {}}}, 10)


def test_what_is_included_is_taken_in_and_the_nearest_wins(loaded: Load, tmp_path: Path) -> None:
    """The file itself over all, a later file over an earlier one, and a file over what it includes."""
    common = tmp_path / "scenarios" / "common"
    common.mkdir(parents=True)
    (common / "one.yaml").write_text("include: [deep.yaml]\nagents: {one: [{fail: one}], both: [{fail: one}]}\n")
    (common / "two.yaml").write_text("parameters: {unused: 1}\nagents: {both: [{fail: two}], worker: [{fail: two}]}\n")
    (common / "deep.yaml").write_text("agents: {one: [{fail: deep}], deep: [{fail: deep}]}\n")
    include = "include: [../common/one.yaml, ../common/two.yaml]\n"
    (scenario,) = loaded(include + "timeline: [{execute: {}}]" + END)
    scripts = {name: agent.script[0] for name, agent in scenario.agents.items()}
    assert scripts == {
        "worker": {"ok": {"done": 1}},
        "one": {"fail": "one"},
        "both": {"fail": "two"},
        "deep": {"fail": "deep"},
    }


def test_a_name_of_several_runs_means_each_of_them(loaded: Load) -> None:
    """Each expectation once per run; all of them in a `when`, none of them below a `not`; an act for each at once."""
    (scenario,) = loaded(
        "timeline:\n  - execute: {count: 2}\n  - {when: {run: run, is: RUNNING}, cancel: run}\n"
        "expect:\n  eventually: [{run: run, is: CANCELLED}, {not: {run: run, is: FAILED}}]\n"
        "  never: [{update: {run: run, status: FAILED}}]\n"
    )
    cancel = scenario.timeline[1]
    assert cancel.when == {"all": [{"is": "RUNNING", "run": "run-1"}, {"is": "RUNNING", "run": "run-2"}]}
    assert [(act.word, act.arguments["run"]) for act in cancel.arguments["acts"]] == [
        ("cancel", "run-1"),
        ("cancel", "run-2"),
    ]
    assert [expectation.what for expectation in scenario.expectations] == [
        {"run": "run-1", "is": "CANCELLED"},
        {"run": "run-2", "is": "CANCELLED"},
        {"not": {"any": [{"run": "run-1", "is": "FAILED"}, {"run": "run-2", "is": "FAILED"}]}},
        {"update": {"run": "run-1", "status": "FAILED"}},
        {"update": {"run": "run-2", "status": "FAILED"}},
    ]


def test_a_run_of_the_harness_can_be_cancelled_before_it_is_made(loaded: Load) -> None:
    """Its id is known before; over REST it is not."""
    early = "timeline:\n  - cancel: {run: run, via: message}\n  - publish: {topic: results, value: {run_id: '{{run.id}}'}}\n"
    (scenario,) = loaded(f"{early}  - execute: {{via: message}}{END}")
    assert [act.word for act in scenario.timeline] == ["cancel", "publish", "execute"]
    with pytest.raises(MistakesFound) as caught:
        loaded(f"{early}  - execute: {{}}{END}")
    assert [(mistake.line, mistake.column) for mistake in caught.value.mistakes] == [(10, 19), (11, 47)]


def test_what_happens_at_the_same_time_cannot_count_on_each_other(loaded: Load) -> None:
    """A run made in one act of `all` is there for what follows, not for the acts beside it."""
    both = "timeline:\n  - all: [{execute: {}}, {cancel: run}]\n"
    with pytest.raises(MistakesFound, match="run 'run' does not exist"):
        loaded(both + END)
    loaded("timeline:\n  - all: [{execute: {}}, {hold: worker}]\n  - cancel: run\n" + END)


@pytest.mark.parametrize(
    ("further", "roles", "extensions", "alone"),
    [
        ("timeline: [{execute: {}}, {kill: bridge}]", {"consumer", "bridge"}, set(), True),
        ("timeline: [{execute: {}}, {restart: broker}]", {"consumer"}, set(), True),
        ("timeline: [{execute: {}}, {redeliver: consumer}]", {"consumer"}, set(), True),
        ("timeline: [{execute: {}}, {cut: broker}, {join: broker}]", {"consumer"}, set(), True),
        ("timeline: [{execute: {}}, {cut: {part: broker, role: bridge}}]", {"consumer", "bridge"}, set(), True),
        ("timeline: [{execute: {}}, {all: [{add: consumer}, {hold: worker}]}]", {"consumer"}, set(), True),
        ("timeline: [{execute: {via: rest}}]", {"api", "consumer"}, set(), False),
        ("timeline: [{rest: {path: /health, status: 200}}]\n#", {"api", "consumer"}, set(), False),
        ("timeline: [{execute: {}}, {wait: {ready: bridge}}]", {"consumer", "bridge"}, set(), False),
        (
            "timeline: [{execute: {}}, {wait: {not: {message: {topic: dead_letters}}}}]",
            {"consumer"},
            {"dead_letters"},
            False,
        ),
    ],
)
def test_needs_are_found_from_what_happens(
    loaded: Load, further: str, roles: set[str], extensions: set[str], alone: bool
) -> None:
    """Roles, extensions, and whether it must be alone."""
    end = END if "#" not in further else ""
    (scenario,) = loaded(further.replace("\n#", "") + end)
    assert (scenario.needs.roles, scenario.needs.extensions, scenario.alone) == (roles, extensions, alone)


def test_needs_are_found_from_workflows_and_clauses(loaded: Load) -> None:
    """The types of steps, and the role of each clause that binds just one."""
    base = BASE.replace("CMP-02", "AGT-01").replace("b: {id: b, agent_name: worker}}", (
        "b: {id: b, type: loop, loop_config: {collection: [], loop_body: [c]}}, c: {id: c, agent_name: worker}}"
    ))  # fmt: skip
    (scenario,) = loaded("timeline: [{execute: {}}]" + END, base)
    assert scenario.needs == Needs(frozenset({"consumer", "bridge"}), frozenset({"agent", "loop"}), frozenset())


def test_what_the_file_says_of_its_needs_stands(loaded: Load) -> None:
    """Whatever would be found otherwise."""
    said = "needs: {roles: [api], step_types: [], extensions: [stable_pages]}\nalone: false\n"
    (scenario,) = loaded(said + "timeline: [{execute: {}}, {kill: consumer}]" + END)
    assert scenario.needs == Needs(frozenset({"api"}), frozenset(), frozenset({"stable_pages"}))
    assert not scenario.alone


def test_a_definition_may_be_invalid_on_purpose(loaded: Load) -> None:
    """When it says so, and then it is used without saying so."""
    base = BASE.replace("next_step: b", "next_step: nowhere")
    with pytest.raises(MistakesFound, match="step 'nowhere' does not exist"):
        loaded("timeline: [{execute: {}}]" + END, base)
    (scenario,) = loaded(
        "timeline: [{execute: {}}]" + END, base.replace("    start_step", "    invalid: true\n    start_step")
    )
    assert set(scenario.workflows["main"]) == {"start_step", "steps"}


def test_what_a_draw_fills_in_is_not_judged_before(loaded: Load) -> None:
    """A number that is drawn stands as a text in the definition until then."""
    base = BASE.replace("b: {id: b, agent_name: worker}", (
        "b: {id: b, type: parallel, parallel_steps: [c, d], max_parallelism: '{{n}}'},"
        " c: {id: c, agent_name: worker}, d: {id: d, agent_name: worker}"
    ))  # fmt: skip
    draw = "draws: {n: {integers: {min_value: 1, max_value: 2}}}\n"
    (scenario,) = loaded(draw + "timeline: [{execute: {}}]" + END, base)
    assert scenario.workflows["main"]["steps"]["b"]["max_parallelism"] == "{{n}}"


@pytest.mark.parametrize(
    ("timeline", "told"),
    [
        ("[{execute: {as: x}}, {wait: {message: {topic: tasks, where: {a: {bind: x}}}}}]", "expected another name than 'x'"),
        ("[{execute: {as: agents}}]", "expected another name than 'agents'"),
        ("[{execute: {as: x}}, {execute: {as: x}}]", "expected a name of its own"),
        ("[{execute: {}}, {rest: {path: '/runs/{{id}}', answer: {like: {run_id: {bind: id}}}}}]", "before anything binds it"),
        ("[{execute: {input: {x: '{{workflows.mian.id}}'}}}]", "did you mean 'workflows.main.id'?"),
        ("[{execute: {count: 2}}, {cancel: run-3}]", "run 'run-3' does not exist"),
        ("[{execute: {}}, {retry: {run: run, from: c}}]", "step 'c' of workflow 'main' does not exist"),
        ("[{execute: {}}, {wait: {run: run, steps: [a, bb]}}]", "step 'bb' of workflow 'main' does not exist"),
        ("[{execute: {}}, {wait: {update: {run: run, step: aa}}}]", "step 'aa' of workflow 'main' does not exist"),
        ("[{execute: {}}, {wait: {agent: worker, calls: -1}}]", "expected 0 or more, found -1"),
        ("[{execute: {}}, {wait: {run: run, agent: worker, is: FAILED}}]", "unknown key 'agent'"),
        ("[{execute: {}}, {answer: {run: run, step: a}}]", "exactly one of 'output', 'error' must be given; found none"),
        ("[{execute: {}}, {publish: {topic: tasks, raw: a, value: b}}]", "found 'value', 'raw'"),
        ("[{execute: {}}, {all: [{kill: consumer}]}]", "expected at least 2 entries, found 1"),
        ("[{execute: {via: http}}]", "expected one of 'rest', 'kafka', 'message', found 'http'"),
        ("[]", "expected at least 1 entries, found 0"),
        ("x", "expected a list, found 'x'"),
    ],
)  # fmt: skip
def test_mistakes_in_the_timeline(loaded: Load, timeline: str, told: str) -> None:
    """Each is told; those of the format's own files stand in `broken/`."""
    with pytest.raises(MistakesFound) as caught:
        loaded(f"timeline: {timeline}\nexpect: {{eventually: [{{agent: worker, calls: 1}}]}}")
    assert told in str(caught.value)


def test_bound_values_can_be_used_from_there_on(loaded: Load) -> None:
    """In acts, in conditions as the run, and in expectations wherever they are bound."""
    (scenario,) = loaded(
        "timeline:\n"
        "  - rest: {method: POST, path: '/workflows/{{workflows.main.id}}/execute', body: {}, answer: {like: {run_id: {bind: id}}}}\n"
        "  - wait: {run: '{{id}}', is: COMPLETED}\n"
        "  - publish: {topic: results, value: {run_id: '{{id}}', sent: '{{now}}', by: '{{unique}}'}}\n"
        "expect: {finally: [{message: {topic: tasks, where: {run_id: '{{id}}', task_id: {bind: task}}}},"
        " {rest: {path: '/runs/{{id}}'}, answer: {like: {task: '{{task}}'}}}]}\n"
    )
    assert scenario.needs.roles == {"api", "consumer"}


def test_scenarios_are_found_below_folders(tmp_path: Path) -> None:
    """Each once, in order; not what is hidden or to be included, nor other files; a path that is not there is told."""
    for name in ("b/two.yaml", "a/one.yml", "common/part.yaml", ".hidden/x.yaml", "a/notes.md", "scenario.schema.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = discover([tmp_path, tmp_path / "a", tmp_path / "b" / "two.yaml"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/one.yml", "b/two.yaml"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        discover([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [("x/scenarios/a/b.yaml", "a/b"), ("x/scenarios/a/b/c.yml", "a/b/c"), ("scenarios/scenarios/a.yaml", "a"), ("x/y.yaml", "x/y")],
)  # fmt: skip
def test_the_id_is_the_path_below_scenarios(path: str, expected: str, tmp_path: Path) -> None:
    """Or the folder and the name, elsewhere."""
    assert scenario_id(tmp_path / path) == expected


def test_the_schema_knows_what_the_code_knows() -> None:
    """Acts, step types, extensions and retry settings stand in two places each, and must not drift apart."""
    definitions = schema()["$defs"]
    assert set(definitions["act"]["properties"]) - {"when"} == set(WORDS)
    needs = schema()["properties"]["needs"]["properties"]
    supports = subject_schema()["properties"]["supports"]["properties"]
    for name in ("step_types", "extensions"):
        assert needs[name]["items"]["enum"] == supports[name]["items"]["enum"]
    retry = definitions["agent"]["properties"]["retry_config"]["properties"]
    assert set(retry) == set(contract.schema("retry_config")["properties"])


def test_every_example_of_the_schema_fits_it() -> None:
    """What editors offer as an example is none that breaks the rules."""
    from jsonschema import Draft202012Validator

    whole = schema()
    tried = 0
    waiting: list[Any] = [whole]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("examples"), list):
                rules = {key: value for key, value in part.items() if key != "examples"} | {"$defs": whole["$defs"]}
                for example in part["examples"]:
                    Draft202012Validator(rules).validate(example)
                    tried += 1
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    assert tried > 40


def test_yaml_is_read_as_version_1_2(loaded: Load) -> None:
    """`on`, `no` and times are texts: nothing in a scenario turns into what its author did not write."""
    (scenario,) = loaded("timeline: [{execute: {input: {on: no, at: 12:30, day: '2026-01-01'}}}]" + END)
    assert scenario.timeline[0].arguments["input"] == {"on": "no", "at": "12:30", "day": "2026-01-01"}
    assert YAML(typ="safe", pure=True).load("no") == "no"
