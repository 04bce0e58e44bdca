"""The calls of a scenario's agents, written into its history."""

from __future__ import annotations

from typing import Any

from harness.agents import Call, CallListener
from harness.observer.parsing import loads
from harness.observer.scopes import Scopes


class AgentWatch(CallListener):
    """Hears of every call that reaches an agent of the harness."""

    def __init__(self, scopes: Scopes) -> None:
        self._scopes = scopes

    def begun(self, call: Call) -> None:
        """Write the call down."""
        scope = self._scopes.of_agent(call.agent)
        if scope is None:
            return
        scope.writer.add(
            "agent",
            "call",
            self._scopes.run_of_task(call.task_id, scope),
            call=call.number,
            agent=scope.agents[call.agent],
            task_id=call.task_id,
            idempotency_key=call.idempotency_key,
            correlation_id=call.correlation_id,
            input=call.input_data,
            headers=dict(call.headers),
            body=call.body.decode("utf-8", "backslashreplace") if call.breach is not None else None,
            **({"breach": call.breach.sentence} if call.breach is not None else {}),
            **({"lacking": call.lacking} if call.lacking is not None else {}),
        )

    def ends(self, call: Call, ending: str, status: int | None, body: bytes | None) -> None:
        """Write down how it ends."""
        scope = self._scopes.of_agent(call.agent)
        if scope is None:
            return
        output, error = _read(body, status)
        scope.writer.add(
            "agent",
            "answer",
            self._scopes.run_of_task(call.task_id, scope),
            call=call.number,
            agent=scope.agents[call.agent],
            task_id=call.task_id,
            ending=ending,
            status=status,
            output=output,
            error=error,
        )


def _read(body: bytes | None, status: int | None) -> tuple[Any, Any]:
    """(result, error) of an answer; what is no JSON-RPC is an error."""
    if body is None:
        return None, None
    try:
        answer = loads(body)
    except ValueError:
        answer = None
    if status == 200 and isinstance(answer, dict) and ("result" in answer or "error" in answer):
        return answer.get("result"), answer.get("error")
    return None, body.decode("utf-8", "backslashreplace")
