"""An executor that is nothing but a consumer, in Java, with names of its own: what it breaks is told from what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tests.subjects.conftest import Checked

KEPT = (
    "MSG-03", "MSG-12", "MSG-13", "DEF-15", "REF-08", "CMP-05", "CMP-13", "CMP-14", "FAI-03", "FAI-07",
    "RES-11", "DEL-05", "ISO-04", "TBL-03", "OBS-03",
)  # fmt: skip
BROKEN = {
    "REF-06": "a step's id is read up to the last .output of a reference, not to the first",
    "REF-19": "plans are not searched for references to steps that do not exist",
    "CAN-05": "a cancellation of a run that is not known is forgotten",
    "RES-06": "a retry knows nothing of resume_from_step",
    "DEL-10": "messages are not held to their schema: a result of any other status counts as a failure",
    "DEL-11": "a request with a run_id that is none makes a row",
}
"""Clause → what is wrong in the executor, found by reading its source."""

LACKING = ("CON-03", "LOP-15", "PAR-02", "FJN-05", "DEL-12")
FOREIGN = ("AGT-01", "API-01")


def test_what_it_keeps_what_it_breaks_and_what_it_lacks_are_told_apart(
    sequential: Path, checked: Callable[[Path, Iterable[str]], Checked]
) -> None:
    done = checked(sequential, (*KEPT, *BROKEN, *LACKING, *FOREIGN))
    assert done.of(KEPT) == dict.fromkeys(KEPT, "passed"), done.printed
    assert done.of(BROKEN) == dict.fromkeys(BROKEN, "failed"), done.printed
    assert done.of(LACKING) == dict.fromkeys(LACKING, "not supported")
    assert done.of(FOREIGN) == dict.fromkeys(FOREIGN, "not bound")
    assert "unknown" not in done.standings.values(), done.printed
    assert done.exit_code == 1


def test_no_other_clause_is_said_to_be_broken(
    sequential: Path, checked: Callable[[Path, Iterable[str]], Checked]
) -> None:
    """A retry from a step that goes on elsewhere is a breach of that one promise, and of nothing beside it."""
    done = checked(sequential, ["RES-06"])
    assert [clause for clause, standing in done.standings.items() if standing == "failed"] == ["RES-06"], done.printed
