"""What a binding does to messages and rows of a subject with names of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.subject import Binding, MistakesFound, Subject

SUBJECT = Path(__file__).parent / "sequential" / "subject.yaml"


def test_a_raw_message_gets_the_subject_s_fields_and_keeps_every_character() -> None:
    binding = Binding(fields={"results": {"output_data": "output"}})
    raw = b'{"output_data": {"t": "a\\u0000\\ud800", "output_data": 1}, "x": 1.50}'
    found = binding.raw_to_subject("results", raw)
    assert found is not None
    assert json.loads(found) == {"output": {"t": "a\0\ud800", "output_data": 1}, "x": 1.5}
    found.decode("ascii")


@pytest.mark.parametrize("raw", [None, b"", b"not JSON", b"[1]", b"\xff", b'{"n": 1}  '])
def test_what_has_no_names_to_change_goes_out_byte_for_byte(raw: bytes | None) -> None:
    assert Binding().raw_to_subject("results", raw) == raw
    if raw is None or not raw.startswith(b"{"):
        assert Binding(fields={"results": {"a": "b"}}).raw_to_subject("results", raw) == raw


def test_rows_of_its_own_can_be_written_when_the_file_says_how() -> None:
    binding = Subject.load(SUBJECT).description.binding
    assert binding.has_own_rows
    assert binding.can_write_runs
    assert not Binding(runs_sql="SELECT 1").can_write_runs


def test_a_write_that_names_no_run_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "subject.yaml"
    path.write_text(SUBJECT.read_text().replace("working_directory: build", "").replace(
        "WHERE job_id = %(run_id)s AND state IN ('BROKEN'", "WHERE state IN ('BROKEN'"))  # fmt: skip
    with pytest.raises(MistakesFound, match=r"run_id.*UPDATE jobs SET state = 'NEW'"):
        Subject.load(path)
