"""The call itself, as its agent received it: envelope, id and credentials."""

from __future__ import annotations

from harness.checkers.checker import Checker
from harness.checkers.view import views
from harness.history import History
from harness.verdict import Finding


def _envelopes(history: History) -> list[Finding]:
    """A call that is no JSON-RPC request of the contract's form, or whose id is no task's (AGT-01).

    Sound because the agents are the harness's own, and hold each call to what the clause says and to nothing else: members
    beyond it are let be. That an id is no task's is said only when all topics were read to their ends and nothing kept the
    harness from looking, so that every task that was published has been seen, whoever published it.
    """
    seen = views(history)
    if not seen.plays("bridge"):
        return []
    found = []
    is_complete = seen.is_drained and not any(True for _ in history.of("gap"))
    known = {
        event["value"].get("task_id")
        for event in history.of("message")
        if event["topic"] in ("tasks", "dead_letters") and isinstance(event["value"], dict)
    }
    for call, _ in seen.calls:
        agent = call["agent"]
        if call["breach"] is not None:
            explanation = f"a call to agent {agent} is not what the contract says: {call['breach']}"
            found.append(Finding("envelopes", "AGT-01", "malformed call", explanation, (call.seq,), call.run))
        elif is_complete and call["task_id"] not in known:
            explanation = f"a call to agent {agent} has the id {call['task_id']!r}, and no task has that id"
            found.append(Finding("envelopes", "AGT-01", "id of no task", explanation, (call.seq,), call.run))
    return found


def _credentials(history: History) -> list[Finding]:
    """A call that does not show what its agent's record says (AGT-18).

    Sound because an agent of the harness demands exactly what stands in its record, which the history tells; agents that the
    subject has no record of are left out.
    """
    seen = views(history)
    if not seen.plays("bridge"):
        return []
    unknown = {event["agent"] for event in history.of("agent") if not event["registered"]}
    return [
        Finding(
            "credentials",
            "AGT-18",
            "credentials not shown",
            f"a call to agent {call['agent']} was refused, since its record was not followed: {call['lacking']}",
            (call.seq,),
            call.run,
        )
        for call, _ in seen.calls
        if call["lacking"] is not None and call["agent"] not in unknown
    ]


CHECKERS = (
    Checker(
        "envelopes", "A call is a JSON-RPC request as the contract says.", ("AGT-01",), _envelopes, ("agent", "kafka")
    ),
    Checker("credentials", "A call shows what its agent's record says.", ("AGT-18",), _credentials, ("agent",)),
)
