"""The circuit breaker: its table, and that no order of events leads out of it."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from system.bridge.agent import agent_from
from system.bridge.breaker import COOL_DOWN_SECONDS, FAILURES_TO_OPEN, Breaker, Circuit
from system.bridge.jobs import Job, Lane
from system.bridge.messages import Task


class _Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def _opened(clock: _Clock) -> Breaker:
    breaker = Breaker(clock, failures_to_open=3, cool_down_seconds=5)
    for _ in range(3):
        breaker.failed()
    return breaker


def test_a_due_probe_is_sent_even_for_an_agent_whose_tasks_have_no_time_to_wait_for_it() -> None:
    clock = _Clock()
    lane = Lane("a", 1, clock)
    lane.agent = agent_from({"name": "a", "url": "http://127.0.0.1:9/", "retry_config": {"max_retries": 0}})
    for _ in range(FAILURES_TO_OPEN):
        lane.breaker.failed()
    jobs = [Job(("r", name), Task("r", name, "a", {}, "c"), 0, clock()) for name in ("t1", "t2")]
    lane.waiting.append(jobs[0])
    assert lane.expired() == [jobs[0]]
    clock.seconds += COOL_DOWN_SECONDS
    lane.waiting.extend(jobs)
    assert lane.expired() == []
    assert lane.take() is jobs[0]
    assert lane.take() is None
    assert lane.expired() == [jobs[1]]


def test_it_opens_with_the_nth_failure_in_a_row_and_not_before() -> None:
    breaker = Breaker(_Clock(), failures_to_open=3, cool_down_seconds=5)
    breaker.failed()
    breaker.failed()
    breaker.answered()
    breaker.failed()
    breaker.failed()
    assert breaker.circuit is Circuit.CLOSED
    assert breaker.admit()
    breaker.failed()
    assert breaker.circuit is Circuit.OPEN
    assert not breaker.admit()


def test_after_the_cool_down_one_probe_is_let_through_and_its_answer_closes() -> None:
    clock = _Clock()
    breaker = _opened(clock)
    clock.seconds += 4.99
    assert not breaker.admit()
    clock.seconds += 0.01
    assert breaker.admit()
    assert not breaker.admit()
    breaker.answered()
    assert breaker.pristine
    assert breaker.admit()


def test_a_probe_that_fails_opens_for_another_cool_down() -> None:
    clock = _Clock()
    breaker = _opened(clock)
    clock.seconds += 5
    assert breaker.admit()
    clock.seconds += 3
    breaker.failed()
    assert breaker.probe_at == clock.seconds + 5
    assert not breaker.admit()
    assert breaker.unhealthy_since == 100.0


class BreakerMachine(RuleBasedStateMachine):
    """Against a model: failures in a row since the last answer, and whether a probe is out."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = _Clock()
        self.breaker = Breaker(self.clock, failures_to_open=3, cool_down_seconds=5)
        self.in_a_row = 0
        self.probe_out = False
        self.closed_until = 0.0

    @rule(seconds=st.floats(0, 10))
    def time_passes(self, seconds: float) -> None:
        self.clock.seconds += seconds

    @rule()
    def a_task_fails(self) -> None:
        self.breaker.failed()
        self.in_a_row += 1
        if self.in_a_row == 3 or self.probe_out:
            self.closed_until = self.clock.seconds + 5
        self.probe_out = False

    @rule()
    def a_task_is_answered(self) -> None:
        self.breaker.answered()
        self.in_a_row, self.probe_out = 0, False

    @rule()
    def a_task_wants_in(self) -> None:
        due = self.in_a_row >= 3 and not self.probe_out and self.clock.seconds >= self.closed_until
        assert self.breaker.admit() == (self.in_a_row < 3 or due)
        self.probe_out = self.probe_out or due

    @invariant()
    def the_circuit_is_the_models(self) -> None:
        expected = Circuit.CLOSED if self.in_a_row < 3 else Circuit.HALF_OPEN if self.probe_out else Circuit.OPEN
        assert self.breaker.circuit is expected


TestBreakerMachine = BreakerMachine.TestCase
