"""The acts of a timeline as the oracle reads them, in whichever form a scenario file has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ENDS = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
_ON_ONE_RUN = frozenset({"cancel", "retry", "answer"})
_UNNAMED = "run"
"""What a run is called that an `execute` gives no name."""


@dataclass(frozen=True)
class Act:
    """`arguments` of an act in its short form are what it is about, under the empty name."""

    word: str
    arguments: Mapping[str, Any]
    when: Mapping[str, Any]

    def about(self, name: str) -> Any:
        """An argument by its name, or what an act in its short form is about."""
        return self.arguments.get(name, self.arguments.get(""))


def acts_of(timeline: Sequence[Any]) -> Iterator[Act]:
    """The acts one by one, those that are done together too."""
    for written in timeline:
        ((word, arguments),) = ((key, value) for key, value in written.items() if key != "when")
        if word == "all":
            yield from acts_of(arguments)
        else:
            long = arguments if isinstance(arguments, Mapping) else {"": arguments}
            yield Act(word, long, written.get("when") or {})


def about(acts: Sequence[Act], run: str | None) -> list[Act]:
    """The acts but for those on other runs than this one; with None, than the one that is executed first."""
    name = run if run is not None else next((_run_of(act) for act in acts if act.word == "execute"), None)
    return [act for act in acts if _run_of(act) in (None, name)] if name is not None else list(acts)


def runs_of(timeline: Sequence[Any]) -> dict[str, Act]:
    """The runs that a timeline makes, by their names, with the act that asks for each."""
    return {name: act for act in acts_of(timeline) if act.word == "execute" and (name := _run_of(act)) is not None}


def _run_of(act: Act) -> str | None:
    if act.word == "execute":
        return str(act.arguments.get("as", _UNNAMED))
    return str(act.about("run")) if act.word in _ON_ONE_RUN else None
