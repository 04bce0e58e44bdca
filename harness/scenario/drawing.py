"""Examples of a scenario's draws, one after another: the same seed draws the same values, wherever and whenever.

Scenarios are carried out side by side, and drawn one at a time: Hypothesis parses source text, which Python before 3.13 cannot
do in two threads at once ("AST constructor recursion depth mismatch", CPython's issue 106905).

Hypothesis mixes constants into what it draws that it finds in the source of whatever local modules happen to be loaded, so
that one seed would draw one thing in `pytest`, another in `plumbline check`, and a third once a further module was imported.
They are left out while a scenario is drawn.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.scenario import draws

_turn = threading.Lock()
"""Held by whichever thread Hypothesis works in, and by nobody while an example is carried out."""

_under_way = 0
_kept: dict[type, Any] = {}


def each_example(
    written: Mapping[str, Any], *, examples: int, seed: int, attempt: Callable[[dict[str, Any]], None]
) -> None:
    """Call `attempt` with the values of each example, at most `examples` of them. When it raises an Exception, smaller
    values are tried, and what the smallest raised is raised; any other BaseException ends it at once.

    Raises:
        HypothesisException: nothing can be drawn so.
    """
    from hypothesis.errors import HypothesisDeprecationWarning

    # While values are drawn, other threads (those that observe, clients of Kafka) may draw from the one random generator of the
    # process, and Hypothesis takes that for a strategy which does so. Where warnings are errors, an example would fail by it.
    warnings.filterwarnings("ignore", "Do not use the `random` module", HypothesisDeprecationWarning)
    with _turn, _constants_of_modules_left_out():
        _examples(written, examples, seed, attempt)()


def _examples(
    written: Mapping[str, Any], examples: int, seed: int, attempt: Callable[[dict[str, Any]], None]
) -> Callable[[], None]:
    import hypothesis
    from hypothesis import HealthCheck, Phase, given, settings

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=hypothesis.Verbosity.quiet,
    )
    @given(drawn=draws.strategy(written))
    def one(drawn: dict[str, Any]) -> None:
        _turn.release()
        try:
            attempt(drawn)
        finally:
            _turn.acquire()

    return one


@contextmanager
def _constants_of_modules_left_out() -> Iterator[None]:
    """Several scenarios are under way at the same time: the first one leaves the constants out, the last one lets them in."""
    global _under_way
    from hypothesis.internal.conjecture import providers
    from hypothesis.internal.constants_ast import Constants

    kind: Any = providers.HypothesisProvider
    if "_local_constants" not in kind.__dict__ and _under_way == 0:
        # A release of Hypothesis without them.
        yield
        return
    if _under_way == 0:
        _kept[kind] = kind.__dict__["_local_constants"]
        kind._local_constants = Constants()
        providers.CONSTANTS_CACHE.cache.clear()
    _under_way += 1
    try:
        yield
    finally:
        _under_way -= 1
        if _under_way == 0:
            kind._local_constants = _kept.pop(kind)
            providers.CONSTANTS_CACHE.cache.clear()
