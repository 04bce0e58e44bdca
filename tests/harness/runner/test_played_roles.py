"""Subjects that lack roles, and one that lies: the harness plays what is missing, and is not deceived."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from harness.runner import Bench, run
from harness.scenario import Scenario
from harness.stack import EmbeddedStack, ExternalStack
from harness.subject import Subject

ROOT = Path(__file__).parents[3]
Named = Callable[[str], Scenario]

_REFERENCE = """
name: only-{role}
working_directory: {root}
environment:
  DATABASE_URL: "{{database_url}}"
  KAFKA_BROKERS: "{{kafka_brokers}}"
  KAFKA_GROUP_ID: alone-consumer
  KAFKA_BRIDGE_GROUP_ID: alone-bridge
migration:
  command: ["{{python}}", -m, alembic, upgrade, head]
roles:
  {role}:
    command: ["{{python}}", -m, system, {role}]
    ready: {{kafka_group: alone-{role}}}
supports:
  extensions: [dead_letters]
"""

_PRETENDER = """
name: pretender
roles:
  consumer:
    command: ["{python}", -u, -c, "import time; print('serving'); time.sleep(600)"]
    ready: {log: serving}
binding:
  topics: {requests: p.requests, cancellations: p.cancellations, tasks: p.tasks, results: p.results, updates: p.updates}
"""

_BRIDGE = """
    guarantee: A bridge answers a task with what its agent says, and asks again after a 503.
    clauses: [AGT-05, AGT-11]
    needs: {roles: [bridge]}
    agents:
      worker: {script: [{status: 503}, {ok: {n: 1}}]}
    timeline:
      - publish:
          topic: tasks
          key: "run-{{unique}}"
          value: {run_id: "run-{{unique}}", task_id: "task-{{unique}}", agent_name: "{{agents.worker.name}}",
                  input_data: {x: 1}, correlation_id: c, timestamp: "{{now}}"}
    expect:
      eventually:
        - {message: {topic: results, by: subject, where: {task_id: "task-{{unique}}", status: SUCCESS}}}
      finally:
        - {agent: worker, calls: 2, inputs: [{x: 1}, {x: 1}]}
"""


def _url(database: str) -> str:
    return database.replace("postgresql+psycopg2:", "postgresql:", 1)


def _subject(directory: Path, text: str) -> Subject:
    path = directory / "subject.yaml"
    path.write_text(text)
    return Subject.load(path)


def test_a_consumer_alone_is_judged_with_api_and_bridge_played(
    stack: EmbeddedStack, empty_database: Callable[[], str], scenario: Named, tmp_path: Path
) -> None:
    subject = _subject(tmp_path, _REFERENCE.format(role="consumer", root=ROOT))
    place = ExternalStack(_url(empty_database()), stack.kafka_brokers)
    with Bench(subject, place) as bench:
        assert (bench.roles, bench.played) == (("consumer",), ("api", "bridge"))
        for name in ("passes", "everything"):
            outcome = run(scenario(name), bench, history_directory=tmp_path, seed=1)
            assert (outcome.verdict, outcome.reason) == ("passed", None), name


def test_a_bridge_alone_is_judged_by_tasks_that_the_harness_publishes(
    stack: EmbeddedStack, empty_database: Callable[[], str], scenario: Named, tmp_path: Path
) -> None:
    from harness.scenario import load

    path = tmp_path / "bridge.yaml"
    path.write_text(textwrap.dedent(_BRIDGE))
    (of_bridge,) = load(path)
    subject = _subject(tmp_path, _REFERENCE.format(role="bridge", root=ROOT))
    place = ExternalStack(_url(empty_database()), stack.kafka_brokers)
    with Bench(subject, place) as bench:
        outcome = run(of_bridge, bench, history_directory=tmp_path, seed=1)
        assert (outcome.verdict, outcome.reason) == ("passed", None)
        outcome = run(scenario("passes"), bench, history_directory=tmp_path, seed=1)
        assert (outcome.verdict, outcome.reason) == ("not supported", "only-bridge does not claim the role consumer")


def test_a_subject_that_does_nothing_fails_on_tables_and_topics_that_the_harness_made(
    stack: EmbeddedStack, empty_database: Callable[[], str], scenario: Named, tmp_path: Path
) -> None:
    place = ExternalStack(_url(empty_database()), stack.kafka_brokers)
    with Bench(_subject(tmp_path, _PRETENDER), place) as bench:
        outcome = run(scenario("fails_at_its_deadline"), bench, history_directory=tmp_path, seed=1)
    assert outcome.verdict == "failed"
    assert outcome.reason is not None
    assert "no row is there" in outcome.reason


def test_rows_are_read_through_the_binding_s_queries(
    stack: EmbeddedStack, empty_database: Callable[[], str], scenario: Named, tmp_path: Path
) -> None:
    rows = """
binding:
  rows:
    runs: "SELECT * FROM workflow_runs WHERE run_id LIKE 'run-%';"
    steps: "SELECT id, run_id, step_id, agent_name, upper(status) AS status, started_at, input_data, output_data FROM step_executions"
"""
    text = _REFERENCE.format(role="consumer", root=ROOT).replace("alone-", "bound-")
    place = ExternalStack(_url(empty_database()), stack.kafka_brokers)
    with Bench(_subject(tmp_path, text + rows), place) as bench:
        assert bench.way_of(None) == "message", "the rows are the subject's own"
        outcome = run(scenario("passes"), bench, history_directory=tmp_path, seed=1)
    assert (outcome.verdict, outcome.reason) == ("passed", None)
