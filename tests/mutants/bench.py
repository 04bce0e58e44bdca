"""The one place that knows how the harness's runner is set up: a stack, a subject on it, and a crew that judges."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka.errors import KafkaError

from harness.runner import Bench
from harness.runner.crew import Crew
from harness.subject import Subject
from tests.mutants.stacks import StackKeeper


@contextmanager
def serving(subject_file: Path, folder: Path, stacks: StackKeeper, *, seed: int, at_once: int) -> Iterator[Crew]:
    """A crew for the subject. What fails is not made smaller, since only that it fails is asked.

    The subject is started with the first scenario on a fresh stack: topics have fixed names, and what a mutant leaves in
    them must not meet the next one. When it cannot be started, every verdict is unknown and says so.
    """
    # A broker that was killed on purpose is nothing to warn of.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    subject = Subject.load(subject_file)

    def started() -> Bench:
        bench = Bench(subject, stacks.fresh(), log_directory=folder / "logs", fault_ports=stacks.fault_ports)
        bench.start()
        return bench

    def make(ending: contextlib.ExitStack) -> Bench:
        try:
            bench = started()
        except KafkaError:
            # The broker is the harness's affair; what the subject does raises SubjectError.
            stacks.drop()
            bench = started()
        ending.callback(bench.stop)
        return bench

    with Crew(
        subject, make, history_directory=folder / "histories", seed=seed, at_once=at_once, shrink_seconds=0.0
    ) as crew:
        yield crew
