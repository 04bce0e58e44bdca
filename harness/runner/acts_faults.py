"""The acts `fault` and `exhaust`, and requests that are repeated while faults may hit the API."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg2

from harness.faults.deeds import Hands
from harness.faults.points import Fault
from harness.observer import Answer
from harness.runner.errors import SetUpBroke
from harness.runner.world import World

_REPEAT_SECONDS = 0.1
_MOST_CONNECTIONS = 1000


def fault(arguments: Mapping[str, Any], world: World) -> Any:
    """Arm a fault: it is done once its point is reached, counting from now.

    Raises:
        NotSupported: the stack cannot have proxies before it.
        SubjectError: the subject does not start anew behind the proxies.
    """
    bench = world.bench
    bench.fault_points().arm(Fault.read(arguments), Hands(bench.processes, bench.running, world.writer), world.writer)
    return "armed"


def exhaust(arguments: Mapping[str, Any], world: World) -> Any:
    """Take every connection that the database has to give, hold them for a while, and let them go.

    Raises:
        SetUpBroke: it still had connections to give when very many were taken.
    """
    return {"connections": exhaust_database(world.bench.stack.database_url, float(arguments["seconds"]))}


def exhaust_database(url: str, seconds: float) -> int:
    """The same for any database; how many connections were taken."""
    with contextlib.ExitStack() as held:
        taken = 0
        while _take_one(url, held):
            taken += 1
            if taken >= _MOST_CONNECTIONS:
                raise SetUpBroke(
                    f"the database has more than {_MOST_CONNECTIONS} connections to give; expected a limit"
                )
        deadline = time.monotonic() + seconds
        # What others give back meanwhile is taken as well.
        while time.monotonic() < deadline:
            if not _take_one(url, held):
                time.sleep(_REPEAT_SECONDS)
    return taken


def _take_one(url: str, held: contextlib.ExitStack) -> bool:
    try:
        held.enter_context(contextlib.closing(psycopg2.connect(url, connect_timeout=5)))
    except psycopg2.OperationalError:
        return False
    return True


def persistently(world: World, ask: Callable[[], Answer]) -> Answer:
    """An answer of the API's; while faults are armed, one that does not come, or is an error of the server's, is asked for
    again up to the scenario's deadline, as a client of an API behind a balancer does."""
    answer = ask()
    deadline = time.monotonic() + world.scenario.deadline_seconds
    while (
        world.bench.armed_faults is not None
        and (answer.status is None or answer.status >= 500)
        and time.monotonic() < deadline
    ):
        time.sleep(_REPEAT_SECONDS)
        answer = ask()
    return answer
