"""docs/clauses.md is the list of clauses."""

from __future__ import annotations

import contract
from tests.docs.clauses import PAGE, told


def test_the_page_is_that_of_the_list() -> None:
    """Otherwise: python -m tests.docs.clauses."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == told()
    assert sum(
        line.startswith(f"| {clause.id} |") for clause in contract.clauses() for line in text.splitlines()
    ) == len(contract.clauses())
