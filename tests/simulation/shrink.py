"""A failing world made smaller: fewer runs and acts, fewer processes, and decisions turned calm, while it still fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.simulation.load import Shape
from tests.simulation.world import Lived, live


def kind_of(lived: Lived) -> str | None:
    """Which property was hurt first."""
    return lived.violations[0].partition(":")[0] if lived.violations else None


def shrunk(failed: Lived, shape: Shape, *, most_worlds: int = 400) -> tuple[Lived, Shape]:
    """The smallest failing world that was found within so many tries, and its shape."""
    search = _Search(failed, shape, most_worlds)
    before = -1
    while search.size != before:
        before = search.size
        search.fewer_decisions()
        while any(search.attempt(smaller, search.best.taken) for smaller in _smaller(search.shape)):
            pass
    return search.best, search.shape


class _Search:
    def __init__(self, failed: Lived, shape: Shape, most_worlds: int) -> None:
        self.best = failed
        self.shape = shape
        self._kind = kind_of(failed)
        self._left = most_worlds

    @property
    def size(self) -> int:
        return (
            len(self.best.taken)
            + 10 * len(self.shape.runs)
            + sum(len(run.acts) for run in self.shape.runs) * 5
            + self.shape.consumers
            + self.shape.bridges
        )

    def attempt(self, shape: Shape, taken: Mapping[int, int]) -> bool:
        """Take a world instead of the best so far if it fails in the same way."""
        if self._left <= 0:
            return False
        self._left -= 1
        lived = live(self.best.seed, shape=shape, replay=taken)
        if kind_of(lived) != self._kind:
            return False
        self.best, self.shape = lived, shape
        return True

    def fewer_decisions(self) -> None:
        """Turn decisions calm: halves first, then quarters, down to single ones."""
        size = max(1, len(self.best.taken) // 2)
        while size >= 1 and self._left > 0:
            positions = sorted(self.best.taken)
            for start in range(0, len(positions), size):
                dropped = set(positions[start : start + size])
                kept = {at: value for at, value in self.best.taken.items() if at not in dropped}
                if len(kept) < len(self.best.taken):
                    self.attempt(self.shape, kept)
            size //= 2


def _smaller(shape: Shape) -> Iterator[Shape]:
    for at in reversed(range(len(shape.runs))):
        if len(shape.runs) > 1:
            yield replace(shape, runs=shape.runs[:at] + shape.runs[at + 1 :])
    for at, run in enumerate(shape.runs):
        if run.acts:
            yield replace(shape, runs=(*shape.runs[:at], replace(run, acts=run.acts[:-1]), *shape.runs[at + 1 :]))
        if run.at_seconds:
            yield replace(shape, runs=(*shape.runs[:at], replace(run, at_seconds=0.0), *shape.runs[at + 1 :]))
    if shape.consumers > 1:
        yield replace(shape, consumers=shape.consumers - 1)
    if shape.bridges > 1:
        yield replace(shape, bridges=1)
    if shape.partitions > 1:
        yield replace(shape, partitions=1)
