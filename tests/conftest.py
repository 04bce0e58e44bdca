"""What tests of several parts share: one embedded stack for each worker, started by the first test that wants it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

with warnings.catch_warnings():
    # kafka-python reads its own resources in a way that Python 3.11 to 3.12 call deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from harness.stack import EmbeddedStack


@pytest.fixture(scope="session")
def stack() -> Iterator[EmbeddedStack]:
    """A stack that serves; a test may restart its parts, and leaves both serving."""
    with EmbeddedStack() as started:
        yield started
