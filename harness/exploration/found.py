"""What becomes of a failure: made smaller, written as a scenario file, and that file tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contract
from harness.document import MistakesFound
from harness.exploration.deaths import roles_met, shrink_with_deaths
from harness.exploration.files import among_others, beside_one_that_waits, document, expected_of, text_of, with_case
from harness.exploration.judging import CHECKER
from harness.exploration.session import Failure
from harness.exploration.shrinking import Shrunk, shrink
from harness.generation import Case
from harness.history import Event
from harness.history.file import encode
from harness.oracle import Undecided
from harness.runner import run
from harness.runner.bench import Bench
from harness.scenario import load
from harness.verdict import Finding, Outcome

Json = Any

_COMPANY = 40
_MOST_CLAUSES = 4
_FOLDER = "found"
_TRIES = 3


@dataclass(frozen=True)
class Found:
    """A failure in its last form. `scenario` is its file; `outcome` what came of that file, or of the run itself where
    `fails` is false: the file did not fail."""

    failure: Failure
    shrunk: Shrunk
    scenario: Path
    outcome: Outcome
    fails: bool


def made_small(
    failure: Failure, bench: Bench, directory: Path, again: str, seconds: float, told: Callable[[str], None]
) -> Found:
    """A failure made smaller for so long, and written as a scenario file. Where it does not come by itself, or its file does not
    fail, deaths of processes are put into its timeline if it felt one, for so long again."""
    landed = failure.landed
    small = shrink(failure.drawn, landed.case, failure.signature, bench, seconds, told)
    found = write_up(failure, small, bench, directory, again)
    if found.fails or not landed.is_disturbed:
        return found
    told("it does not fail by itself; deaths of processes are put into its timeline")
    small = shrink_with_deaths(landed, failure.signature, bench, seconds, told)
    if small.smallest is None:
        return found
    found.scenario.unlink()
    return write_up(failure, small, bench, directory, again)


def write_up(failure: Failure, shrunk: Shrunk, bench: Bench, directory: Path, again: str) -> Found:
    """Write the scenario file and the history of the smallest failing run, and carry the file out: alone, and where that does not
    fail, among others of its kind."""
    landed, judged = failure.landed, failure.judged
    if shrunk.smallest is not None:
        landed, judged = shrunk.smallest.landed, shrunk.smallest.judged
    finding = told_first(judged.findings)
    clauses = clauses_of(judged.findings)
    name = re.sub(r"[^a-z0-9]+", "_", f"{finding.clause} {finding.anomaly}".lower()).strip("_")
    path = _free(directory / "scenarios" / _FOLDER, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    head = _head(finding, failure, shrunk, again, path)
    history = directory / "histories" / f"{_FOLDER}_{path.stem}.jsonl"
    write_history(with_case(landed.events, landed.case), history)
    alone = document(landed.case, guarantee_of(finding), clauses, expected_of(landed.case, judged))
    company = () if landed.case.timeline else _in_company(alone, landed.case, failure)
    said = ""
    for form in (*([alone] if shrunk.smallest is not None else []), *company):
        path.write_text(text_of(form, head), encoding="utf-8")
        outcome = _tried(path, bench, directory, failure.drawn.seed)
        if outcome is not None and outcome.verdict == "failed":
            return Found(failure, shrunk, path, outcome, fails=True)
        if form is alone and outcome is not None:
            said = f"; as a scenario file it is {outcome.verdict}"
    path.write_text(text_of(alone, head), encoding="utf-8")
    rate = f"{shrunk.failed} of {shrunk.tried} times by itself"
    outcome = Outcome(
        scenario=f"{_FOLDER}/{path.stem}",
        guarantee=guarantee_of(finding),
        clauses=clauses,
        subject=bench.subject.name,
        verdict="failed",
        reason=f"{finding.explanation} (it failed {rate}{said})",
        findings=judged.findings,
        seconds=failure.landed.seconds,
        history=history,
        seed=failure.drawn.seed,
        scenario_file=path,
    )
    return Found(failure, shrunk, path, outcome, fails=False)


def _in_company(alone: dict[str, Json], case: Case, failure: Failure) -> Iterator[dict[str, Json]]:
    """The same beside a run that waits for its agent; of many runs at once; and where processes were ended meanwhile, with the
    death of one behind them."""
    try:
        statuses = case.allowed().statuses
    except Undecided:
        return
    if len(statuses) == 1:
        yield beside_one_that_waits(alone, *statuses)
    among = among_others(alone, _COMPANY)
    yield among
    if failure.landed.is_disturbed:
        for role in roles_met(failure.landed.events):
            yield {**among, "timeline": [*among["timeline"], {"kill": role}, {"start": role}]}


def told_first(findings: Sequence[Finding]) -> Finding:
    """The finding that tells most: the oracle's, if it has one, and of those what is about a step's data last."""
    return min(findings, key=lambda one: (one.checker != CHECKER, one.anomaly.endswith("tasks")))


def write_history(events: Sequence[Event], path: Path) -> None:
    """Write events as a history file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for event in events:
            file.write(encode(event) + "\n")


def clauses_of(findings: Sequence[Finding]) -> tuple[str, ...]:
    """The clauses that a scenario file of a failure binds: those that the oracle names come first."""
    ordered = sorted(findings, key=lambda one: one.checker != CHECKER)
    return tuple(dict.fromkeys(one.clause for one in ordered))[:_MOST_CLAUSES]


def guarantee_of(finding: Finding) -> str:
    """The text of the clause that is broken, until somebody finds a better sentence."""
    text = next((clause.text for clause in contract.clauses() if clause.id == finding.clause), finding.explanation)
    return " ".join(text.split())


def _head(finding: Finding, failure: Failure, shrunk: Shrunk, again: str, path: Path) -> list[str]:
    rate = f"It failed {shrunk.failed} of {shrunk.tried} times when it was tried by itself."
    return [
        "yaml-language-server: $schema=../scenario.schema.json",
        f"Found by plumbline explore, and made smaller in {shrunk.attempts} attempts. {rate}",
        f"What was seen: {finding.explanation}"[:600],
        f"Explored by: {again} (batch {failure.drawn.seed})",
        f"Run it with: plumbline check SUBJECT --scenarios {path}",
    ]


def _tried(path: Path, bench: Bench, directory: Path, seed: int) -> Outcome | None:
    try:
        (scenario,) = load(path)
    except MistakesFound:
        # A generated case may hold what the format of files cannot say; the history still tells of it.
        return None
    outcome: Outcome | None = None
    for _ in range(_TRIES):
        outcome = run(scenario, bench, history_directory=directory / "histories", seed=seed)
        if outcome.verdict == "failed":
            break
    return outcome


def _free(folder: Path, name: str) -> Path:
    path = folder / f"{name}.yaml"
    number = 2
    while path.exists():
        path = folder / f"{name}_{number}.yaml"
        number += 1
    return path
