"""The ledger of calls: what every agent was asked, and how each call ended. Safe to use from several threads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Literal

from harness.agents.envelope import Breach
from harness.agents.script import Action

Ending = Literal["answered", "reset", "caller left"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call as an agent saw it. Times: `*_monotonic` in seconds of the monotonic clock, `*_wall` of the epoch.

    `breach` is what of its envelope the contract does not allow (AGT-01), `lacking` which credentials it did not show
    (AGT-18), in a sentence; such a call is refused, and `action` is what it would have got.
    """

    number: int
    agent: str
    nth_of_agent: int
    nth_of_task: int
    task_id: Any
    idempotency_key: str | None
    correlation_id: str | None
    headers: Mapping[str, str]
    body: bytes
    input_data: Any
    action: Action
    begun_monotonic: float
    begun_wall: float
    breach: Breach | None = None
    lacking: str | None = None
    ended_monotonic: float | None = None
    ended_wall: float | None = None
    ending: Ending | None = None
    status: int | None = None


class Ledger:
    """Calls in the order in which they began; grows until `clear` or `let_go`, up to a limit that is an error to pass.

    With `keep` false, nothing is kept, for agents that stay up for good and are judged by nobody.
    """

    def __init__(self, *, keep: bool = True, limit: int = 5_000_000) -> None:
        self._keep = keep
        self._limit = limit
        self._changed = threading.Condition()
        self._calls: dict[int, Call] = {}
        self._begun = 0
        self._of_agent: Counter[str] = Counter()
        self._of_task: Counter[tuple[str, Any]] = Counter()

    def begin(self, agent: str, task_id: Any, make: Callable[[int, int, int], Call]) -> Call:
        """Note a call; `make` gets its number and how many calls its agent and its task have had with it."""
        if not self._keep:
            return make(0, 1, 1)
        with self._changed:
            if len(self._calls) >= self._limit:
                raise OverflowError(f"the ledger holds {self._limit} calls already; clear it between runs")
            self._of_agent[agent] += 1
            self._of_task[agent, task_id] += 1
            call = make(self._begun, self._of_agent[agent], self._of_task[agent, task_id])
            self._calls[call.number] = call
            self._begun += 1
            self._changed.notify_all()
            return call

    def end(self, call: Call, ending: Ending, status: int | None) -> None:
        """Note how a call ended; a call from before the last `clear` is let go."""
        with self._changed:
            if self._calls.get(call.number) is call:
                self._calls[call.number] = replace(
                    call, ending=ending, status=status, ended_monotonic=time.monotonic(), ended_wall=time.time()
                )
                self._changed.notify_all()

    def calls(self, agent: str | None = None) -> list[Call]:
        """A copy of what is noted, of one agent or of all."""
        with self._changed:
            return [call for call in self._calls.values() if agent is None or call.agent == agent]

    def clear(self) -> None:
        """Forget all calls; counting begins anew."""
        with self._changed:
            self._calls.clear()
            self._begun = 0
            self._of_agent.clear()
            self._of_task.clear()

    def let_go(self, begun_before_monotonic: float) -> None:
        """Forget the oldest calls: those that have ended and began before then. How many calls an agent and a task had is
        still known."""
        with self._changed:
            old = takewhile(lambda call: call.begun_monotonic < begun_before_monotonic, self._calls.values())
            for number in [call.number for call in old if call.ending is not None]:
                del self._calls[number]

    def wait_for(self, predicate: Callable[[Sequence[Call]], bool], deadline_seconds: float) -> list[Call]:
        """The calls, once the predicate holds of them.

        Raises:
            TimeoutError: it did not hold in time; says how many calls each agent has had.
        """
        until = time.monotonic() + deadline_seconds
        with self._changed:
            while not predicate(list(self._calls.values())):
                if not self._changed.wait(until - time.monotonic()):
                    if predicate(list(self._calls.values())):
                        break
                    counts = ", ".join(f"{agent}: {count}" for agent, count in self._of_agent.items()) or "none"
                    raise TimeoutError(f"the ledger was not as expected within {deadline_seconds} s; calls: {counts}")
            return list(self._calls.values())
