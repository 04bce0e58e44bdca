"""What a mutant is, and a variant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.mutants.patching import Patch

Role = Literal["api", "consumer", "bridge"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """The reference with one behaviour wrong.

    `wrong` says in a sentence what is; `clause` is the promise that names the fault; `roles` are the processes that it
    lives in, and `also` clauses that it breaks as well, whose scenarios are tried next. `scenarios` names scenarios
    that ought to kill it beyond those that bind the clause. `processes` is how many consumers it takes to show.
    """

    name: str
    wrong: str
    clause: str
    roles: tuple[Role, ...]
    patches: tuple[Patch, ...]
    also: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Variant:
    """The reference behaving unusually within the contract. `about` says in a sentence how, `legal` why it may."""

    name: str
    about: str
    legal: str
    roles: tuple[Role, ...]
    patches: tuple[Patch, ...]


def in_consumer(name: str, wrong: str, clause: str, *patches: Patch, also: tuple[str, ...] = ()) -> Mutant:
    """A mutant of the execution consumer."""
    return Mutant(name, wrong, clause, ("consumer",), patches, also)


def in_bridge(name: str, wrong: str, clause: str, *patches: Patch, also: tuple[str, ...] = ()) -> Mutant:
    """A mutant of the bridge."""
    return Mutant(name, wrong, clause, ("bridge",), patches, also)


def in_api(name: str, wrong: str, clause: str, *patches: Patch, also: tuple[str, ...] = ()) -> Mutant:
    """A mutant of the API."""
    return Mutant(name, wrong, clause, ("api",), patches, also)


def in_all_that_load(name: str, wrong: str, clause: str, *patches: Patch, also: tuple[str, ...] = ()) -> Mutant:
    """A mutant of what reads definitions, which API and consumer share."""
    return Mutant(name, wrong, clause, ("api", "consumer"), patches, also)
