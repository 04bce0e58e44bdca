"""One execution of a scenario: its world made, its timeline done, its expectations judged, its history checked."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import contract
from harness import checkers
from harness.history import HistoryWriter
from harness.runner import acts
from harness.runner.bench import Bench
from harness.runner.errors import Broken, NotSupported, SetUpBroke
from harness.runner.view import RunView
from harness.runner.waiting import Waiting, Watchdog
from harness.runner.world import World, acts_of
from harness.scenario.model import Act, Scenario
from harness.stack import StackError
from harness.subject import SubjectError
from harness.verdict import Finding, Verdict

log = logging.getLogger(__name__)

_CATCH_UP_SECONDS = 15.0
_SETTLE_SECONDS = 0.5
_QUIET_SECONDS = 0.2
_TOLD_SECONDS = 3.0
_ENDED = ("COMPLETED", "FAILED")
_BRIEFLY_SECONDS = 2.0
_WAIT_SECONDS = 0.25
_MOST_DRAINS = 20
_TICK_SECONDS = 0.01
_AT_ONCE = 16
_MOST_RUNS_READ = 4
_OWED_SECONDS = 15.0
_THROUGH_PROXIES = frozenset({"fault", "cut", "join"})


@dataclass(frozen=True)
class Executed:
    """What came of one execution. `reason` is a sentence for every verdict but passed."""

    verdict: Verdict
    reason: str | None
    findings: tuple[Finding, ...]
    history: Path


def execute(scenario: Scenario, bench: Bench, history: Path, seed: int, drawn: Mapping[str, Any]) -> Executed:
    """Carry a scenario out once, with these drawn values; its history goes into the file."""
    deaths = bench.deaths()
    findings: list[Finding] = []
    reason: str | None = None
    verdict: Verdict = "passed"
    with HistoryWriter(history) as writer:
        ending = _Ending()
        try:
            _carry_out(scenario, bench, writer, seed, drawn, ending)
        except NotSupported as error:
            verdict, reason = "not supported", str(error)
        except Broken as error:
            findings += error.findings
        except (SetUpBroke, StackError, SubjectError) as error:
            verdict, reason = "unknown", str(error)
        except Exception as error:
            log.exception("%s: the harness itself failed", scenario.id)
            verdict, reason = "unknown", f"the harness itself failed: {error!r}"
        if died := bench.deaths_since(deaths):
            findings += [Finding("processes", scenario.clauses[0], "process died", told) for told in died]
        told = reason or (findings[0].explanation if findings else "done")
        writer.add("harness", "end", reason=told, waited=ending.waited, drained=ending.drained)
        if verdict != "not supported":
            found, crashes = checkers.check_all(writer.history())
            findings += _counting(found, scenario, bench.roles)
            if crashes and verdict == "passed":
                verdict, reason = "unknown", "; ".join(str(crash) for crash in crashes)
    if findings and verdict in ("passed", "unknown"):
        # What was seen to be wrong is wrong, whatever else could not be seen.
        first = findings[0].explanation.splitlines()[0]
        more = f" (and {len(findings) - 1} more findings)" if len(findings) > 1 else ""
        verdict, reason = "failed", first + more
    return Executed(verdict, reason, tuple(findings), history)


@dataclass
class _Ending:
    """How far a history reaches: the runs that have ended or were waited for to the last, and whether all was read that was
    published up to the last change of any row."""

    waited: list[str] = field(default_factory=list)
    drained: bool = False


def _begin(world: World, seed: int, drawn: Mapping[str, Any]) -> None:
    scenario, bench = world.scenario, world.bench
    world.writer.add(
        "harness",
        "begin",
        scenario=scenario.id,
        guarantee=scenario.guarantee,
        clauses=list(scenario.clauses),
        subject=bench.subject.name,
        contract=contract.VERSION,
        seed=seed,
        drawn=dict(drawn),
        roles=list(bench.roles),
        played=list(bench.played),
        extensions=sorted(bench.subject.extensions),
        alone=scenario.alone,
        agents={name: world.agent_name(name) for name in scenario.agents},
    )


def _carry_out(
    scenario: Scenario, bench: Bench, writer: HistoryWriter, seed: int, drawn: Mapping[str, Any], ending: _Ending
) -> None:
    world = World(scenario, bench, writer, drawn)
    _begin(world, seed, drawn)
    watchdog = Watchdog(world, scenario.expectations)
    waiting = Waiting(world, watchdog)
    try:
        if any(act.word in _THROUGH_PROXIES for act in acts_of(scenario.timeline)):
            # The subject is restarted behind proxies for the first of them: not in the middle of a run.
            bench.fault_points()
        world.offsets = bench.observer.positions()
        world.set_up()
        if bench.records_crossings:
            bench.fault_points().record()
        for act in scenario.timeline:
            _do(act, world, waiting, watchdog)
        for expectation in scenario.expectations:
            if expectation.mode == "eventually":
                waiting.for_expectation(expectation)
        _end_faults(world)
        _settle(world, watchdog, ending)
        wrong = [waiting.look_once(one) for one in scenario.expectations if one.mode == "finally"]
        watchdog.check()
        if findings := [finding for finding in wrong if finding is not None]:
            raise Broken(findings)
        watchdog.note_held()
    except Broken:
        # What came of the runs belongs to the evidence.
        _drain(world, _BRIEFLY_SECONDS)
        ending.waited = [run_id for run_id in world.made if world.has_ended(run_id)]
        raise
    finally:
        if (points := world.bench.armed_faults) is not None:
            world.bench.processes.doubt(points.disarm())
        world.close()


def _end_faults(world: World) -> None:
    """See to it that every armed fault was done and is over, and that what a recovery owes was published, if it ever is.
    Raises :class:`SetUpBroke` for a fault that was not done."""
    points = world.bench.armed_faults
    if points is None:
        return
    if wrong := points.settle():
        raise SetUpBroke("; ".join(wrong))
    _await_updates(world, _OWED_SECONDS)


def _are_told(run: RunView) -> bool:
    """Whether there is an update for every row of an agent step that has ended; composite steps need not have any."""
    ended = Counter(
        (row["step_id"], row["status"])
        for row in run.steps.values()
        if row.get("agent_name") is not None and row["status"] in _ENDED
    )
    told = Counter((update["value"].get("step_id"), update["value"].get("status")) for update in run.updates)
    return all(told[what] >= count for what, count in ended.items())


def _do(act: Act, world: World, waiting: Waiting, watchdog: Watchdog) -> None:
    if act.when is not None:
        waiting.for_act(act.when, act.place)
    watchdog.check()
    if act.word == "wait":
        waiting.for_act(act.arguments, act.place)
        return
    if act.word == "all":
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for future in [pool.submit(_do, one, world, waiting, watchdog) for one in act.arguments["acts"]]:
                future.result()
        return
    outcome: Any = None
    try:
        outcome = acts.do(act, world)
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
        raise
    finally:
        world.writer.add("harness", "act", act=act.word, arguments=dict(act.arguments), outcome=outcome)


def _settle(world: World, watchdog: Watchdog, ending: _Ending) -> None:
    """See what comes late: let every run end that can, wait until nothing more is heard of them while no agent is at work,
    half a second at most; then see to it that all of it is in the history."""
    _let_runs_end(world, watchdog)
    begun = time.monotonic()
    quiet_since, seen = begun, -1
    while (now := time.monotonic()) - begun < _SETTLE_SECONDS and now - quiet_since < _QUIET_SECONDS:
        with world.view.changed:
            if (heard := world.view.about_runs) != seen or world.view.busy_calls():
                quiet_since, seen = now, heard
            world.view.changed.wait(_TICK_SECONDS)
        watchdog.check()
    is_quiet = now - quiet_since >= _QUIET_SECONDS
    _await_updates(world, _TOLD_SECONDS)
    _read_over_rest(world)
    if blind := _drain(world, _CATCH_UP_SECONDS):
        raise SetUpBroke(f"not everything could be seen: {blind}")
    if wrong := world.bench.observer.whats_wrong(world.scope):
        raise SetUpBroke(wrong)
    ending.drained = is_quiet
    ending.waited = [run_id for run_id in world.made if world.has_ended(run_id) or not world.may_wait_for_ever]
    watchdog.check()


def _await_updates(world: World, at_most_seconds: float) -> None:
    """Wait until every step that ended has been told of: rows are committed before updates are published, and a quiet that is
    only an executor's having no processor, or being on its way back, must not count against it."""
    with world.view.changed:
        world.view.changed.wait_for(lambda: all(_are_told(world.view.run(one)) for one in world.made), at_most_seconds)


