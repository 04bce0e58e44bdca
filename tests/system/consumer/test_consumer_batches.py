"""What a batch may hold: requests and cancellations in every order, values that nobody can store, poison, timers."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from system.outbox import OutboxError

if TYPE_CHECKING:
    from tests.system.consumer.conftest import Bench

LONG_NUMBER = int("1234567890" * 7)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "apart"])
@pytest.mark.parametrize("order", ["request first", "cancellation first", "cancellation twice", "around"])
def test_a_cancellation_wins_over_its_request_in_any_order(
    bench: Bench, say: SimpleNamespace, order: str, together: bool
) -> None:
    member = bench.member()
    run_id = say.new_run_id()
    request, cancellation = (say.REQUESTS, say.request(run_id)), (say.CANCELLATIONS, say.cancellation(run_id))
    second = (say.CANCELLATIONS, say.cancellation(run_id, cancelled_by="bob"))
    messages = {
        "request first": [request, cancellation],
        "cancellation first": [cancellation, request],
        "cancellation twice": [cancellation, second, request],
        "around": [cancellation, request, second],
    }[order]
    for batch in [messages] if together else [[message] for message in messages]:
        member.take(*batch)
    row = bench.rows.run(run_id)
    assert (row["status"], row["cancelled_by"], row["completed_at"]) == ("CANCELLED", "ada", None)
    assert row["cancelled_at"] >= row["created_at"]
    # Only a request that came first, in a batch of its own, has asked an agent before it was cancelled.
    assert len(member.tasks(run_id)) == (1 if order == "request first" and not together else 0)
    assert member.updates(run_id)[-1] == (run_id, "CANCELLED")
    assert all(status == "CANCELLED" for _, status in bench.rows.steps(run_id))


def test_a_cancellation_that_another_member_kept_meets_the_run_here(bench: Bench, say: SimpleNamespace) -> None:
    first, second = bench.member(), bench.member()
    run_id = say.new_run_id()
    first.take((say.CANCELLATIONS, say.cancellation(run_id, cancelled_by="grace")))
    second.take((say.REQUESTS, say.request(run_id)))
    row = bench.rows.run(run_id)
    assert (row["status"], row["cancelled_by"]) == ("CANCELLED", "grace")
    assert second.tasks(run_id) == []
    assert bench.rows.execute("SELECT * FROM early_cancellations WHERE run_id = :r", r=run_id) == []


def test_a_run_that_was_cancelled_before_it_began_can_be_retried(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    run_id = say.new_run_id()
    cancellation, request = say.cancellation(run_id), say.request(run_id)
    member.take((say.CANCELLATIONS, cancellation), (say.REQUESTS, request))
    bench.rows.execute(
        "UPDATE workflow_runs SET status = 'PENDING', updated_at = now(), generation = generation + 1,"
        " revision = revision + 1, accepted_at = now() WHERE run_id = :r",
        r=run_id,
    )
    member.take((say.REQUESTS, request), (say.CANCELLATIONS, cancellation))
    assert bench.rows.status(run_id) == "RUNNING"
    member.take((say.RESULTS, say.result(member.tasks(run_id)[0])))
    assert bench.rows.status(run_id) == "COMPLETED"


def test_a_cancellation_from_before_a_retry_does_not_cancel_the_retried_run(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    run_id = say.new_run_id()
    request, cancellation = say.request(run_id, say.plan("a", "b")), say.cancellation(run_id)
    member.take((say.REQUESTS, request))
    member.take((say.CANCELLATIONS, cancellation))
    assert bench.rows.status(run_id) == "CANCELLED"
    # A retry as somebody else's API may write it: nothing but the status.
    bench.rows.execute("UPDATE workflow_runs SET status = 'PENDING' WHERE run_id = :r", r=run_id)
    member.take(
        (say.CANCELLATIONS, cancellation), (say.REQUESTS, say.request(run_id)), (say.CANCELLATIONS, cancellation)
    )
    assert bench.rows.status(run_id) == "RUNNING"
    member.take((say.CANCELLATIONS, say.cancellation(run_id)))
    assert bench.rows.status(run_id) == "CANCELLED"


def test_a_retry_by_status_alone_goes_on_from_the_last_completed_step(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    run_id = say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id, say.plan("a", "b", "c"))))
    member.take((say.RESULTS, say.result(member.tasks(run_id)[0], {"x": "from a"})))
    failed = member.tasks(run_id)[1]
    member.take((say.RESULTS, say.result(failed, error="agent says no")))
    assert "agent says no" in bench.rows.run(run_id)["error_message"]
    bench.rows.execute("UPDATE workflow_runs SET status = 'PENDING' WHERE run_id = :r", r=run_id)
    member.take((say.REQUESTS, say.request(run_id, say.plan("other"), {"x": "other"})))
    again = member.tasks(run_id)[2]
    assert again["input_data"] == {"x": "from a"}
    assert again["task_id"] != failed["task_id"]
    # A result of the attempt that ended changes nothing.
    member.take((say.RESULTS, say.result(failed, {"x": "late"})))
    member.take((say.RESULTS, say.result(again)))
    member.take((say.RESULTS, say.result(member.tasks(run_id)[3])))
    row = bench.rows.run(run_id)
    assert (row["status"], row["error_message"]) == ("COMPLETED", None)
    assert row["completed_at"] >= row["started_at"] >= row["created_at"]
    assert bench.rows.steps(run_id) == [(step, "COMPLETED") for step in "abc"]


def test_a_member_that_starts_anew_goes_on_with_the_runs_of_a_dead_one(bench: Bench, say: SimpleNamespace) -> None:
    first = bench.member()
    run_id = say.new_run_id()
    first.take((say.REQUESTS, say.request(run_id, say.plan("a", "b"))))
    first.take((say.RESULTS, say.result(first.tasks(run_id)[0], {"x": LONG_NUMBER})))
    first.die()
    second = bench.member()
    second.take((say.RESULTS, say.result(first.tasks(run_id)[1])))
    assert bench.rows.status(run_id) == "COMPLETED"
    assert second.tasks(run_id) == []


def test_whole_numbers_of_seventy_digits_stay_exact_from_request_to_row(bench: Bench, say: SimpleNamespace) -> None:
    member, other = bench.member(), bench.member()
    run_id = say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id, say.plan("a", "b"), {"x": LONG_NUMBER})))
    task = member.tasks(run_id)[0]
    assert task["input_data"] == {"x": LONG_NUMBER}
    other.take((say.RESULTS, say.result(task, {"x": -LONG_NUMBER})))
    assert other.tasks(run_id)[0]["input_data"] == {"x": -LONG_NUMBER}
    shown = bench.rows.execute(
        "SELECT output_data ->> 'x' AS x FROM step_executions WHERE run_id = :r AND path = 'a'", r=run_id
    )
    assert shown == [{"x": str(-LONG_NUMBER)}]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"x": value}
    return value


FLAWED = {
    "U+0000": b'"a\\u0000b"',
    "half a pair": b'"\\ud800"',
    "beyond a double": b"1e400",
    "nested 250 deep": json.dumps(deep(250)).encode(),
    "nested 1000 deep": b'{"x":' * 1000 + b"1" + b"}" * 1000,
}


@pytest.mark.parametrize("flaw", FLAWED.values(), ids=FLAWED)
def test_an_input_that_cannot_be_stored_fails_its_run_and_nothing_behind_it(
    bench: Bench, say: SimpleNamespace, flaw: bytes
) -> None:
    member = bench.member()
    run_id, behind = say.new_run_id(), say.new_run_id()
    message = json.dumps(say.request(run_id, None, {"x": "HERE"})).encode().replace(b'"HERE"', flaw)
    member.take((say.REQUESTS, message), (say.REQUESTS, say.request(behind)))
    assert bench.rows.status(behind) == "RUNNING"
    if bench.rows.status(run_id) is None:
        assert member.letters(say.REQUESTS)[0].value == message
    else:
        row = bench.rows.run(run_id)
        assert row["status"] == "FAILED"
        assert "cannot be stored" in row["error_message"]
        assert member.tasks(run_id) == []


@pytest.mark.parametrize("place", ["step name", "mapping", "resume_from_step", "workflow_id"])
@pytest.mark.parametrize("flaw", FLAWED.values(), ids=FLAWED)
def test_a_plan_that_cannot_be_stored_fails_its_run_and_nothing_behind_it(
    bench: Bench, say: SimpleNamespace, flaw: bytes, place: str
) -> None:
    member = bench.member()
    run_id, behind = say.new_run_id(), say.new_run_id()
    request = say.request(run_id, say.plan("a"))
    if place == "step name":
        request["workflow_plan"]["steps"]["a"]["name"] = "HERE"
    elif place == "mapping":
        request["workflow_plan"]["steps"]["a"]["input_mapping"] = {"x": "HERE"}
    elif place == "resume_from_step":
        request["resume_from_step"] = "HERE"
    else:
        request["workflow_plan"]["workflow_id"] = "HERE"
    message = json.dumps(request).encode().replace(b'"HERE"', flaw)
    member.take((say.REQUESTS, message), (say.REQUESTS, say.request(behind)))
    assert bench.rows.status(behind) == "RUNNING"
    assert bench.rows.status(run_id) == "FAILED" or len(member.letters(say.REQUESTS)) == 1
    assert member.tasks(run_id) == []


def test_a_flawed_plan_does_not_spoil_the_same_plan_with_null_in_its_place(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    flawed, sound = say.new_run_id(), say.new_run_id()
    fork = say.forked(5)
    fork["steps"]["f"]["fork_join_config"]["branches"]["right"]["timeout_seconds"] = None
    infinite = json.dumps(say.request(flawed, fork)).replace('"timeout_seconds": null', '"timeout_seconds": 1e400')
    member.take((say.REQUESTS, infinite.encode()))
    assert bench.rows.status(flawed) == "FAILED"
    member.take((say.REQUESTS, say.request(sound, fork)))
    assert bench.rows.status(sound) == "RUNNING"


@pytest.mark.parametrize("flaw", FLAWED.values(), ids=FLAWED)
def test_an_output_that_cannot_be_stored_fails_its_step_and_nothing_behind_it(
    bench: Bench, say: SimpleNamespace, flaw: bytes
) -> None:
    member = bench.member()
    run_id, behind = say.new_run_id(), say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id)), (say.REQUESTS, say.request(behind)))
    message = json.dumps(say.result(member.tasks(run_id)[0], {"x": "HERE"})).encode().replace(b'"HERE"', flaw)
    member.take((say.RESULTS, message), (say.RESULTS, say.result(member.tasks(behind)[0])))
    assert bench.rows.status(behind) == "COMPLETED"
    if member.letters(say.RESULTS):
        return
    row = bench.rows.run(run_id)
    assert row["status"] == "FAILED"
    assert "cannot be stored" in row["error_message"]


@pytest.mark.parametrize("flaw", FLAWED.values(), ids=FLAWED)
def test_a_flaw_in_a_field_that_nobody_knows_changes_nothing(bench: Bench, say: SimpleNamespace, flaw: bytes) -> None:
    member = bench.member()
    run_id = say.new_run_id()

    def with_flaw(message: dict[str, Any]) -> bytes:
        return json.dumps({**message, "extra": "HERE"}).encode().replace(b'"HERE"', flaw)

    member.take((say.REQUESTS, with_flaw(say.request(run_id))))
    if member.letters(say.REQUESTS):
        # Deeper than any parser goes: then the whole message is set aside.
        assert flaw == FLAWED["nested 1000 deep"]
        return
    member.take((say.RESULTS, with_flaw(say.result(member.tasks(run_id)[0]))))
    assert bench.rows.status(run_id) == "COMPLETED"


@pytest.mark.parametrize("field", ["run_id", "task_id", "error_message", "correlation_id"])
@pytest.mark.parametrize("flaw", [b'"\\u0000"', b'"\\ud800"', b'""', b"7"], ids=["U+0000", "half", "empty", "number"])
def test_a_result_with_any_text_in_its_envelope_stops_nothing(
    bench: Bench, say: SimpleNamespace, field: str, flaw: bytes
) -> None:
    member = bench.member()
    run_id, behind = say.new_run_id(), say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id)), (say.REQUESTS, say.request(behind)))
    answer = say.result(member.tasks(run_id)[0], error="no")
    answer[field] = "HERE"
    message = json.dumps(answer).encode().replace(b'"HERE"', flaw)
    member.take((say.RESULTS, message), (say.RESULTS, say.result(member.tasks(behind)[0])))
    assert bench.rows.status(behind) == "COMPLETED"
    assert member.subscription.committed[say.RESULTS, 0] == 2


@pytest.mark.parametrize("field", ["cancelled_by", "reason"])
@pytest.mark.parametrize("flaw", [b'"\\u0000"', b'"\\ud800"'], ids=["U+0000", "half"])
def test_a_cancellation_with_any_text_is_kept_and_obeyed(
    bench: Bench, say: SimpleNamespace, field: str, flaw: bytes
) -> None:
    member = bench.member()
    run_id = say.new_run_id()
    message = json.dumps(say.cancellation(run_id, **{field: "HERE"})).encode().replace(b'"HERE"', flaw)
    member.take((say.CANCELLATIONS, message))
    member.take((say.REQUESTS, say.request(run_id)))
    assert bench.rows.status(run_id) == "CANCELLED"


def test_poison_is_narrowed_down_to_one_letter_and_the_rest_of_its_batch_completes(
    bench: Bench, say: SimpleNamespace
) -> None:
    member = bench.member()
    run_ids = [say.new_run_id() for _ in range(20)]
    member.take(*((say.REQUESTS, say.request(run_id)) for run_id in run_ids))
    poisoned = run_ids[13]
    bench.rows.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.output_data ->> 'x' = 'poison' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$"
    )
    bench.rows.execute(
        "CREATE TRIGGER refusing BEFORE INSERT OR UPDATE ON step_executions FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        outputs = [{"x": "poison" if run_id == poisoned else "good"} for run_id in run_ids]
        answers = [say.result(member.tasks(run_id)[0], output) for run_id, output in zip(run_ids, outputs, strict=True)]
        member.take(*((say.RESULTS, answer) for answer in answers))
    finally:
        bench.rows.execute("DROP TRIGGER refusing ON step_executions")
        bench.rows.execute("DROP FUNCTION refuse")
    assert [run_id for run_id in run_ids if bench.rows.status(run_id) != "COMPLETED"] == [poisoned]
    row = bench.rows.run(poisoned)
    assert row["status"] == "FAILED"
    assert "not this one" in row["error_message"]
    (letter,) = member.letters(say.RESULTS)
    assert json.loads(letter.value) == answers[13]
    headers = dict(letter.headers)
    assert b"not this one" in headers["reason"]
    assert (headers["source_topic"], headers["source_offset"]) == (say.RESULTS.encode(), b"13")
    assert member.subscription.committed[say.RESULTS, 0] == 20


def test_a_letter_that_kafka_refuses_whole_is_sent_without_its_bytes(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    member.publisher.refuses = lambda message: len(message.value) > 1000
    member.take((say.REQUESTS, b"x" * 2000))
    (letter,) = member.letters(say.REQUESTS)
    assert letter.value == b""
    assert b"2000 bytes" in dict(letter.headers)["value"]
    assert member.subscription.committed == {(say.REQUESTS, 0): 1}


def test_a_letter_that_kafka_does_not_have_keeps_its_message_uncommitted(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    member.publisher.holding = True
    member.take((say.REQUESTS, b"not JSON"))
    _, on_delivered = member.publisher.waiting.popleft()
    on_delivered(ConnectionError("the client is broken"))
    with pytest.raises(OutboxError, match="the client is broken"):
        member.turn()
    assert member.subscription.committed == {}


def test_a_task_that_is_too_large_fails_its_step_and_says_the_size(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member(max_message_bytes=10_000)
    run_id = say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id, say.plan("a", "b"))))
    member.take((say.RESULTS, say.result(member.tasks(run_id)[0], {"x": "y" * 20_000})))
    row = bench.rows.run(run_id)
    assert row["status"] == "FAILED"
    assert "limit is 10000" in row["error_message"]
    assert bench.rows.steps(run_id) == [("a", "COMPLETED"), ("b", "FAILED")]
    assert len(member.tasks(run_id)) == 1


def make_due(bench: Bench, run_id: str, kind: str) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    statement = "UPDATE timers SET due_at = :past WHERE run_id = :run_id AND kind = :kind RETURNING run_id"
    assert bench.rows.execute(statement, past=past, run_id=run_id, kind=kind)


def turn_timers(member: Any) -> None:
    member.loop._next.pop("timers", None)
    member.turn()


def test_a_branch_that_times_out_ends_and_its_policy_is_judged(bench: Bench, say: SimpleNamespace) -> None:
    member, other = bench.member(), bench.member()
    run_id = say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id, say.forked(0.05))))
    by_path = {task["task_id"]: task for task in member.tasks(run_id)}
    assert len(by_path) == 2
    left = bench.rows.execute("SELECT task_id FROM step_executions WHERE run_id = :r AND step_id = 'l'", r=run_id)
    member.take((say.RESULTS, say.result(by_path[left[0]["task_id"]])))
    # Whoever looks first when it is due works the timer, also one that never saw the run.
    say.until(lambda: turn_timers(other) or bench.rows.status(run_id) == "COMPLETED", "the branch timed out")
    assert bench.rows.steps(run_id) == [("f", "COMPLETED"), ("f:left/l", "COMPLETED"), ("f:right/r", "FAILED")]
    assert bench.rows.execute("SELECT * FROM timers WHERE run_id = :r", r=run_id) == []


def test_a_timer_that_is_early_is_set_again_and_not_lost(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    run_id = say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id, say.forked(500))))
    make_due(bench, run_id, "branch")
    turn_timers(member)
    (timer,) = bench.rows.execute("SELECT due_at FROM timers WHERE run_id = :r", r=run_id)
    assert timer["due_at"] > datetime.now(UTC) + timedelta(seconds=400)
    assert bench.rows.status(run_id) == "RUNNING"


def test_a_run_that_misses_its_deadline_is_failed_with_its_open_steps(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member(run_timeout_seconds=300)
    run_id = say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id)))
    make_due(bench, run_id, "run")
    turn_timers(member)
    row = bench.rows.run(run_id)
    assert row["status"] == "FAILED"
    assert "300 s" in row["error_message"]
    assert bench.rows.steps(run_id) == [("a", "FAILED")]
    assert bench.rows.execute("SELECT * FROM timers WHERE run_id = :r", r=run_id) == []


def test_the_timer_of_a_run_that_is_gone_goes_too(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    run_id = say.new_run_id()
    bench.rows.execute("INSERT INTO timers (run_id, kind, path) VALUES (:r, 'branch', 'f:left')", r=run_id)
    turn_timers(member)
    assert bench.rows.execute("SELECT * FROM timers WHERE run_id = :r", r=run_id) == []


def test_a_task_without_an_answer_is_published_again_under_its_id(bench: Bench, say: SimpleNamespace) -> None:
    member, other = bench.member(task_redelivery_seconds=60), bench.member(task_redelivery_seconds=60)
    run_id, fresh = say.new_run_id(), say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id)), (say.REQUESTS, say.request(fresh)))
    bench.rows.execute(
        "UPDATE workflow_runs SET created_at = now() - interval '90 s', updated_at = now() - interval '90 s'"
        " WHERE run_id = :r",
        r=run_id,
    )
    other.loop._next.clear()
    turn_timers(other)
    other.turn()
    assert [task["task_id"] for task in other.tasks()] == [member.tasks(run_id)[0]["task_id"]]
    # The next look finds a run that has moved.
    other.loop._next.clear()
    turn_timers(other)
    other.turn()
    assert len(other.tasks()) == 1


def test_a_loop_that_is_told_to_stop_while_the_database_is_away_ends_in_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = bench.member()
    stop = threading.Event()

    def away(*_: Any) -> None:
        stop.set()
        raise OperationalError("SELECT 1", {}, Exception("the database is away"))

    monkeypatch.setattr(member.outbox, "open", away)
    member.loop.run(stop)
    assert member.subscription.closed
    assert member.subscription.committed == {}


@pytest.mark.parametrize(
    ("hindrance", "most", "letters"),
    [("too_many_connections", 12, 0), ("undefined_table", 12, 0), ("internal_error", 4, 0), ("internal_error", 5, 1)],
)
def test_a_message_is_set_aside_for_its_own_failures_only_however_often_the_database_hinders_it(
    bench: Bench, say: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, hindrance: str, most: int, letters: int
) -> None:
    member = bench.member()
    execute = member.executor.execute
    left = most

    def hindered(*arguments: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            with member.engine.begin() as connection:
                connection.execute(text(f"DO $$ BEGIN RAISE {hindrance}; END $$"))
        execute(*arguments)

    monkeypatch.setattr(member.executor, "execute", hindered)
    run_id = say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id)))
    assert left == 0
    assert len(member.letters(say.REQUESTS)) == letters
    assert len(member.tasks(run_id)) == 1 - letters
