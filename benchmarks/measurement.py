"""What was measured, and what follows from several measurements: medians, spreads and paired ratios. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class Measurement:
    """One measure of one contender in one repetition.

    Attributes:
        measure: `latency`, `backlog` or `submission`.
        values: by name with the unit last, such as `p50_ms` or `runs_per_second`.
        cpu_ms_per_run: by role, the servers and the agent among them.
        peak_mib: by role, the largest resident memory that was seen.
        foreign_cores: how many cores were busy, on average, with what is none of ours.
    """

    contender: str
    measure: str
    repetition: int
    values: Mapping[str, float]
    cpu_ms_per_run: Mapping[str, float]
    peak_mib: Mapping[str, float]
    foreign_cores: float


@dataclass(frozen=True)
class Spread:
    """The middle of some values, and how far they lie apart."""

    median: float
    lowest: float
    highest: float
    count: int = field(default=1)

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Raises ValueError for no values at all."""
        if not values:
            raise ValueError("the spread of no values was asked for; expected one at least")
        return cls(statistics.median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not below `percent` of all values (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("a percentile of no values was asked for; expected one at least")
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def paired_ratios(numerators: Mapping[int, float], denominators: Mapping[int, float]) -> list[float]:
    """The ratio in each repetition that both have, so that what slowed both down cancels out."""
    return [numerators[key] / denominators[key] for key in sorted(numerators) if denominators.get(key)]
