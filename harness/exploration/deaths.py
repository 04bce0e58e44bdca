"""A failure that was seen while something was done to processes, and does not come by itself: a death in its own timeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from harness.exploration.fleet import Landed
from harness.exploration.shrinking import Shrunk, Signature, clauses_in, reduced, replay, signature
from harness.generation import Case
from harness.generation.making import Facts
from harness.history import Event
from harness.oracle import Undecided
from harness.runner.bench import Bench
from harness.shrinking.mending import with_changes

_FELT: Final = ("consumer", "bridge")
_ENDINGS: Final = frozenset({"killed", "stopped", "exited"})
_STEPS: Final = {
    "a": {"id": "a", "agent_name": "w1", "next_step": "b"},
    "b": {"id": "b", "agent_name": "w2"},
}
SIMPLEST: Final = Case(
    {"name": "main", "start_step": "a", "steps": _STEPS}, {"w1": [{"ok": {}}], "w2": [{"ok": {}}]}, {}
)
"""What a death does to a run has little to do with what else is in its workflow."""


def shrink_with_deaths(
    failing: Landed, wanted: Signature, bench: Bench, seconds: float, told: Callable[[str], None] = lambda _: None
) -> Shrunk:
    """The same for what failed while something was done to processes, and does not fail by itself: a death is put into its own
    timeline, at one call of an agent after another, until it fails there."""
    until = time.monotonic() + seconds
    tried = 0
    for case in _with_deaths(failing.case, roles_met(failing.events)):
        if time.monotonic() > until:
            break
        tried += 1
        again = replay(case, bench, clauses_in(wanted))
        if again.landed.problem is None and signature(again.judged) & wanted:
            told(f"it fails with {_told_death(case)}; smaller ones are tried")
            smallest, flown = reduced(again, wanted, bench, until)
            return Shrunk(smallest, tried + flown, 1, tried)
    return Shrunk(None, tried, 0, tried)


def _with_deaths(case: Case, roles: Sequence[str]) -> Iterator[Case]:
    """While an agent is held, so that something is in flight for sure, in the simplest run and in this one; and at a call, where
    no agent can be held."""
    for one in (SIMPLEST, case):
        try:
            known = Facts(one.workflow, one.input, one.agents, one.allowed())
        except Undecided:
            continue
        for step, agents in known.can_be_held().items():
            for role in roles:
                death = ({"when": known.has_begun(step), "kill": role}, {"start": role})
                changed = with_changes(one, agents=agents, timeline=(*death, {"release": known.agent_of(step)}))
                if changed.doubt is None:
                    yield changed
    for agent in case.agents:
        for role in roles:
            when = {"agent": agent, "calls": {"at_least": 1}}
            changed = with_changes(case, timeline=({"when": when, "kill": role}, {"start": role}, *case.timeline))
            # An agent that need not be called would have a process wait for its death for ever.
            if changed.doubt is None:
                yield changed


def roles_met(events: Sequence[Event]) -> list[str]:
    """The roles whose processes were ended meanwhile; all that a run feels, when none is told of."""
    ended = [event["process"] for event in events if event.source == "process" and event.kind in _ENDINGS]
    met = dict.fromkeys(str(process).rsplit("-", 1)[0] for process in ended)
    return [role for role in met if role in _FELT] or list(_FELT)


def _told_death(case: Case) -> str:
    act = case.timeline[0]
    return f"the death of the {act['kill']} at the first call of {act['when']['agent']}"
