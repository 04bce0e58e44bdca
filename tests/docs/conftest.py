"""One running system for all pages, started by the first block that wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.stack.ports import HeldPort
from tests.docs.checks import PageRun
from tests.docs.live import Up


@pytest.fixture(scope="session")
def live() -> Iterator[Callable[[], Up]]:
    """Gives the running system; nothing is started before it is called."""
    started: list[Up] = []

    def get() -> Up:
        if not started:
            held = HeldPort("the API", None)
            held.close()
            started.append(Up(held.port))
        return started[0]

    yield get
    for one in started:
        one.end()


@pytest.fixture(scope="session")
def page_run(live: Callable[[], Up], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], PageRun]]:
    """Gives the run of a page, the same one for all of its blocks."""
    runs: dict[Path, PageRun] = {}
    folder = tmp_path_factory.mktemp("pages")

    def get(page: Path) -> PageRun:
        return runs.setdefault(page, PageRun(page.stem, folder, live))

    yield get
    for run in runs.values():
        run.end()
