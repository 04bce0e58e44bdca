"""Which outputs a step can see: decided on the definition alone, before anything runs (contract section 4)."""

from __future__ import annotations

from system.engine.definition import ConditionalStep, Definition, ForkJoinStep, LoopStep, ParallelStep
from system.engine.references import Reference
from system.engine.values import quoted


def unreachable_reason(definition: Definition, step_id: str, reference: Reference) -> str | None:
    """Why the step cannot have what the reference names, or None when it can."""
    if reference.source == "input":
        return None
    if reference.source == "loop":
        inside = any(isinstance(definition.steps[a].kind, LoopStep) for a in definition.ancestors(step_id))
        return None if inside else f"step {quoted(step_id)} is in no loop"
    return _order_reason(definition, step_id, reference.name)


def _order_reason(definition: Definition, step_id: str, wanted: str) -> str | None:
    if wanted == step_id:
        return "a step has no output before it has run"
    mine = (step_id, *definition.ancestors(step_id))
    theirs = (wanted, *definition.ancestors(wanted))
    if wanted in mine:
        return f"step {quoted(step_id)} runs as part of {quoted(wanted)}, which has not ended by then"
    if step_id in theirs:
        return f"step {quoted(wanted)} runs as part of {quoted(step_id)}, which has not begun by then"
    common = next((ancestor for ancestor in theirs if ancestor in mine), None)
    for ancestor in theirs[1 : theirs.index(common) if common is not None else None]:
        if isinstance(definition.steps[ancestor].kind, LoopStep):
            return (
                f"step {quoted(wanted)} runs once per iteration of {quoted(ancestor)}; "
                f"outside of it take ${{{ancestor}.output.iterations[n]}}"
            )
    if common is None:
        earlier = definition.chain_position[theirs[-1]] < definition.chain_position[mine[-1]]
        return None if earlier else f"step {quoted(wanted)} runs after step {quoted(step_id)}"
    return _sibling_reason(definition, common, mine[mine.index(common) - 1], theirs[theirs.index(common) - 1])


def _sibling_reason(definition: Definition, parent: str, mine: str, theirs: str) -> str | None:
    kind = definition.steps[parent].kind
    here, there = definition.steps[mine].slot, definition.steps[theirs].slot
    assert here is not None
    assert there is not None
    if isinstance(kind, ParallelStep) or (isinstance(kind, ForkJoinStep) and here.branch != there.branch):
        return f"step {quoted(theirs)} runs beside step {quoted(mine)}, not before it"
    if isinstance(kind, ConditionalStep):
        return f"steps {quoted(mine)} and {quoted(theirs)} never run in the same execution of {quoted(parent)}"
    return None if there.index < here.index else f"step {quoted(theirs)} runs after step {quoted(mine)}"
