"""Mutants between messages and rows really differ from the reference; on a real PostgreSQL."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from tests.mutants import witness_loop
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.patching import applied
from tests.mutants.test_differences import NEEDS_ROWS

pytestmark = pytest.mark.xdist_group("mutants-on-rows")


@pytest.fixture(scope="module")
def rows(empty_database: Callable[[], str]) -> tuple[str, Engine]:
    importlib.import_module("system.consumer.service")
    url = empty_database()
    return url, witness_loop.prepare(url)


@pytest.fixture(scope="module")
def reference(rows: tuple[str, Engine]) -> dict[str, str]:
    return witness_loop.transcript(*rows)


def test_the_reference_does_the_same_each_time(rows: tuple[str, Engine], reference: dict[str, str]) -> None:
    """Otherwise every mutant would differ."""
    assert witness_loop.transcript(*rows) == reference


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in NEEDS_ROWS], ids=lambda mutant: mutant.name)
def test_a_mutant_does_something_else(mutant: Mutant, rows: tuple[str, Engine], reference: dict[str, str]) -> None:
    with applied(mutant.patches):
        assert witness_loop.transcript(*rows) != reference
