"""The acts of a timeline as the oracle reads them, in whichever form a scenario file has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ENDS = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


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
