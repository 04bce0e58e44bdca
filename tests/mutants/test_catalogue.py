"""The catalogue is well formed, and every patch in it fits the reference as it is."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import contract
from tests.mutants.catalogue import IMPOSTORS, MUTANTS, VARIANTS, entry
from tests.mutants.mutant import Mutant, Variant
from tests.mutants.patching import Edit, Patch, PatchError, Sql, Wrap, applied
from tests.mutants.subjects import ROOT

CLAUSES = {clause.id: clause for clause in contract.clauses()}
ROLE_OF = {"api": "api", "consumer": "executor", "bridge": "bridge"}
ALL: tuple[Mutant | Variant, ...] = (*MUTANTS, *VARIANTS)


@pytest.fixture(scope="module", autouse=True)
def _services() -> None:
    for role in ROLE_OF:
        importlib.import_module(f"system.{role}.service")


def test_there_are_enough_mutants_impostors_and_variants() -> None:
    assert len(MUTANTS) >= 40
    assert len(IMPOSTORS) >= 4
    assert len(VARIANTS) >= 2


def test_names_are_unique_and_can_name_a_subject() -> None:
    names = [one.name for one in ALL] + list(IMPOSTORS)
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert [
        name for name in names if not name.replace("-", "").isalnum() or name != name.lower() or len(name) > 60
    ] == []


def test_every_area_of_the_contract_has_a_mutant() -> None:
    assert {mutant.clause.partition("-")[0] for mutant in MUTANTS} == set(contract.areas())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_says_what_is_wrong_and_which_clause_names_it(mutant: Mutant) -> None:
    assert mutant.wrong.endswith(".")
    assert [clause for clause in (mutant.clause, *mutant.also) if clause not in CLAUSES] == []
    assert mutant.clause not in mutant.also
    bound = CLAUSES[mutant.clause].roles
    assert any(ROLE_OF[role] in bound for role in mutant.roles), f"{mutant.clause} binds {bound}"


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_patch_fits_and_leaves_no_trace(one: Mutant | Variant) -> None:
    with applied(one.patches) as changes:
        assert len(changes) >= len(one.patches) > 0
        assert all(change.new is not change.old for change in changes)
        # Of several changes of one thing the last one stands.
        last = {(id(change.owner), change.name): change for change in changes}
        assert all(vars(change.owner)[change.name] is change.new for change in last.values())
    first = {(id(change.owner), change.name): change for change in reversed(changes)}
    assert all(vars(change.owner).get(change.name) is change.old for change in first.values())


_KEEP = "system.consumer.executor:Executor._keep"


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        (Edit("system.consumer.executor:Executor._gone", "a", "b"), "there is no such thing"),
        (Edit("system.consumer.gone:x", "a", "b"), "there is no such thing"),
        (Edit(_KEEP, "what is not there", "b"), "found it 0 times"),
        (Edit(_KEEP, "state", "b"), "exactly once, found it"),
        (Edit("system.consumer.store:_WRITE", "a", "b"), "expected a function"),
        (Sql(_KEEP, "a", "b"), "expected an SQL text"),
        (Sql("system.consumer.store:_WRITE", "what is not there", "b"), "found it 0 times"),
        (Wrap(_KEEP, lambda _: lambda only: only), "its replacement takes"),
        (Wrap(_KEEP, lambda old: old), "replaced by itself"),
    ],
)
def test_a_patch_whose_target_is_not_as_it_was_is_refused(patch: Patch, told: str) -> None:
    with pytest.raises(PatchError, match=told), applied((patch,)):
        pass


def test_two_edits_of_one_function_both_take() -> None:
    target = "system.engine.values:kind_of"
    with applied((Edit(target, '"an object with', '"a thing with'), Edit(target, '"a list of', '"a row of'))):
        from system.engine import values

        assert values.kind_of({"a": 1}).startswith("a thing")
        assert values.kind_of([1]) == "a row of 1"
    assert values.kind_of([1]) == "a list of 1"


def test_an_edit_reaches_modules_that_imported_the_function_by_name() -> None:
    conditions: Any = importlib.import_module("system.engine.conditions")
    values: Any = importlib.import_module("system.engine.values")

    with applied((Edit("system.engine.values:is_number", "return ", "return not "),)):
        assert conditions.is_number is values.is_number
        assert not conditions.is_number(1)
    assert conditions.is_number(1)


def _run(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.mutants", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_mutant_in_a_role_that_it_does_not_live_in_is_refused() -> None:
    ended = _run("majority-as-half", "bridge")
    assert ended.returncode == 1
    assert "lives in consumer" in ended.stderr


def test_an_unknown_mutant_is_refused() -> None:
    ended = _run("no-such-mutant", "consumer")
    assert ended.returncode == 1
    assert "no mutant or variant is called" in ended.stderr


def test_a_mutant_whose_target_is_gone_ends_its_process_with_3(tmp_path: Path) -> None:
    """It must never be the reference in silence: not even the settings are read."""
    program = (
        "import sys, tests.mutants.__main__ as m, tests.mutants.patching as p, dataclasses as d\n"
        "one = m.entry('majority-as-half')\n"
        "m.entry = lambda _: d.replace(one, patches=(p.Edit('system.engine.loading:gone', 'a', 'b'),))\n"
        "m.main(['majority-as-half', 'consumer'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 3
    assert "cannot be made" in ended.stderr
    assert "Starting" not in ended.stderr + ended.stdout


def test_entry_finds_every_name() -> None:
    assert [entry(one.name) for one in ALL] == list(ALL)
