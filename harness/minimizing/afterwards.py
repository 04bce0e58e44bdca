"""The first few failures of a suite made smaller, once it is over."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from kafka.errors import KafkaError

from harness.document import MistakesFound
from harness.minimizing.minimize import minimize
from harness.minimizing.sources import UnusableSource, read_source
from harness.places import suite
from harness.runner.errors import SetUpBroke
from harness.runner.place import StackKind, bench_maker
from harness.stack import StackError
from harness.subject import Subject, SubjectError
from harness.verdict import Outcome

MOST_SHRUNK = 3
FOLDER = Path("shrunk") / "scenarios" / "found"


def shrink_failures(
    outcomes: Sequence[Outcome],
    subject_file: Path,
    stack: StackKind,
    directory: Path,
    seconds: float,
    say: Callable[[str], None],
    again: Callable[[Outcome], str],
) -> list[Path]:
    """Make the first three of what failed smaller, for so long in all, and write it below `directory`; gives the scenario
    files. `again` is the command that does the same for one. What cannot be done is said, and changes nothing of what failed."""
    failed = [
        one for one in outcomes if one.verdict == "failed" and one.known_failure is None and one.history is not None
    ]
    written: list[Path] = []
    with warnings.catch_warnings(), contextlib.ExitStack() as ending:
        warnings.simplefilter("ignore")
        try:
            bench = bench_maker(Subject.load(subject_file), stack)(ending) if failed else None
            for number, outcome in enumerate(failed[:MOST_SHRUNK]):
                assert bench is not None
                places = [outcome.scenario_file, suite()]
                (failing,) = read_source(str(outcome.history), [one for one in places if one is not None], outcome.seed)
                name = re.sub(r"[^a-z0-9]+", "_", outcome.scenario.lower()).strip("_")
                share = seconds / min(len(failed), MOST_SHRUNK)
                say(
                    f"{outcome.scenario} is made smaller, for {share:.0f} s at most ({number + 1} of {len(failed)} failures)"
                )
                found = minimize(failing, bench, share, directory / FOLDER / f"{name}.yaml", again(outcome), say)
                if found.scenario is None:
                    say(
                        f"  it failed {found.failed} of {found.tried} times: {found.reason}; its history is {outcome.history}"
                    )
                else:
                    written.append(found.scenario)
                    say(
                        f"  {found.scenario} ({found.attempts} attempts; it failed {found.failed} of {found.tried} times)"
                    )
        except (MistakesFound, UnusableSource, SetUpBroke, StackError, SubjectError, KafkaError) as error:
            say(f"  nothing more can be made smaller: {error}")
    return written
