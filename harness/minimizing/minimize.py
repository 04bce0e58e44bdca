"""What failed once, tried again, made smaller, and written as a scenario file with the history of its smallest failing run."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.document import MistakesFound
from harness.exploration import shrinking
from harness.exploration.files import document, expected_of, text_of, with_case
from harness.exploration.found import clauses_of, guarantee_of, told_first, write_history
from harness.exploration.judging import CHECKER as ORACLE
from harness.exploration.judging import Judged
from harness.exploration.shrinking import Replayed, Signature
from harness.generation import Case
from harness.history import read_history
from harness.minimizing.reading import case_of
from harness.minimizing.sources import Failing, drawn_in
from harness.minimizing.trials import CHECKER_NAMES, Trials, Tried, shrink_document
from harness.runner import run
from harness.runner.bench import Bench
from harness.scenario import load
from harness.shrinking import document_of
from harness.verdict import Finding

TRIES, MOST_TRIES = 3, 12
Told = Callable[[str], None]


@dataclass(frozen=True)
class Minimized:
    """`failed` of `tried` times it failed when it was tried again; `attempts` is how many smaller ones were tried. `scenario`
    None: it never failed again, and nothing was written. `finding` is what is wrong in the smallest one; `reason` says why
    nothing was written, or that what was written fails as a generated case, and not as a file."""

    failed: int
    tried: int
    attempts: int
    scenario: Path | None
    history: Path | None
    finding: Finding | None
    reason: str | None = None


def minimize(failing: Failing, bench: Bench, seconds: float, out: Path, again: str, told: Told) -> Minimized:
    """Make what failed smaller for so long, and write it to `out`, its history beside it. `again` is the command for the head
    of the file.

    Raises:
        SetUpBroke, SubjectError, StackError: the harness, or the bench, gives up.
    """
    until = time.monotonic() + seconds
    if failing.case is not None:
        return _of_case(failing.case, None, failing, bench, until, out, again, told)
    with tempfile.TemporaryDirectory(prefix="plumbline-shrink-") as directory:
        return _of_scenario(failing, bench, until, out, again, told, Path(directory))


def _of_scenario(
    failing: Failing, bench: Bench, until: float, out: Path, again: str, told: Told, directory: Path
) -> Minimized:
    assert failing.scenario is not None
    scenario, drawn = failing.scenario, failing.drawn
    if scenario.draws and drawn is None:
        told("its draws are tried for one that fails")
        outcome = run(scenario, bench, history_directory=directory / "drawing", seed=failing.seed)
        if scenario.alone:
            bench.processes.restore()
        if outcome.verdict != "failed" or outcome.history is None:
            return Minimized(0, 1, 0, None, None, None, outcome.reason)
        drawn = drawn_in(read_history(outcome.history))
    trials = Trials(bench, directory, failing.seed)
    whole = document_of(scenario, drawn or {})
    first, failed, tried, reason = _tried_again(whole, trials, until)
    if first is None:
        return Minimized(0, tried, 0, None, None, None, reason)
    told(f"it failed {failed} of {tried} times; smaller ones are tried")
    case = case_of(whole)
    if case is not None:
        found = _of_case(case, first, failing, bench, until, out, again, told)
        if found.scenario is not None and found.reason is None:
            return Minimized(failed, tried, found.attempts, found.scenario, found.history, found.finding)
    smallest = shrink_document(first, trials, until, told)
    return _written_document(smallest.result, failing, out, again, (failed, tried, smallest.attempts))


def _tried_again(whole: dict[str, object], trials: Trials, until: float) -> tuple[Tried | None, int, int, str | None]:
    """One that failed, how often it did of how many times, and else why not."""
    failed = tried = 0
    first: Tried | None = None
    reason: str | None = None
    while tried < TRIES or (not failed and tried < MOST_TRIES and time.monotonic() < until):
        found = trials.attempt(whole)
        tried += 1
        if found is None:
            return None, 0, tried, "it cannot be written out as one scenario file"
        reason = found.outcome.reason
        if found.outcome.verdict == "not supported":
            break
        if found.outcome.verdict == "failed":
            failed += 1
            first = found
            if tried == 1:
                break
    return first, failed, tried, reason


def _of_case(
    case: Case, first: Tried | None, failing: Failing, bench: Bench, until: float, out: Path, again: str, told: Told
) -> Minimized:
    """By what oracle and checkers say, whatever the file expected: many attempts at once."""
    replayed = failed = 0
    bound = frozenset(failing.scenario.clauses if failing.scenario is not None else ())
    seen: Replayed | None = None
    while replayed < TRIES or (not failed and first is None and replayed < MOST_TRIES and time.monotonic() < until):
        found = shrinking.replay(case, bench, bound)
        replayed += 1
        if found.judged.findings and found.landed.problem is None and _meets(found.judged, first):
            failed += 1
            seen = found
            if replayed == 1:
                break
    if seen is None:
        return Minimized(0, replayed, 0, None, None, None, "every run was as the contract allows")
    wanted = _wanted(seen.judged, first)
    small = shrinking.shrink(None, case, wanted, bench, until - time.monotonic(), told)
    smallest = small.smallest or seen
    finding = told_first([one for one in smallest.judged.findings if (one.checker, one.clause) in wanted])
    clauses = clauses_of(smallest.judged.findings)
    guarantee = guarantee_of(finding)
    if failing.scenario is not None and (shared := [one for one in failing.scenario.clauses if one in clauses]):
        clauses = tuple(dict.fromkeys((*shared, *clauses)))
        guarantee = failing.scenario.guarantee
    smaller = smallest.landed.case
    expect = expected_of(smaller, smallest.judged)
    rate = (small.failed or failed, small.tried or replayed, small.attempts)
    text = text_of(document(smaller, guarantee, clauses, expect), _head(failing, finding, again, out, rate))
    _write(out, text)
    history = out.with_suffix(".jsonl")
    write_history(with_case(smallest.landed.events, smaller), history)
    return Minimized(*rate, out, history, finding, _as_a_file(out, bench, failing.seed))


def _as_a_file(path: Path, bench: Bench, seed: int) -> str | None:
    """What a generated case comes to as a scenario file, when that does not fail; None when it does."""
    told = "it cannot be read as a scenario file"
    with tempfile.TemporaryDirectory(prefix="plumbline-shrink-") as directory:
        for _ in range(TRIES):
            try:
                (scenario,) = load(path)
            except MistakesFound as mistakes:
                return f"{told}: {mistakes}"
            outcome = run(scenario, bench, history_directory=Path(directory), seed=seed)
            if scenario.alone:
                bench.processes.restore()
            if outcome.verdict == "failed":
                return None
            told = f"as a scenario file it is {outcome.verdict}"
    return told


def _meets(judged: Judged, first: Tried | None) -> bool:
    return bool(_wanted(judged, first))


def _wanted(judged: Judged, first: Tried | None) -> Signature:
    """By what it is the same failure: the clauses of the scenario, or of what was found in it, where there is one. When only what
    the file expects was not met, and nothing else names its clauses, the oracle says what is wrong with the run."""
    every = shrinking.signature(judged)
    if first is None:
        return every
    clauses = {*first.scenario.clauses, *(one.clause for one in first.outcome.findings)}
    named = frozenset((checker, clause) for checker, clause in every if clause in clauses)
    if named or any(one.checker in CHECKER_NAMES for one in first.outcome.findings):
        return named
    return frozenset((checker, clause) for checker, clause in every if checker == ORACLE)


def _written_document(
    smallest: Tried, failing: Failing, out: Path, again: str, rate: tuple[int, int, int]
) -> Minimized:
    finding = told_first(smallest.outcome.findings)
    _write(out, text_of(smallest.document, _head(failing, finding, again, out, rate)))
    history = out.with_suffix(".jsonl")
    if smallest.outcome.history is not None:
        shutil.copyfile(smallest.outcome.history, history)
    return Minimized(*rate, out, history, finding)


def _write(out: Path, text: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")


def _head(failing: Failing, finding: Finding, again: str, out: Path, rate: Sequence[int]) -> list[str]:
    failed, tried, attempts = rate
    return [
        "yaml-language-server: $schema=../scenario.schema.json",
        f"Made smaller in {attempts} attempts from {failing.told}. It failed {failed} of {tried} times when it was tried again.",
        f"What was seen: {finding.explanation}"[:600],
        f"Made by: {again} (seed {failing.seed})",
        f"Run it with: plumbline check SUBJECT --scenarios {out} --seed {failing.seed}",
    ]
