"""Generated runs begun many at once: agents and rows in bulk, and the requests in the place of an API."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from harness.exploration.disturbance import Disturber
from harness.exploration.flight import Flight
from harness.generation import Case
from harness.runner.bench import Bench
from harness.runner.errors import Broken, NotSupported, SetUpBroke

log = logging.getLogger(__name__)

_FOLLOWED_ONE_IN = 12
_OF_FOLLOWED = ("'run'", "'consumed'")
"""What rows and offsets have to be followed for, where an act waits for it."""


class Launcher:
    """`launch` waits for Kafka and PostgreSQL most of its time, and may be called in a thread of its own."""

    def __init__(self, bench: Bench, disturber: Disturber | None) -> None:
        self._bench = bench
        self._disturber = disturber

    def launch(self, found: Sequence[tuple[int, int, Case]], pool: ThreadPoolExecutor) -> list[Flight]:
        """Begin with these (number, seed, case), and give the flights, which are under way. What is not plainly executed is set
        up in the pool, and does not act before.

        Raises:
            SetUpBroke: rows or messages cannot be written.
        """
        new: list[Flight] = []
        for number, seed, case in found:
            is_followed = number % _FOLLOWED_ONE_IN == 0 or any(
                word in repr(act.get("when")) for act in case.whole_timeline for word in _OF_FOLLOWED
            )
            new.append(Flight(case, self._bench, number=number, seed=seed, is_followed=is_followed))
            if self._disturber is not None:
                new[-1].feel(self._disturber)
        for flight in new:
            if flight.is_bulk:
                flight.world.set_up()
            else:
                flight.is_acting = True
        bulk = [flight for flight in new if not flight.is_acting]
        self._register(bulk)
        self._execute(bulk)
        for flight in new:
            if flight.is_acting:
                pool.submit(self._set_up_alone, flight)
        return new

    def _register(self, flights: Sequence[Flight]) -> None:
        records = [record for flight in flights for record in flight.ground.records]
        if self._bench.binding.has_own_rows or (records and not self._bench.tables.insert_agents(records)):
            for flight in flights:
                for record in flight.ground.records:
                    self._bench.register_agent(flight.world.scope, record)

    def _execute(self, flights: Sequence[Flight]) -> None:
        """In the place of an API: rows first, then requests (contract, section 1)."""
        made = [
            (
                flight,
                flight.world.run_id("r"),
                flight.world.values["workflows"]["main"]["plan"],
                dict(flight.case.input),
            )
            for flight in flights
        ]
        if not self._bench.binding.has_own_rows:
            self._bench.tables.insert_runs((run_id, plan, given) for _, run_id, plan, given in made)
        messages = []
        for flight, run_id, plan, given in made:
            flight.world.add_run("r", run_id, "main", plan, given, "kafka")
            value = {
                "run_id": run_id,
                "workflow_plan": plan,
                "input_data": given,
                "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "message_type": "execution_request",
            }
            messages.append((flight.world.scope, "requests", run_id, value))
            flight.next_act = 1
        self._bench.publisher.publish_all(messages)

    def _set_up_alone(self, flight: Flight) -> None:
        try:
            flight.world.set_up()
            self._register([flight])
        except Exception as error:
            note(flight, error)
        finally:
            flight.is_acting = False


def note(flight: Flight, error: Exception) -> None:
    """Note at a flight why something could not be done: the subject would not, or the harness could not."""
    if isinstance(error, Broken):
        flight.refusal = error.findings[0].explanation
    elif isinstance(error, NotSupported | SetUpBroke):
        flight.problem = str(error)
    else:
        log.error("a generated run could not be carried out", exc_info=error)
        flight.problem = f"the harness itself failed: {error!r}"
