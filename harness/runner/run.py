"""A scenario from its needs to its outcome, its draws among them."""

from __future__ import annotations

import fnmatch
import json
import re
import time
import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import contract
from harness.runner.bench import Bench
from harness.runner.execution import Executed, execute, roles_of_subjects
from harness.runner.logs import Logs, logs_beside
from harness.runner.world import acts_of
from harness.scenario.drawing import each_example
from harness.scenario.model import Scenario
from harness.scenario.needs import fault_points
from harness.stack import ExternalStack
from harness.subject import Subject
from harness.verdict import Outcome

SHRINK_SECONDS = 60.0
_SHRINK_EXECUTIONS = 40
_MOST_SHOWN = 500
_PARTS = frozenset({"broker", "database"})
_TABLES_OF_ROWS = frozenset({"workflow_runs", "step_executions"})

# Other threads draw random numbers while Hypothesis looks out for strategies that do.
RANDOM_ELSEWHERE = "Do not use the `random` module inside strategies"
warnings.filterwarnings("ignore", message=RANDOM_ELSEWHERE)


def run(
    scenario: Scenario,
    bench: Bench,
    *,
    history_directory: Path,
    seed: int,
    keep_passed: bool = False,
    shrink_seconds: float = SHRINK_SECONDS,
) -> Outcome:
    """Carry out a scenario: once, or once for each example of its draws, until one fails; then the smallest that fails and
    is found within `shrink_seconds`.

    Histories of what did not pass stay in `history_directory`, with what the processes logged meanwhile beside them; those of
    what passed only when asked for. The verdict says whatever happened; nothing is raised for what a subject, a stack or a
    checker does.
    """
    begun = time.monotonic()
    logs = Logs(bench, logs_beside(history_path(history_directory, scenario)))
    lacking = whats_lacking(
        scenario, bench.subject, bench.roles, bench.played, has_stack_faults=not isinstance(bench.stack, ExternalStack)
    )
    if lacking is not None:
        executed = Executed("not supported", lacking, (), history_path(history_directory, scenario))
    elif scenario.draws:
        executed = _run_examples(scenario, bench, history_directory, seed, shrink_seconds)
    else:
        executed = execute(scenario, bench, history_path(history_directory, scenario), seed, {})
    history: Path | None = executed.history
    if executed.verdict in ("passed", "not supported") and not keep_passed:
        executed.history.unlink(missing_ok=True)
        history = None
    if executed.verdict in ("failed", "unknown"):
        logs.keep()
    return Outcome(
        scenario=scenario.id,
        guarantee=scenario.guarantee,
        clauses=scenario.clauses,
        subject=bench.subject.name,
        verdict=executed.verdict,
        reason=executed.reason,
        findings=executed.findings,
        seconds=round(time.monotonic() - begun, 3),
        history=history,
        seed=seed,
        scenario_file=scenario.path,
        known_failure=known_failure(scenario, bench.subject),
    )


def whats_lacking(
    scenario: Scenario,
    subject: Subject,
    roles: tuple[str, ...],
    played: tuple[str, ...] = (),
    *,
    has_stack_faults: bool = True,
) -> str | None:
    """What the scenario needs and the subject, or the stack, does not have, in a sentence; None when all is there.

    A role that the harness plays is there, as long as one at least of the scenario's clauses binds a role of the subject's.
    """
    has_roles = frozenset(roles)
    if is_about(scenario, roles):
        has_roles |= frozenset(played) - scenario.needs.own_roles
    missing = [
        f"the {what} {', '.join(sorted(wanted - has))}"
        for what, wanted, has in (
            ("role", scenario.needs.roles, has_roles),
            ("step type", scenario.needs.step_types, subject.step_types),
            ("extension", scenario.needs.extensions, subject.extensions),
        )
        if wanted - has
    ]
    if missing:
        return f"{subject.name} does not claim {' nor '.join(missing)}"
    touched = {act.arguments.get("role") for act in acts_of(scenario.timeline) if act.word not in ("wait", "execute")}
    if touched & _PARTS and not has_stack_faults:
        return (
            "faults of the broker and the database need a stack that is in the harness's hands (embedded, containers)"
        )
    at_commits = [
        point["of"]
        for act in acts_of(scenario.timeline)
        for point in fault_points(act.arguments)
        if point.get("boundary") == "commit" and point.get("of") is not None
    ]
    binding = subject.description.binding
    nameless = {*at_commits} & _TABLES_OF_ROWS - {*binding.tables.values()}
    if nameless and binding.has_own_rows:
        return f"{subject.name} has tables of its own, and the fault is at a commit of {', '.join(sorted(nameless))}"
    return None


