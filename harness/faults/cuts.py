"""Which processes of a subject are cut off from which part of the stack; pure."""

from __future__ import annotations

from typing import Literal

PartName = Literal["broker", "database"]

_Rule = tuple[PartName, str | None, int | None, bool]


class Unreachable(Exception):
    """A process that is to be cut off has no proxies, so that it cannot be."""


class Cuts:
    """What was cut and joined so far; the last word about a process counts."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    def set(self, part: PartName, role: str | None, number: int | None, *, is_cut: bool) -> None:
        """Cut or join a part and all processes (`role` None), those of a role (`number` None), or one of them."""
        # What is said of all, or of the same processes once more, leaves nothing of what was said before.
        self._rules = [
            rule
            for rule in self._rules
            if rule[0] != part or (role is not None and (rule[1] != role or number not in (None, rule[2])))
        ]
        self._rules.append((part, role, number, is_cut))

    def clear(self) -> None:
        """Join everything."""
        self._rules.clear()

    def are_between(self, part: PartName, process: str) -> bool:
        """Whether a process, such as `consumer-1`, does not reach a part."""
        meant = [is_cut for of, role, number, is_cut in self._rules if of == part and is_meant(process, role, number)]
        return meant[-1] if meant else False


def is_meant(process: str, role: str | None, number: int | None) -> bool:
    """Whether a process is one of those that an act names."""
    own_role, _, own_number = process.rpartition("-")
    return role in (None, own_role) and number in (None, int(own_number))
