"""Draws: what is drawn fits the family, and the strategies are those of the schema."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import find, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from harness.scenario import draws
from harness.scenario.drawing import each_example
from harness.scenario.draws import _STRATEGIES, MOST_INTEGER, draw_mistakes, strategy, strategy_of
from harness.scenario.parts import schema
from tests.profiles import bounded

ROOT = Path(__file__).parents[3]
ORDER = {
    "type": "object",
    "required": ["id", "lines"],
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 8},
        "lines": {
            "type": "array",
            "maxItems": 3,
            "items": {"type": "object", "properties": {"n": {"type": "integer"}}},
        },
    },
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "required": ["children"],
            "additionalProperties": False,
            "properties": {"children": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/node"}}},
        }
    },
}
SUNDRY = {
    "oneOf": [
        {"type": "integer", "exclusiveMinimum": 1.5, "maximum": 3.5},
        {"type": "number", "exclusiveMinimum": 10, "exclusiveMaximum": 11},
        {"type": "string", "pattern": "^[a-c]+$", "maxLength": 5},
        {"type": "array", "uniqueItems": True, "minItems": 2, "items": {"enum": [1, 2, 3]}},
        {"type": "object", "additionalProperties": {"type": "boolean"}, "minProperties": 1, "required": ["a"]},
        {"const": {"a": None}},
        {"type": ["null", "boolean"]},
    ]
}
EVERY = {
    "whole": {"integers": {"min_value": 3}},
    "few": {"integers": {"max_value": -(2**60)}},
    "number": {"floats": {"min_value": 0, "max_value": 1}},
    "text": {"text": {"max_size": 20}},
    "letters": {"text": {"alphabet": "ab", "min_size": 1, "max_size": 3}},
    "truth": "booleans",
    "null": "none",
    "seven": {"just": 7},
    "colour": {"sampled_from": ["red", "green"]},
    "either": {"one_of": ["none", {"integers": {}}]},
    "list": {"lists": {"elements": "json", "max_size": 3, "unique": True}},
    "object": {"dictionaries": {"keys": {"integers": {}}, "values": "text", "max_size": 3}},
    "record": {"fixed_dictionaries": {"a": "booleans"}},
    "any": {"json": {"max_leaves": 5}},
    "order": {"schema": ORDER},
    "tree": {"schema": TREE},
    "sundry": {"schema": SUNDRY},
    "odd": "values",
    "definition": {"workflows": {"most_steps": 2}},
    "mistaken": {"invalid_workflows": {"most_steps": 2}},
}


def scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from scalars(item)
    else:
        yield value


@bounded(50)
@given(st.deferred(lambda: strategy(EVERY)))
def test_what_is_drawn_is_json_that_everybody_can_hold(drawn: dict[str, Any]) -> None:
    """JSON without NaN, U+0000, lone surrogates, or whole numbers beyond a double's exact ones that nobody asked for."""
    text = json.dumps({key: value for key, value in drawn.items() if key != "few"}, allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in text
    text.encode("utf-8")
    for scalar in scalars({key: value for key, value in drawn.items() if key != "few"}):
        assert not isinstance(scalar, int) or abs(scalar) <= MOST_INTEGER
    assert drawn["whole"] >= 3
    assert drawn["few"] <= -(2**60)
    assert 0 <= drawn["number"] <= 1
    assert set(drawn["letters"]) <= {"a", "b"}
    assert drawn["seven"] == 7
    assert drawn["null"] is None
    assert drawn["colour"] in ("red", "green")
    for name, described in (("order", ORDER), ("tree", TREE), ("sundry", SUNDRY)):
        Draft202012Validator(described).validate(drawn[name])


def test_the_schema_knows_the_same_strategies() -> None:
    """And `EVERY` above tries each of them."""
    offered = next(form for form in schema()["$defs"]["strategy"]["anyOf"] if "properties" in form)["properties"]
    tried = {name if isinstance(name, str) else next(iter(name)) for name in EVERY.values()}
    assert set(offered) == set(_STRATEGIES) == tried


@pytest.mark.parametrize(
    "written",
    [
        {"integers": {"min_value": 2, "max_value": 1}},
        {"text": {"min_size": 3, "max_size": 1}},
        {"lists": {"elements": {"floats": {"min_value": 2, "max_value": 1}}}},
        {"dictionaries": {"keys": {"sampled_from": ["a"]}, "values": "none", "min_size": 3, "max_size": 2}},
        {"schema": {"type": "strin"}},
        {"schema": {"type": "object", "propertys": {}}},
        {"schema": {"multipleOf": 3}},
        {"schema": {"$ref": "#/$defs/nowhere"}},
        {"schema": False},
        {"sampled_from": []},
    ],
)
def test_a_strategy_that_gives_nothing_is_found_when_a_file_is_read(written: Any) -> None:
    """Rather than when the scenario is run."""
    ((place, message),) = draw_mistakes({"x": written})
    assert place == ("x",)
    assert message.startswith("no value can be drawn so: ")


@pytest.mark.parametrize("kind", ["integer", "number", "string", "array", "object", "null", "boolean"])
def test_every_kind_that_a_schema_allows_is_drawn(kind: str) -> None:
    """Not just the easiest alternative."""
    validator = Draft202012Validator({"type": kind})
    assert find(strategy_of({"schema": SUNDRY}), validator.is_valid) is not Ellipsis


def test_a_text_may_ask_for_what_is_left_out_otherwise() -> None:
    """An alphabet of one's own is taken as it is."""
    drawn = strategy_of({"text": {"alphabet": "\0", "min_size": 1, "max_size": 1}})
    drawn.validate()
    assert repr(drawn).count("\\x00")


_DRAWING = """
import json, sys
for module in sys.argv[2:]:
    __import__(module)
from harness.scenario.drawing import each_example
seen = []
draws = {"n": {"integers": {}}, "t": {"text": {}}, "j": {"json": {}}, "f": {"floats": {}}}
each_example(draws, examples=60, seed=int(sys.argv[1]), attempt=lambda drawn: seen.append(drawn))
print(json.dumps(seen))
"""


def _drawn_apart(seed: int, *modules: str) -> list[Any]:
    """What a process of its own draws from a seed, when it has these modules loaded."""
    command = [sys.executable, "-c", _DRAWING, str(seed), *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    drawn: list[Any] = json.loads(done.stdout)
    return drawn


def test_a_seed_draws_the_same_whatever_else_is_loaded() -> None:
    """pytest, the command line and a replay of a failure load different modules, and must draw alike."""
    bare = _drawn_apart(7)
    assert len(bare) == 60
    assert bare == _drawn_apart(7, "harness.plugin", "harness.cli", "harness.runner.bench")
    assert bare != _drawn_apart(8)


def test_draws_of_others_are_as_before_once_a_scenario_was_drawn() -> None:
    """Hypothesis is left as it was found, also after an attempt that ends it all."""
    from hypothesis.internal.conjecture.providers import HypothesisProvider

    before = HypothesisProvider.__dict__["_local_constants"]

    def attempt(_: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each_example({"n": "integers"}, examples=5, seed=1, attempt=attempt)
    assert HypothesisProvider.__dict__["_local_constants"] is before


def test_scenarios_are_drawn_one_at_a_time_and_carried_out_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis parses source text, which CPython before 3.13 cannot do in two threads at once."""
    inside = 0
    most_inside = 0

    def drawn(number: int) -> dict[str, int]:
        nonlocal inside, most_inside
        inside += 1
        most_inside = max(most_inside, inside)
        time.sleep(0.002)
        inside -= 1
        return {"n": number}

    monkeypatch.setattr(draws, "strategy", lambda _: st.integers(0, 1000).map(drawn))
    both = threading.Barrier(2)
    problems: list[BaseException] = []

    def one(seed: int) -> None:
        met: list[int] = []

        def attempt(_: dict[str, Any]) -> None:
            if not met:
                # Broken, and so raised, unless the other scenario is in an example of its own.
                met.append(both.wait(10))

        try:
            each_example({}, examples=20, seed=seed, attempt=attempt)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert problems == []
    assert most_inside == 1


def test_other_threads_may_use_the_random_generator_while_values_are_drawn() -> None:
    """The harness observes and Kafka's clients wait at random meanwhile; Hypothesis is not to blame the draws for it. Warnings
    are errors in these tests."""
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            random.random()

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    seen: list[object] = []
    try:
        for seed in range(10):
            each_example({"n": "integers"}, examples=50, seed=seed, attempt=seen.append)
    finally:
        stop.set()
        disturbing.join()
    assert len(seen) > 100
