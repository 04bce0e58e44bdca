"""Cases whose workflow breaks the contract in one way, drawn outside of a test: by the way, a seed, and nothing else."""

from __future__ import annotations

from functools import cache

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from harness.generation.cases import Case, Json
from harness.generation.invalid import Invalid, invalid_workflows
from harness.generation.workflows import Size

_SMALL_EXAMPLES = 24
_SMALL = Size(most_steps=3, deepest=2, longest_chain=2, odd_ids=False)


def drawn_flawed(way: str, via: str | None, number: int, size: Size, examples: int) -> list[Case]:
    """A few cases with this flaw, the simplest first; `via` is `rest` for a definition that is offered, None for a run. Equal
    arguments give equal cases. None at all where no definition of this size can be broken so."""
    found: list[Case] = []

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(invalid_workflows(size, (way,)))
    def each(invalid: Invalid) -> None:
        if invalid.way == way:
            found.append(_case(invalid, via))

    each()
    return found


@cache
def small_flawed(way: str, via: str | None) -> tuple[Case, ...]:
    """Cases of three steps or so with this flaw, the smallest first; always the same ones."""
    found = {case.key: case for case in drawn_flawed(way, via, 0, _SMALL, _SMALL_EXAMPLES)}
    return tuple(sorted(found.values(), key=lambda case: len(case.key)))


def _case(invalid: Invalid, via: str | None) -> Case:
    agents: dict[str, Json] = {}
    for step in invalid.definition["steps"].values():
        if isinstance(step.get("agent_name"), str):
            agents.setdefault(step["agent_name"], [{"ok": {}}])
    flaw = {"way": invalid.way, "clause": invalid.clause, "place": invalid.place}
    return Case(invalid.definition, agents, {}, (), via, flaw)
