"""Choosing scenarios and judging what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pytest

from tests.mutants import session, table
from tests.mutants.catalogue import IMPOSTORS, MUTANTS, VARIANTS
from tests.mutants.choice import in_order, unbound
from tests.mutants.mutant import Mutant
from tests.mutants.tally import Exposure, Fate, Judged, Tally, suspects_among


@dataclass(frozen=True)
class Stand:
    id: str
    clauses: tuple[str, ...]
    alone: bool = False
    draws: Mapping[str, Any] = field(default_factory=dict)


MUTANT = Mutant("m", "Wrong.", "LOP-04", ("consumer",), (), also=("RES-02",), scenarios=("x/named",))


def test_scenarios_of_the_clause_come_first_and_strangers_not_at_all() -> None:
    stands = [
        Stand("api/one", ("API-01",)),
        Stand("kin/one", ("PAR-01",)),
        Stand("area/one", ("LOP-01",)),
        Stand("also/one", ("RES-02",)),
        Stand("x/named[variant]", ("DEL-01",)),
        Stand("own/wide", ("LOP-04", "LOP-05", "LOP-06")),
        Stand("own/drawn", ("LOP-04",), draws={"x": {"text": {}}}),
        Stand("own/alone", ("LOP-04",), alone=True),
        Stand("own/quick", ("LOP-04",)),
    ]
    ordered = [stand.id for stand in in_order(MUTANT, stands)]
    assert ordered == [
        "own/quick",
        "own/drawn",
        "own/alone",
        "own/wide",
        "x/named[variant]",
        "also/one",
        "area/one",
        "kin/one",
    ]


def test_a_mutant_whose_clause_nobody_binds_is_told_of() -> None:
    assert unbound([MUTANT], [Stand("a", ("LOP-01",))]) == [MUTANT]
    assert unbound([MUTANT], [Stand("a", ("LOP-04",))]) == []


def _judged(scenario: str, clause: str, verdict: str, *broken: str) -> Judged:
    return Judged(scenario, (clause,), broken, verdict, "because", 0.1)


def _fate(killer: Judged | None) -> Fate:
    return Fate("m", "LOP-04", "Wrong.", ("consumer",), killer, (killer,) if killer else (), 1.0)


def test_a_mutant_is_killed_by_its_clause_when_the_scenario_binds_it_or_a_finding_names_it() -> None:
    assert _fate(_judged("a", "LOP-04", "failed")).by_its_clause
    assert _fate(_judged("a", "CMP-01", "failed", "LOP-04")).by_its_clause
    assert not _fate(_judged("a", "CMP-01", "failed", "CMP-02")).by_its_clause
    assert not _fate(None).by_its_clause


def test_a_survivor_and_too_few_kills_by_clause_are_shortcomings() -> None:
    good, other = _fate(_judged("a", "LOP-04", "failed")), _fate(_judged("a", "CMP-01", "failed"))
    assert Tally((good,) * 9 + (other,)).shortcomings() == []
    assert any("80%" in told for told in Tally((good,) * 8 + (other,) * 2).shortcomings())
    assert any("survives" in told for told in Tally((*((good,) * 19), _fate(None))).shortcomings())


def test_what_the_reference_fails_too_kills_nobody() -> None:
    suspects = suspects_among([_judged("a", "LOP-04", "unknown"), _judged("b", "LOP-04", "passed")])
    assert suspects == {"a"}
    killed = _fate(_judged("a", "LOP-04", "failed"))
    assert not killed.without(suspects).is_killed
    assert killed.without(frozenset({"b"})).is_killed
    assert any("reference does not pass" in told for told in Tally(suspects=suspects).shortcomings())


def test_an_impostor_must_fail_more_than_95_of_100_clauses() -> None:
    judged = [_judged(f"s{n}", f"C-{n}", "failed") for n in range(96)] + [
        _judged(f"s{n}", f"C-{n}", "passed") for n in range(96, 100)
    ]
    judged.append(_judged("other", "C-200", "not supported"))
    impostor = Exposure("i", "Does nothing.", tuple(judged), 1.0)
    assert len(impostor.claimed) == 100
    assert Tally(impostors=(impostor,)).shortcomings() == []
    worse = replace(impostor, judged=(*judged[1:], _judged("s0", "C-0", "passed")))
    assert len(Tally(impostors=(worse,)).shortcomings()) == 1


def test_an_unknown_verdict_says_nothing_for_an_impostor_and_is_an_alarm_for_a_variant() -> None:
    unknown = Exposure("v", "Odd.", (_judged("a", "C-1", "unknown"), _judged("b", "C-2", "passed")), 1.0)
    assert unknown.claimed == {"C-2"}
    assert [alarm.scenario for alarm in unknown.alarms] == ["a"]
    assert len(Tally(variants=(unknown,)).shortcomings()) == 1


def test_a_variant_that_nobody_judged_is_no_success() -> None:
    assert Tally(variants=(Exposure("v", "Odd.", (), 1.0),)).shortcomings() != []


def test_the_page_names_every_mutant_with_its_killer(tmp_path: Path) -> None:
    tally = Tally(
        (_fate(_judged("area/name", "LOP-04", "failed", "CMP-01")), _fate(None)), (Exposure("i", "a|b", (), 1.0),)
    )
    table.write_page(tally, tmp_path / "mutants.md")
    page = (tmp_path / "mutants.md").read_text()
    assert "| `m` | consumer | Wrong. | LOP-04 | area/name | CMP-01, LOP-04 |" in page
    assert "| `m` | consumer | Wrong. | LOP-04 | survives |  |" in page
    assert "a\\|b" in page


def test_a_choice_is_all_or_what_was_asked_for() -> None:
    everything = session.chosen((), None, session.KINDS, 0)
    assert len(everything) == len(MUTANTS) + len(IMPOSTORS) + len(VARIANTS)
    assert session.chosen(("never-answers",), None, session.KINDS, 0) == ["never-answers"]
    assert len(session.chosen((), 5, ("mutants",), 1)) == 5
    assert session.chosen((), 5, ("mutants",), 1) == session.chosen((), 5, ("mutants",), 1)
    with pytest.raises(click.ClickException, match="nothing is called"):
        session.chosen(("nobody",), None, session.KINDS, 0)
