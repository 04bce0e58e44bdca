"""The calls of agents that all runs share: each is written into the history of the run whose marker its input bears."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from harness.agents import Call, CallListener
from harness.agents.ledger import Ending
from harness.observer import Scope, Scopes
from harness.observer.agents import AgentWatch
from harness.soak.ledger import Ledger
from harness.soak.mix import MARKER


class _Of:
    """The scopes, as if the agent were that of one run alone."""

    def __init__(self, scopes: Scopes, scope: Scope) -> None:
        self._scopes = scopes
        self._scope = scope

    def of_agent(self, _: str) -> Scope:
        return self._scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scopes, name)


class CallsOfRuns(CallListener):
    """`of_marker` gives the scope of a run under way. Memory is bounded by the calls that are open."""

    def __init__(self, scopes: Scopes, ledger: Ledger, of_marker: Mapping[str, Scope]) -> None:
        self._scopes = scopes
        self._ledger = ledger
        self._of_marker = of_marker
        self._lock = threading.Lock()
        self._count = 0
        self._open: dict[int, tuple[Call, Scope]] = {}

    def begun(self, call: Call) -> None:
        """Write it down, under a number that no other call has, whatever the server's own ledger forgets."""
        marker = call.input_data.get(MARKER) if isinstance(call.input_data, Mapping) else None
        scope = self._of_marker.get(marker) if isinstance(marker, str) else None
        with self._ledger.lock:
            self._ledger.counts.calls += 1
            self._ledger.counts.calls_again += call.nth_of_task > 1
            self._ledger.counts.calls_after_the_end += scope is None
        if scope is None or call.agent not in scope.agents:
            return
        with self._lock:
            self._count += 1
            known = replace(call, number=self._count)
            self._open[id(call)] = (known, scope)
        self._watch(scope).begun(known)

    def ends(self, call: Call, ending: Ending, status: int | None, body: bytes | None) -> None:
        """Write down how it ends."""
        with self._lock:
            found = self._open.pop(id(call), None)
        # A run that has been judged meanwhile has no history any more.
        if found is not None and found[0].agent in found[1].agents:
            self._watch(found[1]).ends(found[0], ending, status, body)

    def _watch(self, scope: Scope) -> AgentWatch:
        return AgentWatch(cast(Scopes, _Of(self._scopes, scope)))
