"""``plumbline scenario``: what it writes, says and exits with."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli.scenario import scenario
from harness.scenario import load
from harness.scenario.acts import WORDS

EVERY_ACT = """\
guarantee: Everything that can be done and asked is told in prose.
clauses: [CMP-01]
workflows:
  main:
    start_step: a
    steps:
      a: {id: a, agent_name: worker, next_step: f}
      f:
        id: f
        type: fork_join
        fork_join_config: {join_policy: any, branches: {left: {steps: [b]}, right: {steps: [c]}}}
      b: {id: b, agent_name: worker}
      c: {id: c, agent_name: worker}
agents:
  worker: [{slow: {seconds: 0.1}}, {held: {fail: no}}, {status: 503}, {hang: true}, {reset: true}, {body: x}, {echo: true}]
timeline:
  - execute: {as: r, input: {x: 1}}
  - execute: {as: many, count: 3, via: message}
  - {when: {agent: worker, calls: {at_least: 1}}, kill: consumer}
  - start: consumer
  - stop: {role: bridge, number: 1}
  - restart: broker
  - pause: consumer
  - resume: consumer
  - add: consumer
  - remove: consumer
  - hold: worker
  - release: worker
  - cancel: {run: r, reason: enough, via: message}
  - retry: {run: r, from: a}
  - answer: {run: r, step: a, output: {done: 1}, times: 2}
  - answer: {run: r, step: a, error: no}
  - publish: {topic: results, raw: "{"}
  - duplicate: {topic: results, where: {run_id: "{{r.id}}"}}
  - redeliver: {group: consumer, topic: results}
  - rest: {method: POST, path: "/runs/{{r.id}}/cancel", body: {}, status: 409}
  - rest: {method: POST, path: /workflows, raw: "{", status: 400}
  - fault: {at: {role: consumer, boundary: commit, nth: 3}, do: kill_after}
  - cut: database
  - cut: {part: broker, role: consumer, number: 2, seconds: 1}
  - join: {part: database, role: api}
  - join: database
  - exhaust: {part: database, seconds: 3}
  - fill: {part: broker, seconds: 4}
  - wait: {any: [{ready: consumer}, {not: {rest: {path: /health}, status: 503}}]}
  - all: [{cancel: many}, {when: {run: r, is: RUNNING}, cancel: r}]
expect:
  eventually:
    - {run: many, is: COMPLETED}
    - {run: r, step: b, branch: left, times: {at_most: 1}, error: {exists: false}}
    - {message: {topic: tasks, by: subject, where: {task_id: {bind: t}}}, count: 2}
    - {update: {run: r, step: a, status: COMPLETED}, count: 1}
    - {table: agents, where: {name: "{{agents.worker.name}}"}, count: 1}
    - {agent: worker, inputs: {contains: {x: 1}}}
    - {rest: {path: /runs}, answer: {like: {items: {descending: created_at}, page: {anywhere: 1}}}}
  never: [{run: many, is: FAILED}]
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(scenario, [str(argument) for argument in arguments])


def test_a_new_scenario_passes_the_check(tmp_path: Path) -> None:
    """As it is written, whatever clauses it is written for."""
    done = run("new", "cancellation/late_result", "--directory", tmp_path, "--clause", "CAN-03")
    assert done.exit_code == 0, done.output
    path = tmp_path / "cancellation" / "late_result.yaml"
    assert f"plumbline scenario check {path}" in done.output
    (found,) = load(path)
    assert found.clauses == ("CAN-03",)
    checked = run("check", tmp_path)
    assert (checked.exit_code, checked.output) == (0, "1 file, 1 scenario, 1 clause of 276: no mistake.\n")
    schema = path.read_text(encoding="utf-8").splitlines()[0].partition("$schema=")[2]
    assert (path.parent / schema).resolve().name == "scenario.schema.json"
    assert (path.parent / schema).resolve().is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["Late Result"], "expected AREA/NAME"),
        (["../x/y"], "expected AREA/NAME"),
        (["a/b", "--clause", "CAN-3"], "did you mean"),
        (["there/already"], "exists already"),
    ],
)
def test_a_new_scenario_is_refused_with_a_reason(tmp_path: Path, arguments: list[str], told: str) -> None:
    """Nothing is written over, and nothing outside the suite."""
    there = tmp_path / "there" / "already.yaml"
    there.parent.mkdir()
    there.write_text("mine")
    done = run("new", *arguments, "--directory", tmp_path)
    assert done.exit_code == 2
    assert told in " ".join(done.output.split())
    assert [path.read_text() for path in tmp_path.rglob("*.yaml")] == ["mine"]


