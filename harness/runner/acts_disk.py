"""The act `fill`: the disk of a server of the stack is full for a while."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from harness.runner.errors import NotSupported, SetUpBroke
from harness.runner.world import World
from harness.stack import NotInOurHands, Part, StackError
from harness.stack.small_disk import SmallDisk, small_disk

_FREE_MIB: Final = 48
_NOTICE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1


def fill(arguments: Mapping[str, Any], world: World) -> Any:
    """Move a server's data to a small disk, fill that until the server has needed space and for a while from then on, and
    move them back: the server is restarted before and after.

    Raises:
        NotSupported: the stack is somebody else's, or no disk can be mounted here.
        SetUpBroke: the server does not come back, or never needed space, so that nothing was put to the test.
    """
    part: Part = getattr(world.bench.stack, arguments["part"])
    name, writer = arguments["part"], world.writer
    # Between the acts of a scenario and its end the server is to be found running, whatever happens in here.
    world.bench.processes.disturb()
    try:
        with small_disk(part, _FREE_MIB) as disk:
            writer.add("process", "started", process=name)
            taken = disk.fill()
            writer.add("harness", "fault", state="done", do="fill", at_point=name, process=name)
            was_noticed = _await_notice(disk)
            time.sleep(float(arguments["seconds"]))
            disk.free()
            writer.add("harness", "fault", state="over", do="fill", at_point=name, process=name)
            writer.add("process", "stopped", process=name, exit_code=None)
    except NotInOurHands as error:
        raise NotSupported(str(error)) from error
    except StackError as error:
        raise SetUpBroke(str(error)) from error
    writer.add("process", "started", process=name)
    if not was_noticed:
        raise SetUpBroke(f"the {name} did not need any space while its disk was full: have it write more meanwhile")
    return {"bytes": taken}


def _await_notice(disk: SmallDisk) -> bool:
    """Whether the server needs space before long. A database writes into room that it has had for a while, first."""
    deadline = time.monotonic() + _NOTICE_SECONDS
    while not disk.was_noticed():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
