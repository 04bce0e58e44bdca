"""Every mutant and variant, and the impostors, in one place."""

from __future__ import annotations

from collections.abc import Mapping

from tests.mutants.catalogue.api import API
from tests.mutants.catalogue.bridge import BRIDGE
from tests.mutants.catalogue.delivery import CONSUMER
from tests.mutants.catalogue.flow import FLOW
from tests.mutants.catalogue.runs import RUNS
from tests.mutants.catalogue.variants import VARIANTS
from tests.mutants.mutant import Mutant, Variant

MUTANTS: tuple[Mutant, ...] = FLOW + RUNS + CONSUMER + BRIDGE + API

IMPOSTORS: Mapping[str, str] = {
    "never-answers": "It joins the group and does nothing at all.",
    "completes-at-once": "It writes COMPLETED at once and calls no agent.",
    "accepts-and-drops": "It sets the run RUNNING, commits the offset, and forgets it.",
    "echoes-its-input": "It writes every step of the chain as COMPLETED with its input as output, and calls no agent.",
}
"""Name → what it does. Each is a program of its own under `tests/mutants/impostors`."""

__all__ = ["IMPOSTORS", "MUTANTS", "VARIANTS", "entry"]


def entry(name: str) -> Mutant | Variant:
    """The mutant or variant of a name. Raises KeyError that lists the names."""
    found: list[Mutant | Variant] = [*MUTANTS, *VARIANTS]
    for one in found:
        if one.name == name:
            return one
    raise KeyError(f"no mutant or variant is called {name!r}; they are {', '.join(m.name for m in found)}")
