"""Whatever stands in a file, it is loaded or its mistakes are told; nothing else comes out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness.document import Mistake, MistakesFound
from harness.scenario import load
from harness.scenario.explaining import explain
from tests.profiles import bounded

GOOD: dict[str, Any] = YAML(typ="safe", pure=True).load("""
guarantee: Everything that can be done and asked stands here.
clauses: [CMP-01]
variants: {one: {n: 1}, two: {n: 2}}
parameters: {n: 1}
draws: {text: {text: {max_size: 3}}, one: {one_of: [none, {lists: {elements: json}}, {schema: {type: object}}]}}
workflows:
  main:
    start_step: a
    steps:
      a: {id: a, agent_name: worker, next_step: f, input_mapping: {x: "{{text}}"}}
      f: {id: f, type: fork_join, next_step: l, fork_join_config: {join_policy: any, branches: {x: {steps: [b]}, y: {steps: [c]}}}}
      l: {id: l, type: loop, next_step: p, loop_config: {collection: [1], loop_body: [d]}}
      p: {id: p, type: parallel, parallel_steps: [e, g], max_parallelism: "{{n}}"}
      b: {id: b, type: conditional, condition: {expression: "true"}, if_true_step: h}
      c: {id: c, agent_name: worker}
      d: {id: d, agent_name: worker}
      e: {id: e, agent_name: worker}
      g: {id: g, agent_name: worker}
      h: {id: h, agent_name: worker}
agents:
  worker: [{slow: {seconds: 0.1, then: {fail: x}}}, {held: {ok: {}}}, {status: {code: 503}}]
  other: {per: task, timeout_ms: 5, retry_config: {max_retries: 1}, auth: {bearer: {token: t}}, script: [{echo: true}]}
timeline:
  - execute: {workflow: main, input: {x: "{{one}}"}, as: r, count: "{{n}}"}
  - {when: {run: r, step: a, is: RUNNING}, kill: {role: consumer, number: 1}}
  - cancel: {run: r-1, via: message}
  - answer: {run: r-1, step: a, output: {done: 1}}
  - rest: {path: "/runs/{{r-1.id}}", status: 200, answer: {like: {run_id: {bind: id}}}}
  - publish: {topic: results, value: {run_id: "{{id}}"}}
  - all: [{hold: worker}, {redeliver: {group: bridge}}]
  - wait: {any: [{ready: api}, {not: {update: {run: r, status: FAILED}, count: 1}}]}
expect:
  eventually: [{run: r, is: COMPLETED, row: {error_message: null}, steps: [a]}]
  finally: [{agent: worker, calls: {at_least: 1}, inputs: [{}]}, {message: {topic: tasks, where: {x: {type: string}}}}]
""")
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "a", "r", "worker", "{{n}}", "{{text}}", "{{nowhere}}", "{{r-1.id}}", "\u2028é", "all", "json"]
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["run", "step", "all", "not", "bind", "type", "id", "x", "{{n}}"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a value but its top."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*place, key)
        yield from places(item, (*place, key))


PLACES = sorted(places(GOOD), key=repr)


@bounded(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.none() | JUNK), min_size=1, max_size=3))
def test_a_file_with_anything_anywhere_is_loaded_or_its_mistakes_are_told(
    tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    """Values replaced or left out at any places: no other exception, and every mistake within the file."""
    data = copy.deepcopy(GOOD)
    for place, junk in changes:
        target: Any = data
        try:
            for part in place[:-1]:
                target = target[part]
            if junk is None:
                del target[place[-1]]
            else:
                target[place[-1]] = junk
        except (KeyError, IndexError, TypeError):
            continue  # An earlier change took the place away.
    path = tmp_path / "x.yaml"
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").count("\n") + 1
    mistakes: list[Mistake] = []
    try:
        assert explain(load(path))
    except MistakesFound as found:
        mistakes = found.mistakes
    assert all(mistake.path == path and 1 <= mistake.line <= lines for mistake in mistakes)


@pytest.mark.parametrize(
    "text", ["", "[]", "1", "x", "null", "a: &a [*a]", "{1: 2, [a]: b}", "- a\n- b", "\x00", "--- a\n--- b"]
)
def test_a_file_that_is_no_mapping_has_mistakes(tmp_path: Path, text: str) -> None:
    """Nothing, a list, a scalar, a part that holds itself, keys that are no texts, two documents."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(MistakesFound):
        load(path)


def test_the_file_that_is_changed_is_good(tmp_path: Path) -> None:
    """Otherwise the test above would look at one mistake only."""
    path = tmp_path / "x.yaml"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    assert len(load(path)) == 2
