"""The one place that knows how the harness's runner is set up: a stack, a subject on it, and a judge of scenarios."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.runner import Bench, run
from harness.scenario import Scenario
from harness.stack import EmbeddedStack
from harness.subject import Subject
from harness.verdict import Outcome


@contextmanager
def serving(subject_file: Path, folder: Path) -> Iterator[Callable[[Scenario, int], Outcome]]:
    """Start a fresh stack and the subject, and give what judges a scenario with a seed.

    A stack for each subject: topics have fixed names, and what a mutant leaves in them must not meet the next one.

    Raises:
        StackError, SubjectError: one of them does not start.
    """
    subject = Subject.load(subject_file)
    with (
        EmbeddedStack() as stack,
        Bench(subject, stack, log_directory=folder / "logs") as bench,
    ):
        yield lambda scenario, seed: run(scenario, bench, history_directory=folder / "histories", seed=seed)
