"""The reference on the worker's stack, and the scenario files beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.runner import Bench
from harness.scenario import Scenario, load
from harness.stack import EmbeddedStack
from harness.subject import Subject

ROOT = Path(__file__).parents[3]
SCENARIOS = Path(__file__).parent / "scenarios"


@pytest.fixture(scope="module")
def bench(stack: EmbeddedStack) -> Iterator[Bench]:
    """The reference, all of its roles."""
    with Bench(Subject.load(ROOT / "subjects" / "reference.yaml"), stack) as started:
        yield started


@pytest.fixture(scope="session")
def scenario() -> Callable[[str], Scenario]:
    """A scenario of this folder by the name of its file."""

    def named(name: str) -> Scenario:
        (found,) = load(SCENARIOS / f"{name}.yaml")
        return found

    return named
