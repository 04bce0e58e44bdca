"""Where a subject stands, from the outcomes alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import contract
from harness.runner import records
from harness.runner.standing import is_green, level_reached, standings
from harness.verdict import Finding, Outcome, Verdict

ALL_ROLES = ("api", "consumer", "bridge")


def _outcome(name: str, clauses: tuple[str, ...], verdict: Verdict = "passed", reason: str | None = None) -> Outcome:
    return Outcome(name, "A guarantee.", clauses, "s", verdict, reason, (), 0.1, None, 0)


def _standing(outcomes: list[Outcome], clause: str, roles: tuple[str, ...] = ALL_ROLES) -> str:
    return next(one.standing for one in standings(outcomes, roles) if one.clause.id == clause)


def _one_for_each(**verdicts: Verdict) -> list[Outcome]:
    return [
        _outcome(f"x/{clause.id}", (clause.id,), verdicts.get(clause.id.replace("-", "_"), "passed"))
        for clause in contract.clauses()
    ]


def test_a_clause_is_as_bad_as_the_worst_that_binds_it() -> None:
    passed, failed = _outcome("a", ("CMP-01",)), _outcome("b", ("CMP-01",), "failed")
    unknown = _outcome("c", ("CMP-01",), "unknown")
    assert _standing([passed], "CMP-01") == "passed"
    assert _standing([passed, unknown], "CMP-01") == "unknown"
    assert _standing([passed, unknown, failed], "CMP-01") == "failed"
    assert _standing([passed], "CMP-02") == "untested"


def test_a_finding_breaks_the_clause_that_it_names_in_whatever_scenario() -> None:
    finding = Finding("c", "TBL-03", "moved", "It moved.")
    outcomes = [_outcome("a", ("TBL-03",)), replace(_outcome("b", ("CMP-01",), "failed"), findings=(finding,))]
    assert _standing(outcomes, "TBL-03") == "failed"


def test_a_clause_of_other_roles_does_not_bind() -> None:
    assert _standing([], "AGT-01", ("consumer",)) == "not bound"
    lacking = _outcome("a", ("API-07",), "not supported", "s does not claim the role api")
    assert _standing([lacking], "API-07", ("consumer",)) == "not bound"
    unclaimed = _outcome("a", ("LOP-01",), "not supported", "s does not claim the step type loop")
    assert _standing([unclaimed], "LOP-01", ("consumer",)) == "not supported"


def test_a_level_needs_every_must_up_to_it() -> None:
    assert level_reached(standings(_one_for_each(), ALL_ROLES)) == 4
    assert level_reached(standings(_one_for_each(GRP_05="failed"), ALL_ROLES)) == 2
    assert level_reached(standings(_one_for_each(CMP_01="unknown"), ALL_ROLES)) == 0
    assert level_reached(standings(_one_for_each(MSG_08="failed"), ALL_ROLES)) == 4, "MSG-08 is a SHOULD"
    assert level_reached(standings([], ALL_ROLES)) == 0


def test_green_is_passed_or_failed_as_known() -> None:
    known = replace(_outcome("a", ("CMP-01",), "failed"), known_failure="it is known")
    assert is_green([_outcome("a", ("CMP-01",)), _outcome("b", ("CMP-01",), "not supported"), known])
    assert not is_green([replace(known, verdict="passed")])
    assert not is_green([replace(known, verdict="unknown")])
    assert not is_green([_outcome("a", ("CMP-01",), "unknown")])


def test_outcomes_survive_their_file(tmp_path: Path) -> None:
    finding = Finding("c", "TBL-03", "moved", "It moved to \u2028 and \ud800.", (1, 2), "run-1")
    outcome = replace(
        _outcome("a", ("CMP-01",), "failed", "it moved"),
        findings=(finding,),
        history=tmp_path / "h.jsonl",
        scenario_file=Path("scenarios/a.yaml"),
        known_failure="known",
    )
    path = tmp_path / "outcomes.jsonl"
    records.write_lines([outcome, _outcome("b", ())], path)
    assert records.read_lines(path) == [outcome, _outcome("b", ())]
