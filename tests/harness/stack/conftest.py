"""One embedded stack for all tests here that do not end it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.stack import EmbeddedStack


@pytest.fixture(scope="package")
def stack() -> Iterator[EmbeddedStack]:
    """A stack that serves; a test may kill, stop and pause its parts, and leaves both serving."""
    with EmbeddedStack() as started:
        yield started
