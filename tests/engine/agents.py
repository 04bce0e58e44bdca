"""Agents as pure functions, and the shape of what runs are given and agents answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any

# Paths that every input of `inputs()` and every output of `Behaviour` has, and paths that none has.
INPUT_PATHS = ("", ".number", ".text", ".flag", ".items", ".items[0]", ".nested", ".nested.list[1].x", ".nested.none")
OUTPUT_PATHS = ("", ".seen", ".number", ".flag", ".items", ".items[0]", ".nested.list[0]", ".nested.none")
MISSING_PATHS = (".missing", ".items[99]", ".number.deeper", ".nested.none.deeper", "[0]")


@dataclass(frozen=True)
class Answer:
    """What an agent makes of a task."""

    succeeded: bool
    output: dict[str, Json] | None
    error_message: str | None


@dataclass(frozen=True)
class Behaviour:
    """What agents answer: a pure function of the step, of what it is asked, and of how often its run was retried.

    A step in `failing` fails until its run was retried so many times. A step in `picky` fails, in every round but the
    last of `rounds`, for about a third of the inputs. A step in `silent` succeeds with null.
    """

    seed: int = 0
    failing: Mapping[str, int] = field(default_factory=dict)
    picky: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    rounds: int = 1

    def answer(self, step_id: str, input_data: Json, retries: int = 0) -> Answer:
        """The answer to a task; equal arguments give equal answers."""
        asked = json.dumps([self.seed, step_id, input_data], sort_keys=True)
        digest = hashlib.sha256(asked.encode()).digest()
        if retries < self.failing.get(step_id, 0):
            return Answer(False, None, f"refused {digest.hex()[:6]}")
        if step_id in self.picky and retries < self.rounds and digest[0] % 3 == 0:
            return Answer(False, None, f"disliked {digest.hex()[:6]}")
        if step_id in self.silent:
            return Answer(True, None, None)
        return Answer(True, _output(digest), None)


def _output(digest: bytes) -> dict[str, Json]:
    """An object that has every one of OUTPUT_PATHS and none of MISSING_PATHS."""
    return {
        "seen": digest.hex()[:12],
        "number": digest[1] % 5 - 2,
        "flag": digest[2] % 2 == 0,
        "items": [digest[3] % 4, f"i{digest[4] % 3}", None, {"x": 1}][: 1 + digest[5] % 4],
        "nested": {"list": [digest[6] % 3], "none": None},
    }
