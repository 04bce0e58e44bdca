"""How far an exploration goes: sizes, disorder and time."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from harness.generation import WAYS as WAYS_TO_BREAK
from harness.generation import Case, Disorder, Size, cases
from harness.generation.flawed import drawn_flawed
from harness.generation.invalid import OF_THE_NAME
from harness.generation.timelines import BESIDE_A_RUN, ON_A_RUN, OVER_REST

_FLAWED_ONE_IN: Final = 15
_AROUND_A_FLAW: Final = Size(most_steps=8, deepest=2)
_EXAMPLES_OF_A_FLAW: Final = 3
_TRIES_FOR_A_FLAW: Final = 8
"""For so many legal ones, a batch has one case with a flaw."""

WAYS: Final = (*[None] * 60, "message", "rest", "rest")
"""Most runs are asked for in the place of an API, all at once; some by their request alone, and some over REST, where there is
such an API."""


@dataclass(frozen=True)
class Profile:
    """`seconds` is how long it explores when nothing else is said; one run in `one_in` has acts done to it, and while one batch
    in `disturbed_one_in` is under way something is done to processes (0: never)."""

    seconds: float
    size: Size
    one_in: int
    disturbed_one_in: int = 0


PROFILES: Final[Mapping[str, Profile]] = {
    "smoke": Profile(8, Size(most_steps=8, deepest=2), 3),
    "ci": Profile(90, Size(most_steps=12, deepest=3), 3, 10),
    "deep": Profile(1800, Size(most_steps=24, deepest=5, longest_chain=6), 2, 5),
}


@dataclass(frozen=True)
class Drawn:
    """From what a batch is drawn: equal ones give equal cases in equal order."""

    profile: str
    seed: int
    count: int
    has_api: bool = True
    step_types: tuple[str, ...] = ("agent", "conditional", "fork_join", "loop", "parallel")
    most_steps: int | None = None
    """Smaller ones than the profile has; composites that are open then are still given their steps."""


class Enough(BaseException):
    """No further case is wanted. Not an Exception, so that it ends Hypothesis at once."""


def draw(drawn: Drawn, body: Callable[[Case], None], *, shrinking: bool = False) -> None:
    """Call `body` with each case of the batch. With `shrinking`, a case for which it raises is made smaller, and `body` is
    called with each attempt; the last one raises out of here."""
    profile = PROFILES[drawn.profile]
    most_steps = drawn.most_steps or profile.size.most_steps
    size = Size(
        most_steps,
        min(profile.size.deepest, most_steps - 1),
        min(profile.size.longest_chain, most_steps),
        odd_ids=drawn.most_steps is None,
        step_types=frozenset(drawn.step_types),
    )
    disorder = Disorder(
        words=(*ON_A_RUN, *BESIDE_A_RUN, *(OVER_REST if drawn.has_api else ())),
        one_in=profile.one_in,
        ways=tuple(way for way in WAYS if drawn.has_api or way != "rest"),
    )

    @seed(drawn.seed)
    @settings(
        max_examples=drawn.count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if shrinking else (Phase.generate,),
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
    )
    @given(cases(size, disorder))
    def each(case: Case) -> None:
        body(case)

    each()


def keys_of(drawn: Drawn) -> list[str]:
    """The keys of all cases of a batch; for processes of their own."""
    keys: list[str] = []
    draw(drawn, lambda case: keys.append(case.key))
    flaws = [case.key for case in _flawed(drawn)]
    # Spread over the batch, so that they are under way together with what is legal.
    for number, key in enumerate(flaws):
        keys.insert((number + 1) * _FLAWED_ONE_IN, key)
    return keys


def _flawed(drawn: Drawn) -> list[Case]:
    """One flaw after another, from batch to batch, so that each comes as often as any other, whatever a search would prefer."""
    chance = random.Random(drawn.seed)
    found: list[Case] = []
    number = drawn.count // _FLAWED_ONE_IN
    # A request always gives its plan a name.
    ways = [way for way in WAYS_TO_BREAK if drawn.has_api or way not in OF_THE_NAME]
    vias = (None, "rest") if drawn.has_api else (None,)
    for index in range(number):
        way = ways[(drawn.seed * number + index) % len(ways)]
        via = chance.choice(vias) if way not in OF_THE_NAME else "rest"
        for _ in range(_TRIES_FOR_A_FLAW):
            some = drawn_flawed(way, via, chance.randrange(2**32), _AROUND_A_FLAW, _EXAMPLES_OF_A_FLAW)
            if some:
                found.append(some[-1])
                break
    return found
