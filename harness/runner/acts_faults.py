"""The acts `fault`, `cut`, `join` and `exhaust`, and requests that are repeated while faults may hit the API."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg2

from harness.faults.cuts import PartName, Unreachable
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


def cut(arguments: Mapping[str, Any], world: World) -> Any:
    """Cut processes of the subject off from a part of the stack: for so long, or until they are joined.

    Raises:
        NotSupported: the stack cannot have proxies before it.
        SetUpBroke: a process that is meant cannot be cut off.
    """
    points = world.bench.fault_points()
    where = _where(arguments)
    # The next scenario is to find everything as it was.
    world.bench.processes.disturb()
    try:
        points.cut(*where)
    except Unreachable as error:
        raise SetUpBroke(str(error)) from error
    _tell_of_cut(world, "done", arguments)
    if "seconds" not in arguments:
        return "cut off"
    time.sleep(float(arguments["seconds"]))
    points.join(*where)
    _tell_of_cut(world, "over", arguments)
    return "cut off, and joined again"


def join(arguments: Mapping[str, Any], world: World) -> Any:
    """Join processes to a part of the stack again.

    Raises:
        NotSupported: the stack cannot have proxies before it.
        SetUpBroke: none of them was cut off, so that nothing was put to the test.
    """
    if not world.bench.fault_points().join(*_where(arguments)):
        raise SetUpBroke(f"nothing was cut off from the {arguments['part']}, so that nothing can be joined to it")
    _tell_of_cut(world, "over", arguments)
    return "joined"


def _where(arguments: Mapping[str, Any]) -> tuple[PartName, str | None, int | None]:
    return arguments["part"], arguments.get("role"), arguments.get("number")


def _tell_of_cut(world: World, state: str, arguments: Mapping[str, Any]) -> None:
    who = "-".join(str(arguments[key]) for key in ("role", "number") if key in arguments) or "subject"
    world.writer.add("harness", "fault", state=state, do="cut", at_point=arguments["part"], process=who)


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
