"""Every block of code on every page does what the page says, or says why it is shown only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.blocks import Block, Unmarked, blocks, pages
from tests.docs.checks import PageRun


def _cases() -> list[object]:
    cases: list[object] = []
    for page in pages():
        try:
            cases += [pytest.param(block, id=block.place) for block in blocks(page)]
        except Unmarked as error:
            cases.append(pytest.param(error, id=f"{page.name}: unmarked"))
    return cases


@pytest.mark.parametrize("block", _cases())
def test_block(block: Block | Unmarked, page_run: Callable[[Path], PageRun]) -> None:
    """The block runs, loads, validates, or is what is printed."""
    if isinstance(block, Unmarked):
        raise block
    if block.not_run is not None:
        return
    run = page_run(block.page)
    # Asked for alone, a block still wants those before it.
    for earlier in blocks(block.page):
        if earlier.line <= block.line:
            run.check_once(earlier)
