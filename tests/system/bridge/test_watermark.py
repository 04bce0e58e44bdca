"""The low-watermark never passes a message that has not ended, and never stays behind one that has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from system.bridge.watermark import LowWatermark


@given(st.sets(st.integers(0, 200), min_size=1), st.randoms(use_true_random=False))
def test_after_every_ending_the_watermark_is_right(offsets: set[int], random: object) -> None:
    watermark = LowWatermark()
    begun = sorted(offsets)
    for offset in begun:
        assert watermark.begin(offset)
    order = list(begun)
    random.shuffle(order)  # type: ignore[attr-defined]
    mark, ended = None, set()
    for offset in order:
        ended.add(offset)
        risen = watermark.finish(offset)
        mark = risen if risen is not None else mark
        done = 0
        while done < len(begun) and begun[done] in ended:
            done += 1
        assert mark == (begun[done - 1] + 1 if done else None)
        assert watermark.outstanding == len(begun) - done


def test_an_offset_below_what_is_outstanding_is_not_tracked() -> None:
    """A log that begins anew must not let old and new offsets stand in for each other."""
    watermark = LowWatermark()
    assert watermark.begin(10)
    assert not watermark.begin(10)
    assert not watermark.begin(3)
    assert watermark.finish(10) == 11
    assert watermark.begin(3)
    assert watermark.finish(3) == 4
