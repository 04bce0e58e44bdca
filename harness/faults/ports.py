"""Ports that the broker advertises for listeners of its own for single processes, each a proxy's."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from harness.stack.ports import LOOPBACK, HeldPort

MOST_PROCESSES: Final = 8
"""How many processes of a subject can have proxies of their own; a broker's listeners are fixed when it starts."""


class FaultPorts:
    """A context manager that holds the ports for as long as a stack lives: pass `advertised` to it as its extra listeners."""

    def __init__(self, count: int = MOST_PROCESSES) -> None:
        self._held = {f"FAULT{number}": HeldPort(f"the fault proxy {number}") for number in range(1, count + 1)}

    @property
    def advertised(self) -> Mapping[str, str]:
        """Listener → the address that the broker says it has there."""
        return {name: f"{LOOPBACK}:{held.port}" for name, held in self._held.items()}

    def make_way(self, name: str) -> int:
        """The port of a listener's proxy, free to be listened on."""
        self._held[name].make_way()
        return self._held[name].port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for held in self._held.values():
            held.close()
