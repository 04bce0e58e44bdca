"""How a subject stands clause by clause, and which level it reaches; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import contract
from harness.verdict import Outcome

Standing = Literal["passed", "failed", "unknown", "not supported", "not bound", "untested"]

_MOST_SHOWN = 120
_ROLES = {"executor": "consumer"}
"""The contract's names of roles → those of subject files, where they differ."""


@dataclass(frozen=True)
class ClauseStanding:
    """`scenarios` is how many scenarios bind the clause; `failed` names those that did not pass or that broke it."""

    clause: contract.Clause
    standing: Standing
    scenarios: int
    failed: tuple[str, ...]
    why: str = ""
    """What broke it, in a few words, or what it would have needed; empty for what passed."""


def standings(outcomes: Sequence[Outcome], roles: Sequence[str]) -> list[ClauseStanding]:
    """Every clause of the contract, in its order.

    A clause is broken when a scenario that binds it failed, or a checker named it in any scenario. One that binds none of
    the subject's roles, or whose scenarios all need a role that the subject lacks, does not bind it.
    """
    return [_standing(clause, outcomes, roles) for clause in contract.clauses()]


def level_reached(found: Sequence[ClauseStanding]) -> int:
    """The highest conformance level whose every MUST, and that of the levels below, is passed by all that binds the
    subject; 0 when none is."""
    reached = 0
    for level in sorted(contract.CONFORMANCE_LEVELS):
        demanded = [
            one
            for one in found
            if one.clause.level == "MUST" and one.clause.conformance_level == level and one.standing != "not bound"
        ]
        if not demanded or any(one.standing != "passed" for one in demanded):
            break
        reached = level
    return reached


def is_green(outcomes: Sequence[Outcome]) -> bool:
    """Whether everything that was claimed and run came out as it should: passed, or failed as it is known to."""
    return all(_is_expected(outcome) for outcome in outcomes)


def counts(outcomes: Sequence[Outcome]) -> Mapping[str, int]:
    """How many outcomes of each verdict."""
    found: dict[str, int] = {"passed": 0, "failed": 0, "unknown": 0, "not supported": 0}
    for outcome in outcomes:
        found[outcome.verdict] += 1
    return found


def _is_expected(outcome: Outcome) -> bool:
    if outcome.known_failure is not None:
        return outcome.verdict in ("failed", "not supported")
    return outcome.verdict in ("passed", "not supported")


def _standing(clause: contract.Clause, outcomes: Sequence[Outcome], roles: Sequence[str]) -> ClauseStanding:
    binding = [outcome for outcome in outcomes if clause.id in outcome.clauses]
    failed = {outcome.scenario for outcome in binding if outcome.verdict == "failed"}
    failed |= {outcome.scenario for outcome in outcomes if any(one.clause == clause.id for one in outcome.findings)}
    verdicts = {outcome.verdict for outcome in binding}
    standing: Standing
    if not any(_ROLES.get(role, role) in roles for role in clause.roles):
        standing = "not bound"
    elif failed:
        standing = "failed"
    elif "unknown" in verdicts:
        standing = "unknown"
    elif "passed" in verdicts:
        standing = "passed"
    elif binding:
        lacks_roles = all("the role" in (outcome.reason or "") for outcome in binding)
        standing = "not bound" if lacks_roles else "not supported"
    else:
        standing = "untested"
    return ClauseStanding(
        clause, standing, len(binding), tuple(sorted(failed)), _why(clause, standing, roles, outcomes)
    )


def _why(clause: contract.Clause, standing: Standing, roles: Sequence[str], outcomes: Sequence[Outcome]) -> str:
    if not any(_ROLES.get(role, role) in roles for role in clause.roles):
        return f"binds {', '.join(clause.roles)}"
    binding = [outcome for outcome in outcomes if clause.id in outcome.clauses]
    if standing == "failed":
        named = [(outcome, one) for outcome in outcomes for one in outcome.findings if one.clause == clause.id]
        broken = [f"{one.anomaly} in {outcome.scenario}" for outcome, one in named]
        return (broken or [outcome.scenario for outcome in binding if outcome.verdict == "failed"])[0]
    if standing == "unknown":
        reason = next(outcome.reason or "" for outcome in binding if outcome.verdict == "unknown").partition("\n")[0]
        return reason if len(reason) <= _MOST_SHOWN else f"{reason[: _MOST_SHOWN - 1]}…"
    if standing in ("not supported", "not bound"):
        lacking = {_lacking(outcome) for outcome in binding if outcome.verdict == "not supported"}
        return min(lacking, key=lambda text: (text.count(","), len(text), text), default="")
    return ""


def _lacking(outcome: Outcome) -> str:
    _, claims, lacking = (outcome.reason or "").partition("does not claim ")
    return f"needs {lacking}" if claims else outcome.reason or ""
