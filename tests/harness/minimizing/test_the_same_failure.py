"""By what a failure is known again, when a scenario file is made smaller as a generated case."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.exploration.judging import CHECKER as ORACLE
from harness.exploration.judging import Judged
from harness.minimizing.minimize import _wanted
from harness.minimizing.trials import Tried
from harness.scenario import load
from harness.verdict import Finding, Outcome

_SCENARIO = Path(__file__).parents[3] / "scenarios" / "loop" / "defaults.yaml"


def _tried(*findings: Finding) -> Tried:
    (scenario,) = load(_SCENARIO)
    outcome = Outcome(
        scenario=scenario.id,
        guarantee=scenario.guarantee,
        clauses=scenario.clauses,
        subject="any",
        verdict="failed",
        reason="not as expected",
        findings=findings,
        seconds=1.0,
        history=None,
        seed=0,
        scenario_file=_SCENARIO,
    )
    return Tried({}, scenario, outcome)


def _judged(*signs: tuple[str, str]) -> Judged:
    return Judged(tuple(Finding(checker, clause, "a", "b") for checker, clause in signs), (), None, ())


NOT_MET = Finding("expectation", "LOP-13", "not met in time", "run is COMPLETED")
OF_A_CHECKER = Finding("composite_rows", "DEL-01", "policy not kept", "by its parts it is not")


@pytest.mark.parametrize(
    ("first", "judged", "wanted"),
    [
        (None, [("composite_rows", "DEL-01"), (ORACLE, "FAI-01")], {("composite_rows", "DEL-01"), (ORACLE, "FAI-01")}),
        (NOT_MET, [(ORACLE, "LOP-13"), (ORACLE, "FAI-01")], {(ORACLE, "LOP-13")}),
        (NOT_MET, [(ORACLE, "FAI-01"), ("composite_rows", "DEL-01")], {(ORACLE, "FAI-01")}),
        (NOT_MET, [("order", "DEL-01")], set()),
        (OF_A_CHECKER, [("composite_rows", "DEL-01"), (ORACLE, "FAI-01")], {("composite_rows", "DEL-01")}),
        (OF_A_CHECKER, [(ORACLE, "FAI-01")], set()),
    ],
    ids=[
        "of a generated run, all that is wrong",
        "the clause of the file comes first",
        "what only the file expected, the oracle tells",
        "another checker's finding is another failure",
        "what a checker found stays its own",
        "the oracle does not stand in for a checker",
    ],
)
def test_by_what_it_is_known(
    first: Finding | None, judged: list[tuple[str, str]], wanted: set[tuple[str, str]]
) -> None:
    found = _wanted(_judged(*judged), None if first is None else _tried(first))
    assert found == wanted