def test_check_tells_the_mistakes_of_all_files(tmp_path: Path) -> None:
    """And exits with 1."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("guarantee: too few keys\nclauses: [CMP-01]\n")
    done = run("check", tmp_path)
    assert done.exit_code == 1
    for name in ("a", "b"):
        assert f"{tmp_path / name}.yaml:1:1: 'timeline' must be given here" in done.output
    assert "2 mistakes in 2 files." in done.output


@pytest.mark.parametrize("arguments", [["check", "nowhere"], ["check", "."], ["explain", "."], ["check"]])
def test_nothing_to_look_at_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """Never "no mistake" for no file."""
    monkeypatch.chdir(tmp_path)
    assert run(*arguments).exit_code == 2


def test_explain_tells_everything_in_prose(tmp_path: Path) -> None:
    """Each act and condition has its words; nothing is shown as Python sees it."""
    assert [word for word in WORDS if f"{word}:" not in EVERY_ACT] == []
    path = tmp_path / "area" / "every.yaml"
    path.parent.mkdir()
    path.write_text(EVERY_ACT)
    done = run("explain", path)
    assert done.exit_code == 0, done.output
    for line in (
        "Guarantee: Everything that can be done and asked is told in prose.",
        "CMP-01 Every run ends (MUST, core): ",
        "step types: agent, fork_join",
        "the subject for itself, since it disturbs processes",
        '1. Execute main as r with input {"x": 1}.',
        "2. Execute main as many-1 to many-3 with input {} by message alone.",
        "3. Once agent worker was called at least 1 times: kill consumer.",
        "stop bridge 1 in order",
        "Retry r from step a.",
        'with the output {"done": 1}, 2 times.',
        'with the failure "no".',
        'Send the messages with run_id that is "{{r.id}}" seen on results again.',
        "on results alone",
        "Request POST /runs/{{r.id}}/cancel with {}; status is 409.",
        'Request POST /workflows with the text "{"; status is 400.',
        "rows of the table agents with name that is",
        "agent worker got a list of inputs that contains",
        "Wait until (consumer is ready or it is not so that GET /health has a status that is 503).",
        "once r is RUNNING, cancel r",
        "In time, each of many-1 to many-3 is COMPLETED",
        "step b of r, branch left, was asked for at most 1 times and has an error that is not there",
        "messages on tasks by the subject with task_id that is kept as {{t}} are there 2 times",
        "At no time any of many-1 to many-3 is FAILED",
    ):
        assert line.lower() in done.output.lower(), (line, done.output)
    assert not [word for word in ("dict", "None", "mappingproxy", "True", "': ") if word in done.output]


def test_explain_tells_mistakes_instead(tmp_path: Path) -> None:
    """And exits with 1."""
    path = tmp_path / "x.yaml"
    path.write_text("guarantee: too few keys\n")
    done = run("explain", path)
    assert done.exit_code == 1
    assert "'clauses' must be given here" in done.output


def test_check_without_paths_checks_the_suite_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `new` has written is what `check` looks at."""
    monkeypatch.chdir(tmp_path)
    assert run("new", "mine/first").exit_code == 0
    assert "1 file, 1 scenario" in run("check").output


def test_clauses_are_found_by_words() -> None:
    """All of the words, in whatever case; none found is an error."""
    done = run("clauses", "LATE", "cancellation")
    assert done.exit_code == 0
    assert "CAN-03  Late results (MUST)" in done.output
    assert "CMP-02" not in done.output
    assert run("clauses", "nosuchword").exit_code == 2
