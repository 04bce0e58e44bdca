"""Which scenarios a mutant has to face, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from tests.mutants.mutant import Mutant

_KIN = (
    frozenset(("LOP", "PAR", "FJN", "CON", "CMP", "FAI")),
    frozenset(("REF", "CND", "CON", "CMP", "DEF")),
    frozenset(("CAN", "RES", "TBL", "OBS")),
    frozenset(("DEL", "GRP", "RES", "ISO", "MSG")),
    frozenset(("API", "DEF", "MSG")),
    frozenset(("AGT", "MSG", "DEL")),
)
"""Areas whose scenarios meet the same parts of an executor."""


class Binding(Protocol):
    """What choosing needs of a scenario."""

    @property
    def id(self) -> str: ...
    @property
    def clauses(self) -> tuple[str, ...]: ...
    @property
    def alone(self) -> bool: ...
    @property
    def draws(self) -> Mapping[str, Any]: ...


S = TypeVar("S", bound=Binding)


def in_order(mutant: Mutant, scenarios: Iterable[S]) -> list[S]:
    """Scenarios that may kill a mutant, the likeliest first: those that bind its clause, those it names, those that bind
    what it breaks as well, those of its clause's area, those of related areas. Within each, the quick ones first."""
    ranked = [
        # What is drawn runs many times, and once more for each step to the smallest failure.
        (_rank(mutant, scenario), scenario.alone, bool(scenario.draws), scenario.id, scenario)
        for scenario in scenarios
    ]
    return [found[-1] for found in sorted((r for r in ranked if r[0] is not None), key=lambda r: r[:-1])]


def _rank(mutant: Mutant, scenario: Binding) -> int | None:
    if mutant.clause in scenario.clauses:
        # A scenario that binds few clauses looks at this one most closely.
        return min(len(scenario.clauses), 9)
    if any(scenario.id == name or scenario.id.startswith(f"{name}[") for name in mutant.scenarios):
        return 10
    if set(mutant.also).intersection(scenario.clauses):
        return 11
    areas = {clause.partition("-")[0] for clause in scenario.clauses}
    own = mutant.clause.partition("-")[0]
    if own in areas:
        return 12
    return 13 if any(own in kin and kin & areas for kin in _KIN) else None


def unbound(mutants: Sequence[Mutant], scenarios: Sequence[Binding]) -> list[Mutant]:
    """Mutants whose clause no scenario binds."""
    bound = {clause for scenario in scenarios for clause in scenario.clauses}
    return [mutant for mutant in mutants if mutant.clause not in bound]
