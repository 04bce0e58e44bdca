"""Which mutants cells of the fault grid are tried on, in which order, and the page of what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from harness.faults.grid.cells import Cell, cells_of
from harness.faults.points import Fault, Point
from tests.mutants.catalogue import MUTANTS
from tests.mutants.celled import Celled, page_of, summary, workflow
from tests.mutants.families import FAMILIES, families_of, in_order, of_families, repeated, times_of, workflows_of
from tests.mutants.one_by_one import chosen, try_each

POINTS = [
    Point(role, boundary, nth)
    for role in ("consumer", "bridge")
    for boundary in ("produce", "commit", "heartbeat")
    for nth in (1, 2)
]
SHOWN = Celled(
    "fencing-removed", ["fencing"], "GRP-05", 3, 12.4, "cancel", "consumer commit 1", "freeze_before", "GRP-05"
)
MISSED = Celled("outbox-never-swept", ["publication"], "API-14", 40, 120.0)
PLAIN = Celled("failures-not-told", ["publication"], "OBS-01", 0, 4.0, "retry", broken="OBS-01")


def _mutant(name: str) -> Any:
    return next(mutant for mutant in MUTANTS if mutant.name == name)


def test_mutants_of_every_family_are_tried() -> None:
    """Those whose clause, or one that they break as well, is of the family; no others."""
    belonging = of_families(MUTANTS)
    for family in FAMILIES:
        assert any(family.has(mutant) for mutant in belonging.values()), family.name
    assert "no-backoff" not in belonging
    assert [family.name for family in families_of(belonging["cancellation-known-to-one-process"])] == [
        "fencing", "cancellation",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted({name for mutant in MUTANTS for name in workflows_of(mutant)}))
def test_the_workflows_can_be_made_a_grid_of(name: str) -> None:
    """Each is a scenario without a fault that stands alone, and judges what the mutant breaks."""
    mutant = _mutant("new-key-for-each-try")
    base = workflow(name, mutant)
    assert base.name == name
    assert mutant.clause in base.data["clauses"]


def test_the_likeliest_cells_come_first() -> None:
    """A zombie's, where the mutant lives and writes, for one whose fencing is gone; every cell comes, in an order of its seed."""
    mutant = _mutant("fencing-removed")
    cells = cells_of("sequential", POINTS)
    ordered = in_order(mutant, cells, 1)
    assert sorted(ordered, key=str) == sorted(cells, key=str)
    first: Cell = ordered[0]
    assert first.fault.at.role == "consumer"
    assert first.fault.at.boundary in ("produce", "commit")
    assert ordered[-1].fault.at.boundary == "heartbeat"
    assert in_order(mutant, cells, 1) == ordered != in_order(mutant, cells, 2)


def test_what_shows_only_when_it_is_refused_again_and_again_is_refused_so_often() -> None:
    """At every next commit; what has nothing to do with that is refused once."""
    mutant = _mutant("hindered-messages-set-aside")
    cell = Cell("sequential", Fault(Point("consumer", "commit", 2), "deadlock"))
    times = times_of(mutant, cell)
    trial = repeated(workflow("sequential", mutant), cell, times).trial(cell.fault)
    armed = [Fault.read(act["fault"]) for act in trial["timeline"] if "fault" in act]
    assert sorted(fault.at.nth for fault in armed) == list(range(2, 2 + times))
    assert {(fault.do, fault.at.boundary) for fault in armed} == {("deadlock", "commit")}
    assert times_of(_mutant("fencing-removed"), cell) == 1


def test_the_page_names_the_point_that_shows_a_mutant_and_those_that_none_shows() -> None:
    """What needs no fault is told apart."""
    page = page_of([SHOWN, PLAIN, MISSED], 2)
    assert "| cancel | consumer commit 1 | `freeze_before` | GRP-05 | 3 | 12 |" in page
    assert "| retry | without a fault |  | OBS-01 | 0 | 4 |" in page
    assert "| not shown |" in page
    assert summary([SHOWN, PLAIN, MISSED]).endswith("1 are not shown: `outbox-never-swept`.")


def test_a_session_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """What is known stays, what was trouble is tried again, and a line that was only begun does no harm."""
    record = tmp_path / "session" / "celled.jsonl"
    tried: list[str] = []

    def attempt(name: str) -> Celled:
        tried.append(name)
        return Celled(name, [], "CAN-01", trouble="no stack" if name == "b" and tried.count("b") == 1 else None)

    def go_on(*, resume: bool, most: int | None = None) -> list[str]:
        found = try_each(["a", "b", "c"], record, Celled, attempt, repr, resume=resume, most=most)
        return [one.mutant for one in found]

    assert go_on(resume=False, most=2) == ["a", "b"]
    with record.open("a", encoding="utf-8") as file:
        file.write('{"mutant": "c", "fam')
    assert go_on(resume=True) == ["a", "b", "c"]
    assert tried == ["a", "b", "b", "c"]
    assert [json.loads(line)["mutant"] for line in record.read_text(encoding="utf-8").splitlines()] == tried


def test_a_mutant_of_no_family_is_refused_by_name() -> None:
    """The refusal lists those that there are."""
    with pytest.raises(click.ClickException, match="no such mutant: no-backoff; they are"):
        chosen(of_families(MUTANTS).values(), ["no-backoff"])
