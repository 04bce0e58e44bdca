"""Which offset of a partition may be committed while messages end in any order. Pure."""

from __future__ import annotations

from collections import deque


class LowWatermark:
    """Begun and finished offsets of one partition during one assignment of it.

    Offsets begin in ascending order, with gaps where the log has them; the watermark is the offset before which
    everything that began has finished.
    """

    __slots__ = ("_finished", "_outstanding")

    def __init__(self) -> None:
        self._outstanding: deque[int] = deque()
        self._finished: set[int] = set()

    def begin(self, offset: int) -> bool:
        """A message was taken. False, and nothing noted, when it is not above all that are outstanding: the log has
        begun anew, and its offsets say nothing about those of the old one."""
        if self._outstanding and offset <= self._outstanding[-1]:
            return False
        self._outstanding.append(offset)
        return True

    def finish(self, offset: int) -> int | None:
        """All effects of a message are durable; returns the next offset to commit when the watermark rose."""
        outstanding, finished = self._outstanding, self._finished
        if not outstanding or offset != outstanding[0]:
            finished.add(offset)
            return None
        last = outstanding.popleft()
        while outstanding and outstanding[0] in finished:
            last = outstanding.popleft()
            finished.remove(last)
        return last + 1

    @property
    def outstanding(self) -> int:
        """Messages that began and are not below the watermark."""
        return len(self._outstanding)