def _let_runs_end(world: World, watchdog: Watchdog) -> None:
    """Wait for the runs that nothing keeps from ending: none of them is to be lost unseen."""
    deadline = time.monotonic() + world.scenario.deadline_seconds
    world.may_wait_for_ever = True
    while not all(map(world.has_ended, world.made)):
        watchdog.check()
        if world.view.busy_calls() or not world.bench.is_whole:
            return
        if time.monotonic() > deadline:
            world.may_wait_for_ever = False
            return
        with world.view.changed:
            world.view.changed.wait(_WAIT_SECONDS)


def _drain(world: World, deadline_seconds: float) -> str | None:
    """Read all topics to their ends after the last change of any row; None, or what could not be seen."""
    for _ in range(_MOST_DRAINS):
        changes = world.view.row_changes
        if blind := world.bench.observer.catch_up(world.scope, deadline_seconds):
            return blind
        if world.view.row_changes == changes:
            return None
    return "rows keep changing"


def _read_over_rest(world: World) -> None:
    """What a reader of the API sees at the end."""
    if not world.bench.has_api:
        return
    known = [run_id for run_id, alias in dict(world.scope.runs).items() if alias is not None]
    for run_id in known[:_MOST_RUNS_READ]:
        if world.view.run(run_id).row is not None:
            for path in (f"/runs/{run_id}", f"/runs/{run_id}/steps"):
                world.bench.rest.ask(world.scope, "GET", path, run=run_id)


def _counting(found: list[Finding], scenario: Scenario, roles: Collection[str]) -> list[Finding]:
    """The findings that count: those about what is demanded, or what the scenario is about, of the roles that the subject
    has; what the harness plays is not judged."""
    clauses = {clause.id: clause for clause in contract.clauses()}
    return [
        one
        for one in found
        if (one.clause in scenario.clauses or clauses[one.clause].level == "MUST")
        and not roles_of_subjects(clauses[one.clause].roles).isdisjoint(roles)
    ]


def roles_of_subjects(roles: Iterable[str]) -> frozenset[str]:
    """The contract's names of roles as subject files have them."""
    return frozenset("consumer" if role == "executor" else role for role in roles)