def is_about(scenario: Scenario, roles: Collection[str]) -> bool:
    """Whether one of the clauses binds one of the roles, by their names in subject files, and it comes into play."""
    bound = {role for clause in contract.clauses() if clause.id in scenario.clauses for role in clause.roles}
    met = set(roles) if scenario.needs.speaks_rest else set(roles) - {"api"}
    return not roles_of_subjects(bound).isdisjoint(met)


def known_failure(scenario: Scenario, subject: Subject) -> str | None:
    """Why the subject is known to fail the scenario, if its file says so."""
    for known in subject.description.known_failures:
        # Brackets stand for themselves, since ids of variants have them.
        if fnmatch.fnmatchcase(scenario.id, known.scenario.replace("[", "[[]")):
            return known.reason
    return None


def history_path(directory: Path, scenario: Scenario, example: int | None = None) -> Path:
    """Where the history of a scenario goes."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", scenario.id).strip("_")
    return directory / f"{name}{'' if example is None else f'.{example}'}.jsonl"


class _Failed(Exception):
    """An example failed: what Hypothesis makes smaller."""


class _Enough(BaseException):
    """No further example is wanted. Not an Exception, so that it ends Hypothesis at once."""


class _Examples:
    """Executions by what was drawn. After a first failure their number and time are bounded, so that the smallest failure
    found by then is the one that is told."""

    def __init__(self, scenario: Scenario, bench: Bench, directory: Path, seed: int, shrink_seconds: float) -> None:
        self._scenario = scenario
        self._bench = bench
        self._directory = directory
        self._seed = seed
        self._shrink_seconds = shrink_seconds
        self._known: dict[str, Executed] = {}
        self._failed_at: float | None = None
        self._since_failure = 0
        self.stopped: Executed | None = None
        self.smallest: tuple[int, str, Executed] | None = None
        self.last: Executed | None = None

    def attempt(self, drawn: Mapping[str, Any]) -> None:
        """Execute the scenario with these values. Raises :class:`_Failed`, or :class:`_Enough`."""
        key = json.dumps(drawn, sort_keys=True)
        executed = self._known.get(key)
        if executed is None:
            if self._is_spent():
                raise _Enough
            path = history_path(self._directory, self._scenario, len(self._known) + 1)
            executed = execute(self._scenario, self._bench, path, self._seed, drawn)
            self._known[key] = executed
        if executed.verdict == "failed":
            self._failed_at = self._failed_at or time.monotonic()
            if self.smallest is None or (len(key), key) < self.smallest[:2]:
                self.smallest = (len(key), key, executed)
            raise _Failed
        if executed.verdict != "passed":
            self.stopped = executed
            raise _Enough
        self.last = executed

    def forget_all_but(self, kept: Executed) -> Executed:
        """Remove the histories of all other examples; the one that is kept gets the scenario's name."""
        for executed in self._known.values():
            if executed is not kept:
                executed.history.unlink(missing_ok=True)
        path = history_path(self._directory, self._scenario)
        kept.history.replace(path)
        return Executed(kept.verdict, kept.reason, kept.findings, path)

    def _is_spent(self) -> bool:
        if self._failed_at is None:
            return False
        self._since_failure += 1
        return self._since_failure > _SHRINK_EXECUTIONS or time.monotonic() - self._failed_at > self._shrink_seconds


def _run_examples(scenario: Scenario, bench: Bench, directory: Path, seed: int, shrink_seconds: float) -> Executed:
    from hypothesis.errors import HypothesisException

    examples = _Examples(scenario, bench, directory, seed, shrink_seconds)
    problem: str | None = None
    try:
        each_example(scenario.draws, examples=scenario.examples, seed=seed, attempt=examples.attempt)
    except (_Failed, _Enough):
        pass
    except HypothesisException as error:
        # What does not happen a second time comes as a group of what happened the first time.
        first = "".join(f"; {one!r}" for one in getattr(error, "exceptions", ()))
        problem = f"the draws could not be carried through: {error}{first}"
    if examples.smallest is not None:
        _, drawn, smallest = examples.smallest
        kept = examples.forget_all_but(smallest)
        told = f"drawn: {drawn[:_MOST_SHOWN]}{'…' if len(drawn) > _MOST_SHOWN else ''}"
        findings = tuple(replace(one, explanation=f"{one.explanation} ({told})") for one in kept.findings)
        return Executed("failed", f"{kept.reason} ({told})", findings, kept.history)
    last = examples.stopped or examples.last
    if last is None or problem is not None:
        path = examples.forget_all_but(last).history if last is not None else history_path(directory, scenario)
        return Executed("unknown", problem or "no example could be drawn", (), path)
    return examples.forget_all_but(last)
