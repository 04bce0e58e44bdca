"""Several members on one database: memory that is out of date, rows that changed meanwhile, and members that die."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from tests.system.consumer.conftest import Bench


def test_results_of_one_run_that_reach_members_by_turns_carry_it_to_its_end(bench: Bench, say: SimpleNamespace) -> None:
    first, second = bench.member(), bench.member()
    run_id = say.new_run_id()
    first.take((say.REQUESTS, say.request(run_id, say.plan("a", "b", "c", "d"))))
    second.take((say.RESULTS, say.result(first.tasks(run_id)[-1])))
    # Both hold the run in memory by now; what the first remembers is two steps old.
    first.take((say.RESULTS, say.result(second.tasks(run_id)[-1])))
    second.take((say.RESULTS, say.result(first.tasks(run_id)[-1])))
    first.take((say.RESULTS, say.result(second.tasks(run_id)[-1])))
    assert bench.rows.status(run_id) == "COMPLETED"
    assert bench.rows.steps(run_id) == [(step, "COMPLETED") for step in "abcd"]
    assert len(first.tasks(run_id)) + len(second.tasks(run_id)) == 4


def test_a_result_for_a_task_that_memory_does_not_know_is_judged_by_the_rows(
    bench: Bench, say: SimpleNamespace
) -> None:
    first, second = bench.member(), bench.member()
    run_id = say.new_run_id()
    first.take((say.REQUESTS, say.request(run_id, say.plan("a", "b", "c"))))
    second.take((say.RESULTS, say.result(first.tasks(run_id)[-1])))
    second.take((say.RESULTS, say.result(second.tasks(run_id)[-1])))
    # The first still believes in step a; the result is for step c.
    first.take((say.RESULTS, say.result(second.tasks(run_id)[-1])))
    assert bench.rows.status(run_id) == "COMPLETED"


def test_a_retry_is_taken_up_by_a_member_that_remembers_the_run_as_running(bench: Bench, say: SimpleNamespace) -> None:
    first, second = bench.member(), bench.member()
    run_id = say.new_run_id()
    request = say.request(run_id, say.plan("a", "b"))
    first.take((say.REQUESTS, request))
    second.take((say.RESULTS, say.result(first.tasks(run_id)[-1], error="no")))
    assert bench.rows.status(run_id) == "FAILED"
    bench.rows.execute("UPDATE workflow_runs SET status = 'PENDING' WHERE run_id = :r", r=run_id)
    first.take((say.REQUESTS, request))
    assert bench.rows.status(run_id) == "RUNNING"
    assert len(first.tasks(run_id)) == 2


def test_an_overtaken_member_decides_anew_and_writes_over_nothing(bench: Bench, say: SimpleNamespace) -> None:
    first, second = bench.member(), bench.member()
    run_id = say.new_run_id()
    first.take((say.REQUESTS, say.request(run_id, say.plan("a", "b"))))
    task = first.tasks(run_id)[0]
    second.take((say.CANCELLATIONS, say.cancellation(run_id)))
    first.take((say.RESULTS, say.result(task)))
    assert bench.rows.status(run_id) == "CANCELLED"
    assert bench.rows.steps(run_id) == [("a", "CANCELLED")]
    assert len(first.tasks(run_id)) == 1


def test_a_cancelled_row_fences_the_member_that_has_not_heard_of_it(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    run_id = say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id, say.plan("a", "b"))))
    bench.rows.execute(
        "UPDATE workflow_runs SET status = 'CANCELLED', cancelled_at = now() WHERE run_id = :r", r=run_id
    )
    member.take((say.RESULTS, say.result(member.tasks(run_id)[0])))
    assert bench.rows.status(run_id) == "CANCELLED"
    assert len(member.tasks(run_id)) == 1
    member.take((say.CANCELLATIONS, say.cancellation(run_id)))
    assert bench.rows.steps(run_id) == [("a", "CANCELLED")]


def test_offsets_are_not_committed_before_kafka_has_what_follows(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    member.publisher.holding = True
    member.take((say.REQUESTS, say.request(say.new_run_id())))
    member.turn()
    assert member.subscription.committed == {}
    assert bench.rows.owed() == 1
    member.publisher.holding = False
    member.turn()
    assert member.subscription.committed == {(say.REQUESTS, 0): 1}
    member.turn()
    assert bench.rows.owed() == 0


def test_a_batch_is_committed_only_after_those_before_it(bench: Bench, say: SimpleNamespace) -> None:
    member = bench.member()
    member.publisher.holding = True
    first, second = say.new_run_id(), say.new_run_id()
    member.take((say.REQUESTS, say.request(first)))
    member.take((say.REQUESTS, say.request(second)))
    held = list(member.publisher.waiting)
    # Kafka acknowledges the second batch alone.
    for message, on_delivered in [entry for entry in held if entry[0].key == second.encode()]:
        on_delivered(None)
        member.publisher.waiting.remove((message, on_delivered))
    member.turn()
    assert member.subscription.committed == {}
    member.publisher.holding = False
    member.turn()
    assert member.subscription.committed == {(say.REQUESTS, 0): 2}


def test_what_a_dead_member_owed_is_sent_by_the_next_in_the_order_of_the_run(
    bench: Bench, say: SimpleNamespace
) -> None:
    first, second = bench.member(), bench.member()
    first.publisher.holding = True
    run_id = say.new_run_id()
    request = (say.REQUESTS, say.request(run_id, say.plan("a", "b")))
    first.take(request)
    first.die()
    assert first.publisher.sent == []
    # Nothing was committed, so the request is read again, now by the second, along with a cancellation.
    second.take(request, (say.CANCELLATIONS, say.cancellation(run_id)))
    say.until(lambda: second.turn() or bench.rows.owed() == 0, "the outbox empty")
    assert second.updates(run_id) == [
        (run_id, "RUNNING"), ("a", "RUNNING"), ("a", "CANCELLED"), (run_id, "CANCELLED"),
    ]  # fmt: skip
    assert len(second.tasks(run_id)) == 1
    assert bench.rows.status(run_id) == "CANCELLED"


def test_a_request_read_again_after_a_death_has_its_task_sent_once_by_the_sweep(
    bench: Bench, say: SimpleNamespace
) -> None:
    first, second = bench.member(), bench.member()
    first.publisher.holding = True
    run_id = say.new_run_id()
    request = (say.REQUESTS, say.request(run_id))
    first.take(request)
    first.die()
    second.take(request)
    say.until(lambda: second.turn() or len(second.tasks(run_id)) >= 1, "the task sent")
    second.take((say.RESULTS, say.result(second.tasks(run_id)[0])))
    assert bench.rows.status(run_id) == "COMPLETED"
    assert len(second.tasks(run_id)) == 1
    assert second.updates(run_id) == [
        (run_id, "RUNNING"), ("a", "RUNNING"), ("a", "COMPLETED"), (run_id, "COMPLETED"),
    ]  # fmt: skip


@pytest.mark.parametrize("winner", ["cancellation", "result"])
def test_a_cancellation_that_races_the_last_result_at_another_member_has_one_winner(
    bench: Bench, say: SimpleNamespace, winner: str
) -> None:
    first, second = bench.member(), bench.member()
    run_id = say.new_run_id()
    first.take((say.REQUESTS, say.request(run_id)))
    # The second gets to know the run, so that both decide from memory.
    second.take((say.RESULTS, say.result({**first.tasks(run_id)[0], "task_id": "foreign"})))
    moves = [
        lambda: second.take((say.CANCELLATIONS, say.cancellation(run_id))),
        lambda: first.take((say.RESULTS, say.result(first.tasks(run_id)[0]))),
    ]
    for move in moves if winner == "cancellation" else reversed(moves):
        move()
    row = bench.rows.run(run_id)
    expected = "CANCELLED" if winner == "cancellation" else "COMPLETED"
    assert row["status"] == expected
    assert (row["cancelled_at"] is None) is (expected == "COMPLETED")
    ends = [update for member in (first, second) for update in member.updates(run_id) if update[0] == run_id]
    assert ends == [(run_id, "RUNNING"), (run_id, expected)]


def test_a_request_and_its_cancellation_that_race_at_two_members_end_cancelled(
    bench: Bench, say: SimpleNamespace
) -> None:
    first, second = bench.member(), bench.member()
    for _ in range(30):
        run_id = say.new_run_id()
        start = threading.Barrier(2)
        moves = [
            (first, (say.REQUESTS, say.request(run_id))),
            (second, (say.CANCELLATIONS, say.cancellation(run_id))),
        ]

        def move(member: Any, message: Any, start: threading.Barrier = start) -> None:
            start.wait(10)
            member.take(message)

        threads = [threading.Thread(target=move, args=each) for each in moves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        row = bench.rows.run(run_id)
        assert (row["status"], row["cancelled_by"]) == ("CANCELLED", "ada")
        assert {status for _, status in bench.rows.steps(run_id)} <= {"CANCELLED"}
    assert bench.rows.execute("SELECT * FROM early_cancellations") == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_lost_at_the_commit_of_a_batch_loses_and_doubles_nothing(
    bench: Bench, say: SimpleNamespace, moment: str
) -> None:
    member = bench.member()
    run_id = say.new_run_id()
    member.take((say.REQUESTS, say.request(run_id, say.plan("a", "b"))))

    def terminate(connection: Any) -> None:
        raw = connection.connection.dbapi_connection
        pid = raw.info.backend_pid
        if moment == "after":
            raw.commit()
        bench.rows.execute("SELECT pg_terminate_backend(:pid)", pid=pid)
        # What the driver says of it: it cannot know whether the commit took.
        connection.invalidate()
        raise OperationalError("COMMIT", {}, psycopg2.OperationalError("server closed the connection"))

    listening = threading.Event()

    def once(connection: Any) -> None:
        if not listening.is_set() and connection.execute(text("SELECT 1")).scalar_one():
            listening.set()
            terminate(connection)

    event.listen(member.engine, "commit", once)
    member.take((say.RESULTS, say.result(member.tasks(run_id)[0])))
    assert listening.is_set()
    # What the old owner number owed, if the commit took, is swept like that of a dead process.
    say.until(lambda: member.turn() or len(member.tasks(run_id)) >= 2, "the task of step b")
    member.take((say.RESULTS, say.result(member.tasks(run_id)[-1])))
    say.until(lambda: member.turn() or bench.rows.owed() == 0, "the outbox empty")
    assert bench.rows.status(run_id) == "COMPLETED"
    assert [task["agent_name"] for task in member.tasks(run_id)] == ["echo", "echo"]
    assert member.updates(run_id) == [
        (run_id, "RUNNING"), ("a", "RUNNING"), ("a", "COMPLETED"), ("b", "RUNNING"), ("b", "COMPLETED"),
        (run_id, "COMPLETED"),
    ]  # fmt: skip
    assert member.letters(say.RESULTS) == []
    assert member.subscription.committed[say.RESULTS, 0] == 2
