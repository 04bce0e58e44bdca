"""The numbers that a simulated world is decided by: drawn from a seed, or taken from an earlier world."""

from __future__ import annotations

import random
from collections.abc import Mapping

_RANGE = 1 << 20


class Choices:
    """One decision after another; 0 always is the calm way to go on.

    Only what is not calm is remembered (`taken`: position of the decision → number), so that leaving an entry out makes
    one decision calm and moves no other: that is how a failing schedule is made smaller.

    Args:
        seed: of the numbers.
        calm: probability that a decision is calm, from 0 to 1.
        replay: take these decisions instead, all others being calm.
    """

    def __init__(self, seed: int, calm: float, replay: Mapping[int, int] | None = None) -> None:
        self._random = random.Random(seed)
        self._calm = calm
        self._replay = replay
        self.position = 0
        self.taken: dict[int, int] = {}

    def next(self) -> int:
        """The next decision: 0, or a number from 1 to 2**20 to choose another way by."""
        self.position = position = self.position + 1
        if self._replay is not None:
            value = self._replay.get(position, 0)
        elif self._random.random() < self._calm:
            return 0
        else:
            value = 1 + int(self._random.random() * _RANGE)
        if value:
            self.taken[position] = value
        return value

    def below(self, count: int) -> int:
        """A decision among `count` ways, the first being the calm one."""
        value = self.next() if count > 1 else 0
        return value % count if value else 0
