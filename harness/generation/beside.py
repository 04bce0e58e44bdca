"""Another run of the same workflow beside the one that a timeline is about: what comes of one changes nothing for the other
(ISO-01, ISO-05)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.generation.inputs import some_input
from harness.generation.making import Act, Changed, Making

OTHER = "other"


def neighbour(making: Making) -> Changed | None:
    """A neighbour that has an input of its own, or that fails, or is cancelled, while an agent of the run is held."""
    if not making.is_pure:
        return None
    held = making.can_be_held()
    step = making.choose.one_of(list(held)) if held else None
    for ends in (_failing, _cancelled) if making.choose.rarely(2) else (_cancelled, _failing):
        if step is not None and not making.choose.rarely(3):
            acts = ends(making, step)
            if making.is_sure(held[step], acts):
                return making.workflow, held[step], acts
    acts = ({"execute": {"as": OTHER, "input": some_input(making.choose, making.workflow)}},)
    return making.workflow, making.agents, acts


def _failing(making: Making, step: str) -> tuple[Act, ...]:
    """It finds nothing of what its steps refer to."""
    return _while_held(making, step, {}, "FAILED", ())


def _cancelled(making: Making, step: str) -> tuple[Act, ...]:
    """It comes as far as the run itself, and is cancelled there."""
    return _while_held(making, step, making.given, "CANCELLED", ({"cancel": OTHER},))


def _while_held(
    making: Making, step: str, given: Mapping[str, Any], status: str, acts: tuple[Act, ...]
) -> tuple[Act, ...]:
    asked = {"as": OTHER, **({"input": given} if given else {})}
    return (
        {"when": making.has_begun(step), "execute": asked},
        *acts,
        {"when": {"run": OTHER, "is": status}, "release": making.agent_of(step)},
    )
