"""The act `fill`: the disk of a server of the stack is full for a while."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from harness.runner.errors import NotSupported, SetUpBroke
from harness.runner.world import World
from harness.stack import NotInOurHands, Part, StackError
from harness.stack.small_disk import small_disk

_FREE_MIB: Final = 48


def fill(arguments: Mapping[str, Any], world: World) -> Any:
    """Move a server's data to a small disk, fill that for a while, and move them back: the server is restarted before and
    after.

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
            time.sleep(float(arguments["seconds"]))
            disk.free()
            writer.add("harness", "fault", state="over", do="fill", at_point=name, process=name)
            was_noticed = disk.was_noticed()
            writer.add("process", "stopped", process=name, exit_code=None)
    except NotInOurHands as error:
        raise NotSupported(str(error)) from error
    except StackError as error:
        raise SetUpBroke(str(error)) from error
    writer.add("process", "started", process=name)
    if not was_noticed:
        raise SetUpBroke(f"the {name} did not need any space while its disk was full: have it write more meanwhile")
    return {"bytes": taken}
