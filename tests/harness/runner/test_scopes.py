"""What is seen goes to the scenario that it belongs to, and to no other."""

from __future__ import annotations

import pytest

from harness.history import HistoryWriter
from harness.observer import Scopes
from harness.observer.parsing import loads
from harness.observer.poller import _Polled, _write_changes
from harness.observer.rows import Rows
from harness.observer.scopes import Orphan


@pytest.fixture
def scopes() -> Scopes:
    return Scopes()


def test_what_is_seen_of_a_run_before_anybody_owns_it_comes_after_its_run_event(scopes: Scopes) -> None:
    heard: list[int] = []
    for number in range(3):
        orphan = Orphan("kafka", "message", "run-1", {"offset": number}, lambda _, event: heard.append(event.seq))
        scopes.keep_orphan(orphan)
    scopes.keep_orphan(Orphan("kafka", "message", "run-2", {"offset": 9}, None))
    scope = scopes.open(HistoryWriter(None))
    scopes.add_run(scope, "run-1", "r", plan={})
    events = scope.writer.history().events
    assert [(event.kind, event["offset"]) for event in events] == [
        ("run", None),
        ("message", 0),
        ("message", 1),
        ("message", 2),
    ]
    assert heard == [1, 2, 3]
    scopes.add_run(scope, "run-1", "r")
    assert len(scope.writer.history()) == 4


def test_a_message_belongs_to_its_run_before_it_belongs_to_whoever_published_it(scopes: Scopes) -> None:
    one, other = scopes.open(HistoryWriter(None)), scopes.open(HistoryWriter(None))
    scopes.add_run(one, "run-1", "r")
    scopes.add_publication(other, "nonce", "topic", b"raw")
    assert scopes.of_message("run-1", "nonce", b"raw") is one
    assert scopes.of_message("run-9", "nonce", b"raw") is other
    assert scopes.of_message(None, None, b"raw") is other, "as a dead letter, that carries the value alone"
    assert scopes.of_message(None, None, b"other") is None


def test_a_nonce_is_the_harness_s_on_its_own_topic_alone(scopes: Scopes) -> None:
    scope = scopes.open(HistoryWriter(None))
    scopes.add_publication(scope, "nonce", "topic", None)
    assert scopes.is_ours("nonce", "topic")
    assert not scopes.is_ours("nonce", "topic.dlq"), "whoever sets a message aside may copy its headers"
    assert not scopes.is_ours(None, "topic")


def test_a_closed_scope_owns_nothing(scopes: Scopes) -> None:
    scope = scopes.open(HistoryWriter(None))
    scopes.add_run(scope, "run-1", "r")
    scopes.add_agent(scope, "w-1", "w")
    scopes.add_publication(scope, "nonce", "topic", b"raw")
    scopes.close(scope)
    assert scopes.of_message("run-1", "nonce", b"raw") is None
    assert scopes.of_agent("w-1") is None
    assert scopes.open_scopes() == []


def test_a_call_is_of_the_run_whose_task_it_carries(scopes: Scopes) -> None:
    scope = scopes.open(HistoryWriter(None))
    scopes.add_run(scope, "run-1", "r")
    assert scopes.run_of_task("unseen", scope) == "run-1", "there is no other"
    scopes.add_run(scope, "run-2", "s")
    scopes.note_task("t", "run-2")
    assert scopes.run_of_task("t", scope) == "run-2"
    assert scopes.run_of_task("unseen", scope) is None


def test_rows_are_written_when_they_change_and_judged_after_the_last_of_a_reading(scopes: Scopes) -> None:
    scope = scopes.open(HistoryWriter(None))
    reading: list[bool] = []
    scope.writer.listen(lambda _: reading.append(scope.is_reading))
    polled = _Polled()
    first = Rows({"status": "RUNNING"}, [{"id": 1, "step_id": "a", "status": "RUNNING"}])
    assert _write_changes(scope, "run-1", polled, first) is True
    assert _write_changes(scope, "run-1", polled, first) is False
    assert _write_changes(scope, "run-1", polled, Rows(None, [])) is True
    events = [(event.kind, event["row"] and event["row"]["status"]) for event in scope.writer.history()]
    assert events == [("run_row", "RUNNING"), ("step_row", "RUNNING"), ("run_row", None), ("step_row", None)]
    assert reading == [True, False, True, False]


@pytest.mark.parametrize("text", ["1e300", "1" + "0" * 300, "-1.7976931348623157e+308"])
def test_large_numbers_look_alike_however_they_are_written(text: str) -> None:
    assert loads(text) == float(text)
    assert isinstance(loads(text), float)


def test_whole_numbers_of_common_size_stay_exact() -> None:
    assert loads("[9007199254740993, -1, 0]") == [9007199254740993, -1, 0]
