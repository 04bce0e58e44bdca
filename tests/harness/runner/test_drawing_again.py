"""An exception that comes from drawing, and not from an example, ends no scenario at once."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis.errors import Flaky

from harness.runner.execution import Executed

# The package has a function of that name.
run: Any = importlib.import_module("harness.runner.run")


@pytest.mark.parametrize(("failures", "verdict"), [(0, "passed"), (1, "passed"), (2, "unknown")])
def test_drawing_is_tried_twice_and_what_was_carried_out_is_not_repeated(
    failures: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [failures]
    executed: list[Any] = []

    def each_example(_: Any, *, attempt: Callable[[dict[str, Any]], None], **_more: Any) -> None:
        attempt({"given": ""})
        if left[0]:
            left[0] -= 1
            raise Flaky("produces unreliable results", [RuntimeError("seen once")])
        attempt({"given": "x"})

    def execute(_s: Any, _b: Any, path: Path, _seed: int, drawn: Any) -> Executed:
        executed.append(drawn)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        return Executed("passed", None, (), path)

    monkeypatch.setattr(run, "each_example", each_example)
    monkeypatch.setattr(run, "execute", execute)
    scenario: Any = SimpleNamespace(id="a/b", draws={}, examples=2)
    bench: Any = None
    outcome = run._run_examples(scenario, bench, tmp_path, 0, 10.0)
    assert outcome.verdict == verdict
    assert executed == [{"given": ""}, {"given": "x"}][: len(executed)]
    if verdict == "unknown":
        assert "unreliable" in str(outcome.reason)
