"""How far an exploration goes: sizes, disorder and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from harness.generation import Case, Disorder, Size, cases

WAYS: Final = (*[None] * 30, "rest")
"""Most runs are asked for in the place of an API, all at once; some over REST, where there is one."""


@dataclass(frozen=True)
class Profile:
    """`seconds` is how long it explores when nothing else is said."""

    seconds: float
    size: Size
    one_in: int


PROFILES: Final[Mapping[str, Profile]] = {
    "smoke": Profile(8, Size(most_steps=8, deepest=2), 3),
    "ci": Profile(90, Size(most_steps=12, deepest=3), 3),
    "deep": Profile(1800, Size(most_steps=24, deepest=5, longest_chain=6), 2),
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
    disorder = Disorder(one_in=profile.one_in, ways=WAYS if drawn.has_api else (None,))

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
    return keys
