"""The engine and the harness' oracle, which share nothing, say the same of generated cases."""

from __future__ import annotations

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from harness.generation import Case, cases
from harness.generation.timelines import ON_A_RUN, Disorder
from harness.oracle import Allowed, Undecided, differences
from harness.oracle.wildcards import fits
from tests.engine.driving import Driven

WORDS = tuple(word for word in ON_A_RUN if word != "early_cancel")


@given(cases(disorder=Disorder(WORDS, one_in=2)), st.integers(0, 2**32), st.sampled_from([0, 1, 3]))
def test_what_the_engine_does_is_allowed(case: Case, seed: int, deaths: int) -> None:
    """Whatever is done to a run, in whatever order results come, and however often it is read back from its rows."""
    try:
        allowed = case.allowed()
    except Undecided:
        return
    driven = Driven(case, seed, deaths)
    observed = driven.carry_out()
    found = differences(allowed, observed)
    note(case.key)
    assert found == []
    if not allowed.earlier and not allowed.is_cut:
        _agree_on_every_place(allowed, driven)


def _agree_on_every_place(allowed: Allowed, driven: Driven) -> None:
    records = driven.paths()
    for path, one in allowed.final.executions.items():
        record = records.pop(path, None)
        if record is None:
            assert one.may_be_absent, path
            continue
        assert record.status in one.statuses, path
        assert record.status != "COMPLETED" or fits(one.output, record.output_data), path
        assert not one.is_asked or fits(one.input, record.input_data), path
    assert not records


def test_few_cases_are_undecided() -> None:
    """The oracle speaks about nearly all that is generated: a claim of nothing would agree with everything."""
    counts = {"undecided": 0, "decided": 0}

    @given(cases())
    def count(case: Case) -> None:
        try:
            case.allowed()
        except Undecided:
            counts["undecided"] += 1
        else:
            counts["decided"] += 1

    count()
    assert counts["undecided"] * 20 <= counts["decided"], counts
    with pytest.raises(Undecided):
        Case({"start_step": "a", "steps": {}}, {}, {}).allowed()
