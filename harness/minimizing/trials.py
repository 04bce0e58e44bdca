"""A failing scenario file made smaller as it is, for what no generated case can say; each attempt is a file of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checkers import CHECKERS
from harness.document import MistakesFound
from harness.exploration.files import text_of
from harness.runner import run
from harness.runner.bench import Bench
from harness.scenario import Scenario, load
from harness.shrinking import Leeway, Smallest, engine, smaller_documents
from harness.verdict import Outcome

Json = Any
Document = Mapping[str, Json]
Signs = frozenset[tuple[str, str]]

_AT_ONCE = 6
_SHORT_SECONDS, _SHORT_ALONE_SECONDS = 4, 12
_PLACE = re.compile(r"^\S*?:\d+:\d+: ")
_FOUND = re.compile(r"; (?:found|last seen): .*$", re.DOTALL)
_COUNTED = ("agent: ", "message: ", "update: ", "times: ", "table: ", "count: ")
CHECKER_NAMES = frozenset(checker.name for checker in CHECKERS)


@dataclass(frozen=True)
class Tried:
    """A scenario file as it was carried out; `scenario` is what it says."""

    document: Document
    scenario: Scenario
    outcome: Outcome


def signs(outcome: Outcome) -> Signs:
    """What a failure is known again by: what checkers found, and only when they found nothing the expectation or act that
    was not as it should be."""
    by_checkers = frozenset((one.checker, one.clause) for one in outcome.findings if one.checker in CHECKER_NAMES)
    if by_checkers:
        return by_checkers
    return frozenset((one.checker, _FOUND.sub("", _PLACE.sub("", one.explanation))) for one in outcome.findings)


class Trials:
    """Carries out scenario files that are made up, in a directory of their own."""

    def __init__(self, bench: Bench, directory: Path, seed: int) -> None:
        self._bench = bench
        self._directory = directory
        self._seed = seed
        self._count = 0

    def attempt(self, document: Document) -> Tried | None:
        """What comes of one; None when it is no scenario. Raises SubjectError, StackError when the bench is lost."""
        scenario = self._written(document)
        return None if scenario is None else self._carried_out(document, scenario)

    def attempt_all(self, documents: Sequence[Document]) -> list[Tried]:
        """The same for several; those that disturb nobody at the same time."""
        read = [(one, scenario) for one in documents if (scenario := self._written(one)) is not None]
        shared = [(one, scenario) for one, scenario in read if not scenario.alone]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(lambda pair: self._carried_out(*pair), shared))
        return [*found, *(self._carried_out(one, scenario) for one, scenario in read if scenario.alone)]

    def _written(self, document: Document) -> Scenario | None:
        self._count += 1
        path = self._directory / "scenarios" / "attempts" / f"attempt_{self._count}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(document, ["An attempt."]), encoding="utf-8")
        try:
            (scenario,) = load(path)
        except MistakesFound:
            return None
        return scenario

    def _carried_out(self, document: Document, scenario: Scenario) -> Tried:
        histories = self._directory / "histories"
        outcome = run(scenario, self._bench, history_directory=histories, seed=self._seed)
        if scenario.alone:
            self._bench.processes.restore()
        return Tried(document, scenario, outcome)


def shrink_document(
    first: Tried, trials: Trials, until: float, told: Callable[[str], None] = lambda _: None
) -> Smallest[Document, Tried]:
    """The smallest scenario file that fails by the same signs.

    Where only an expectation failed, nothing is left out that it may rest on, so that what is left is still to be expected of
    an executor that keeps the contract.
    """
    wanted = signs(first.outcome)
    leeway = _leeway(wanted)
    alone = first.scenario.alone

    hurried = _hurried(first, trials, wanted)

    def try_all(documents: Sequence[Document]) -> list[tuple[Document, Tried]]:
        return [
            (one.document, one)
            for one in trials.attempt_all(documents)
            if one.outcome.verdict == "failed" and signs(one.outcome) & wanted
        ]

    def tell(_: Document, attempts: int) -> None:
        told(f"smaller after {attempts} attempts, {max(0, until - time.monotonic()):.0f} s left")

    found = engine.shrink(
        hurried.document,
        hurried,
        smaller=lambda document: smaller_documents(document, leeway),
        key=repr,
        size=lambda document: len(repr(document)),
        try_all=try_all,
        until=until,
        at_once=lambda _: 1 if alone else _AT_ONCE,
        told=tell,
    )
    return found if hurried is first else _unhurried(found, first, trials, wanted)


def _hurried(first: Tried, trials: Trials, wanted: Signs) -> Tried:
    """The same with less patience, when it fails as well: each attempt that waits for what never comes waits shorter."""
    seconds = _SHORT_ALONE_SECONDS if first.scenario.alone else _SHORT_SECONDS
    if first.scenario.deadline_seconds <= seconds:
        return first
    tried = trials.attempt({**first.document, "deadline_seconds": seconds})
    is_same = tried is not None and tried.outcome.verdict == "failed" and bool(signs(tried.outcome) & wanted)
    return tried if tried is not None and is_same else first


def _unhurried(
    found: Smallest[Document, Tried], first: Tried, trials: Trials, wanted: Signs
) -> Smallest[Document, Tried]:
    """What was found, with all the time that the first one gave: what fails only for want of time is no failure."""
    patient = {name: value for name, value in found.found.items() if name != "deadline_seconds"}
    if "deadline_seconds" in first.document:
        patient["deadline_seconds"] = first.document["deadline_seconds"]
    tried = trials.attempt(patient)
    if tried is not None and tried.outcome.verdict == "failed" and signs(tried.outcome) & wanted:
        return Smallest(patient, tried, found.attempts + 1, found.is_whole)
    return Smallest(first.document, first, found.attempts + 1, False)


def _leeway(wanted: Signs) -> Leeway:
    if any(checker in CHECKER_NAMES for checker, _ in wanted):
        return "all"
    counts = any(word in told for _, told in wanted for word in _COUNTED)
    return "expectations" if counts else "neutral"
