"""A bridge alone and an API alone: the harness executes the runs, and judges nothing but them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.subjects.conftest import Checked

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("subject", "kept", "foreign"),
    [
        ("bridge_alone", ("AGT-01", "AGT-05", "AGT-12", "AGT-18", "MSG-16", "DEL-08"), ("CMP-08", "API-11")),
        ("api_alone", ("API-11", "API-15", "MSG-10", "MSG-11", "RES-13"), ("CMP-08", "AGT-01")),
    ],
)
def test_its_clauses_get_a_verdict_though_it_has_no_executor(
    subject: str, kept: tuple[str, ...], foreign: tuple[str, ...], checked: Callable[[Path, Iterable[str]], Checked]
) -> None:
    done = checked(HERE / f"{subject}.yaml", (*kept, *foreign))
    assert done.of(kept) == dict.fromkeys(kept, "passed"), done.printed
    assert done.of(foreign) == dict.fromkeys(foreign, "not bound"), done.printed
    assert done.exit_code == 0, done.printed
