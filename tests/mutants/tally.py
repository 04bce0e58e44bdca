"""What came of mutants, impostors and variants: values, and whether they are good enough. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

LEAST_KILLED_BY_THEIR_CLAUSE = 0.9
LEAST_FAILED_OF_AN_IMPOSTOR = 0.95


@dataclass(frozen=True, slots=True)
class Judged:
    """One verdict: `clauses` are those that the scenario binds, `broken` those that findings name."""

    scenario: str
    clauses: tuple[str, ...]
    broken: tuple[str, ...]
    verdict: str
    reason: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Fate:
    """What came of a mutant. `killer` is the first scenario that failed; None when it survives. `trouble` says why it could
    not be judged, such as that it did not start."""

    mutant: str
    clause: str
    wrong: str
    roles: tuple[str, ...]
    killer: Judged | None
    tried: tuple[Judged, ...]
    seconds: float
    trouble: str | None = None

    @property
    def is_killed(self) -> bool:
        return self.killer is not None

    @property
    def by_its_clause(self) -> bool:
        """Whether what killed it names its fault: the scenario binds the clause, or a finding names it."""
        killer = self.killer
        return killer is not None and (self.clause in killer.clauses or self.clause in killer.broken)

    @property
    def is_named(self) -> bool:
        """Whether a finding of what killed it names its clause itself."""
        return self.killer is not None and self.clause in self.killer.broken

    def without(self, suspects: frozenset[str]) -> Fate:
        """The same, when scenarios that the reference fails too are not believed."""
        return replace(self, killer=None) if self.killer is not None and self.killer.scenario in suspects else self


@dataclass(frozen=True, slots=True)
class Exposure:
    """What came of an impostor or a variant under the whole suite."""

    name: str
    about: str
    judged: tuple[Judged, ...]
    seconds: float
    trouble: str | None = None

    @property
    def claimed(self) -> frozenset[str]:
        """Clauses that a scenario had something to say about."""
        said = [one for one in self.judged if one.verdict in ("passed", "failed")]
        return frozenset(clause for one in said for clause in one.clauses)

    @property
    def failed(self) -> frozenset[str]:
        """Claimed clauses of which a scenario failed."""
        return frozenset(c for one in self.judged if one.verdict == "failed" for c in one.clauses) & self.claimed

    @property
    def share_failed(self) -> float:
        """From 0 to 1; 0 when nothing was said."""
        return len(self.failed) / len(self.claimed) if self.claimed else 0.0

    @property
    def alarms(self) -> tuple[Judged, ...]:
        """Scenarios that did not pass although they were supported."""
        return tuple(one for one in self.judged if one.verdict in ("failed", "unknown"))


@dataclass(frozen=True, slots=True)
class Tally:
    """All of a session. `suspects` are killers that the reference does not pass either."""

    fates: tuple[Fate, ...] = ()
    impostors: tuple[Exposure, ...] = ()
    variants: tuple[Exposure, ...] = ()
    suspects: frozenset[str] = frozenset()

    @property
    def survivors(self) -> tuple[Fate, ...]:
        return tuple(fate for fate in self.fates if not fate.is_killed)

    @property
    def share_by_their_clause(self) -> float:
        """Of all mutants, how many were killed by the clause that names their fault; 1 when there was none."""
        return sum(fate.by_its_clause for fate in self.fates) / len(self.fates) if self.fates else 1.0

    def shortcomings(self) -> list[str]:
        """A sentence for each thing that is not good enough; none when the suite has done what it must."""
        told = [f"{fate.mutant} survives: {fate.trouble or _tried(fate)}" for fate in self.survivors]
        if self.share_by_their_clause < LEAST_KILLED_BY_THEIR_CLAUSE:
            told.append(
                f"{self.share_by_their_clause:.0%} of the mutants were killed by the clause that names their fault,"
                f" at least {LEAST_KILLED_BY_THEIR_CLAUSE:.0%} are wanted"
            )
        for impostor in self.impostors:
            if impostor.trouble or impostor.share_failed <= LEAST_FAILED_OF_AN_IMPOSTOR:
                passed = ", ".join(sorted(impostor.claimed - impostor.failed))
                told.append(
                    f"{impostor.name} fails {impostor.share_failed:.1%} of what it claims: {impostor.trouble or passed}"
                )
        for variant in self.variants:
            if variant.trouble or not variant.claimed:
                told.append(f"{variant.name} was not judged: {variant.trouble or 'no scenario said anything'}")
            told += [f"{variant.name}: false alarm of {one.scenario}: {one.reason}" for one in variant.alarms]
        told += [
            f"{scenario} killed a mutant, and the reference does not pass it either"
            for scenario in sorted(self.suspects)
        ]
        return told


def _tried(fate: Fate) -> str:
    verdicts = sorted({one.verdict for one in fate.tried})
    return f"{len(fate.tried)} scenarios ({', '.join(verdicts) or 'none binds its clause or its area'})"


def suspects_among(controls: Sequence[Judged]) -> frozenset[str]:
    """Scenarios that the reference did not pass."""
    return frozenset(one.scenario for one in controls if one.verdict != "passed")
