"""The one place that knows how the harness's runner is set up: a stack, a subject on it, and a crew that judges."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kafka.errors import KafkaError

from harness.runner import Bench
from harness.runner.crew import Crew
from harness.subject import RoleName, Subject
from tests.mutants.stacks import StackKeeper


@contextmanager
def serving(subject_file: Path, folder: Path, stacks: StackKeeper, *, seed: int, at_once: int) -> Iterator[Crew]:
    """A crew for the subject. What fails is not made smaller, since only that it fails is asked.

    The subject is started with the first scenario on a fresh stack: topics have fixed names, and what a mutant leaves in
    them must not meet the next one. When it cannot be started, every verdict is unknown and says so.
    """
    subject = Subject.load(subject_file)
    make = bench_maker(subject, folder, stacks)
    with Crew(
        subject, make, history_directory=folder / "histories", seed=seed, at_once=at_once, shrink_seconds=0.0
    ) as crew:
        yield crew


def bench_maker(
    subject: Subject,
    folder: Path,
    stacks: StackKeeper,
    *,
    consumers: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Callable[[contextlib.ExitStack], Bench]:
    """What starts the subject on a fresh stack, with so many consumers (default: as its file says), and pushes its end.

    The maker raises StackError or SubjectError when that fails.
    """
    # A broker that was killed on purpose is nothing to warn of.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    counts: Mapping[RoleName, int] | None = None if consumers is None else {"consumer": consumers}

    def started() -> Bench:
        stack = stacks.fresh()
        bench = Bench(
            subject, stack, counts=counts, environment=environment, log_directory=folder / "logs",
            fault_ports=stacks.fault_ports,
        )  # fmt: skip
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

    return make
