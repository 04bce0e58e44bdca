"""Calls of agents as crossings: the harness's own agents ask here before a call arrives and before it is answered."""

from __future__ import annotations

from typing import Final

from harness.agents.server import Meddling
from harness.faults.proxy.gate import Decision, Passage
from harness.faults.session import FaultPoints

_STATUS: Final = {"error_retriable": 503, "error_lost": 503, "error_fatal": 400}


class CallMeddler:
    """Comes between a subject's bridge and the agents; an agent of the world is called `<name>-<unique>`."""

    def __init__(self, points: FaultPoints) -> None:
        self._points = points

    async def arrives(self, agent: str, peer_port: int) -> Meddling:
        """A call has arrived; the agent has not heard of it."""
        return _meddling(await self._points.call_arrives(agent.rpartition("-")[0] or agent, peer_port))

    async def is_answered(self, token: object) -> Meddling:
        """The agent has answered; the bridge has not heard of it."""
        return _meddling(await self._points.call_is_answered(token))


def _meddling(decision: Decision) -> Meddling:
    match decision.passage:
        case Passage.PASS:
            return Meddling(token=decision.token)
        case Passage.CLOSE:
            return Meddling(is_lost=True)
        case Passage.REFUSE:
            assert decision.error is not None
            return Meddling(status=_STATUS[decision.error])
