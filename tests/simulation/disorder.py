"""What befalls a simulated world: faults of its processes, its database and its broker, and an order of things that is not
that in which they became possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from system.simulation.machine import Actor
from tests.simulation.processes import Bridge, Consumer, Role

if TYPE_CHECKING:
    from tests.simulation.world import World

_PAUSES_SECONDS = (0.01, 0.5, 4.0, 8.0, 14.0)
_OUTAGES_SECONDS = (0.05, 1.0, 5.0)
_SKEWS_SECONDS = (-30.0, -1.0, 1.0, 30.0)
_OF_A_PROCESS = ("kill", "pause", "stop", "skew")
_OF_A_STATEMENT = ("lost before", "lost after", "deadlock")
_MOST_PROCESSES = 9
# Which share of what is not calm is what.
_SHARES = 16
_SHARE_OF_CLOCK = 2
_SHARE_OF_FAULTS = 4


class Disorder:
    """`done` counts the faults by their kinds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._left = world.shape.most_faults
        self.done: dict[str, int] = {}

    @property
    def is_over(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self._left < 0

    def end(self) -> None:
        """Let nothing go wrong from now on, so that everything can come to its end."""
        self._left = -1

    def deviate(self, value: int) -> None:
        """Do what is not the next thing in order: a fault, a moment that passes, or something else that is possible."""
        world, machine = self._world, self._world.machine
        share, rest = value % _SHARES, value // _SHARES
        faults = world.shape.faults
        if share < _SHARE_OF_FAULTS and self._left > 0 and faults:
            kind = faults[rest % len(faults)]
            if self._befall(kind, rest // len(faults)):
                self._left -= 1
                self.done[kind] = self.done.get(kind, 0) + 1
                return
        if share >= _SHARES - _SHARE_OF_CLOCK and not world.is_at_rest():
            machine.advance()
        elif machine.ready:
            chosen = rest % len(machine.ready)
            if chosen:
                machine.history.append((machine.steps, "FIRST", machine.ready[chosen].title))
            machine.run(chosen)

    def _befall(self, kind: str, value: int) -> bool:
        """Let something go wrong; False when there is nothing that it could befall."""
        if kind in _OF_A_PROCESS:
            return self._befall_a_process(kind, value)
        world, machine = self._world, self._world.machine
        machine.history.append((machine.steps, "FAULT", kind, value % 97))
        if kind in (*_OF_A_STATEMENT, "refuse"):
            kinds = ("connect", "ask") if kind == "refuse" else ("db",)
            actors = [one for one in machine.ready if isinstance(one, Actor) and one.kind in kinds]
            if not actors:
                return False
            actors[value % len(actors)].fate = kind
        elif kind in ("database down", "broker down"):
            what: Any = world.server if kind == "database down" else world.broker
            if what.is_down:
                return False
            machine.noted(kind)
            what.stop()
            machine.after(_OUTAGES_SECONDS[value % 3], None, f"end of {kind}", what.start)
        elif kind == "copy":
            return world.clients.copy(None, value)
        elif kind == "join":
            if len(world.roles) >= _MOST_PROCESSES:
                return False
            make: Callable[[Any, str], Role] = Bridge if value % 3 == 0 else Consumer
            world.birth(f"{'bridge' if make is Bridge else 'consumer'}-more-{len(world.roles)}", make)
        else:
            world.have_calls_fail(1 + value % 3)
        return True

    def _befall_a_process(self, kind: str, value: int) -> bool:
        world, machine = self._world, self._world.machine
        roles = [role for role in world.roles.values() if role.process.alive]
        if not roles:
            return False
        role = roles[value % len(roles)]
        value //= len(roles)
        machine.history.append((machine.steps, "FAULT", kind, role.process.name))
        if kind == "kill":
            world.kill(role)
        elif kind == "pause":
            if role.process.paused:
                return False
            seconds = _PAUSES_SECONDS[value % len(_PAUSES_SECONDS)]
            machine.pause(role.process)
            machine.after(seconds, None, f"{role.process.name} goes on", lambda: machine.resume(role.process))
        elif kind == "stop":
            role.stop()
        else:
            world.is_skewed = True
            role.process.skew_seconds = _SKEWS_SECONDS[value % 4]
        return True
