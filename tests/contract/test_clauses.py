"""The list of clauses is well formed, complete and consistent with itself and with the other files."""

from __future__ import annotations

import dataclasses
import re
from importlib.resources import files

import pytest
from ruamel.yaml import YAML

import contract

CLAUSES = contract.clauses()

# What the contract promises, section by section; the eight of section 6 are areas of their own.
AREAS = {
    "1 Topics": {"MSG"},
    "2 Tables (PostgreSQL)": {"TBL"},
    "3 REST": {"API"},
    "4 Workflow format": {"DEF", "REF", "CND", "PAR", "CON", "LOP", "FJN"},
    "5 Agents (HTTP)": {"AGT"},
    "6 Completion": {"CMP"},
    "6 Failure": {"FAI"},
    "6 Cancellation": {"CAN"},
    "6 Resume": {"RES"},
    "6 Delivery": {"DEL"},
    "6 Parallel consumers": {"GRP"},
    "6 Isolation": {"ISO"},
    "6 Observability": {"OBS"},
}


def test_every_section_of_the_contract_has_its_areas() -> None:
    """Each section is covered by exactly the areas named here, and each area has a MUST."""
    found: dict[str, set[str]] = {}
    for clause in CLAUSES:
        found.setdefault(clause.section, set()).add(clause.area)
    assert found == AREAS
    assert {clause.area for clause in CLAUSES if clause.level == "MUST"} == set(contract.areas())


def test_ids_are_unique_well_formed_and_grouped() -> None:
    """An id is its area's prefix and a number of two digits; within an area the numbers count up without a gap."""
    numbers: dict[str, list[int]] = {}
    for clause in CLAUSES:
        assert re.fullmatch(r"[A-Z]{3}-[0-9]{2}", clause.id)
        numbers.setdefault(clause.area, []).append(int(clause.id[4:]))
    assert list(numbers) == list(contract.areas())
    for area, found in numbers.items():
        assert found == list(range(1, len(found) + 1)), area


def test_each_id_stands_once_under_its_area_in_the_file() -> None:
    """No id is written twice, and none under another area's heading (where the reader would take that area's defaults)."""
    text = files("contract").joinpath("clauses.yaml").read_text(encoding="utf-8")
    area = ""
    found = []
    for line in text.splitlines():
        if heading := re.fullmatch(r"  ([A-Z]{3}):", line):
            area = heading[1]
        elif entry := re.fullmatch(r"      (\S+):", line):
            assert entry[1].startswith(f"{area}-")
            found.append(entry[1])
    assert found == [clause.id for clause in CLAUSES]


def test_the_file_has_no_field_that_the_reader_passes_over() -> None:
    """A misspelled field of a clause would silently fall back to its default."""
    document = YAML(typ="safe", pure=True).load(files("contract").joinpath("clauses.yaml").read_text("utf-8"))
    assert set(document) == {"version", "areas"}
    known = {field.name for field in dataclasses.fields(contract.Clause)} - {"id", "decided"}
    for area in document["areas"].values():
        assert set(area) == {"title", "section", "roles", "clauses"}
        for clause_id, entry in area["clauses"].items():
            assert {"title", "text"} <= set(entry) <= known, clause_id


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.id)
def test_a_clause_is_complete(clause: contract.Clause) -> None:
    """Its values are of the allowed ones, its text is whole sentences, and what was decided says why."""
    assert clause.level in ("MUST", "SHOULD")
    assert clause.conformance_level in contract.CONFORMANCE_LEVELS
    assert clause.roles
    assert [role for role in contract.ROLES if role in clause.roles] == list(clause.roles)
    assert 1 <= int(clause.since) <= int(contract.VERSION)
    assert clause.title
    assert not clause.title.endswith(".")
    assert clause.text.endswith(".")
    assert clause.decided is (clause.rationale is not None)
    assert clause.rationale is None or clause.rationale.endswith((".", '"'))


def test_extensions_are_never_demanded() -> None:
    """A clause that opens with "Extension" is a SHOULD, and there are some."""
    extensions = [clause for clause in CLAUSES if clause.text.startswith("Extension.")]
    assert extensions
    assert {clause.level for clause in extensions} == {"SHOULD"}


def test_titles_tell_the_clauses_of_an_area_apart() -> None:
    """No two clauses of an area have one title, and no two clauses one text."""
    assert len({(clause.area, clause.title) for clause in CLAUSES}) == len(CLAUSES)
    assert len({clause.text for clause in CLAUSES}) == len(CLAUSES)


def test_clauses_refer_to_clauses_that_exist() -> None:
    """An id or an area in a text or a rationale is one of the list's."""
    known = {clause.id for clause in CLAUSES}
    for clause in CLAUSES:
        for mentioned in re.findall(r"\b[A-Z]{3}-[0-9]{2}\b", f"{clause.text} {clause.rationale}"):
            assert mentioned in known - {clause.id}, clause.id


def test_each_conformance_level_demands_something() -> None:
    """A level without a MUST of its own could not be told from the one below it."""
    assert {clause.conformance_level for clause in CLAUSES if clause.level == "MUST"} == set(
        contract.CONFORMANCE_LEVELS
    )


def test_each_role_is_bound() -> None:
    """A role that no MUST binds could be played by anything."""
    assert {role for clause in CLAUSES if clause.level == "MUST" for role in clause.roles} == set(contract.ROLES)


def test_the_topics_of_the_clauses_are_those_of_asyncapi() -> None:
    """MSG-01 names the addresses of the channels and no others."""
    named = re.findall(r"\b(?:workflow|orchestrator|results)\.[a-z.]*[a-z]\b", CLAUSES[0].text)
    assert CLAUSES[0].id == "MSG-01"
    assert sorted(named) == sorted(channel["address"] for channel in contract.asyncapi()["channels"].values())


def test_a_clause_cannot_be_changed() -> None:
    """Readers share the clauses, so none may write to them."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        CLAUSES[0].text = "anything"  # type: ignore[misc]
