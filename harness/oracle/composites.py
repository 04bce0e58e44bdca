"""How a composite ends, given how its parts have (PAR-*, LOP-*, FJN-*)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.oracle.values import canonical

MOST_CANDIDATES = 64
"""More ways of an end than this are not followed: nothing is said then."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One way in which a step may have ended."""

    status: str
    output: Any


def parallel_end(children: Sequence[str], ends: Sequence[Ended]) -> Ended:
    """PAR-01 and PAR-05."""
    if any(end.status != "COMPLETED" for end in ends):
        return Ended("FAILED", None)
    return Ended("COMPLETED", {child: end.output for child, end in zip(children, ends, strict=True)})


def loop_end(config: Mapping[str, Any], ends: Sequence[tuple[str, Ended]]) -> Ended:
    """LOP-06 to LOP-12, from each iteration's last step and its end. An error_message under collect is left out."""
    failed = sum(end.status != "COMPLETED" for _, end in ends)
    if failed and (config.get("on_error") or "stop") == "stop":
        return Ended("FAILED", None)
    entries = [
        {"step_id": name, "status": end.status, "output_data": end.output if end.status == "COMPLETED" else None}
        for name, end in ends
    ]
    return Ended("COMPLETED", {"iterations": entries, "total_count": len(entries), "failed_count": failed})


def fork_join_end(config: Mapping[str, Any], ends: Sequence[Ended]) -> Ended:
    """FJN-03 and FJN-05 to FJN-08, from the end of each branch in the order of the plan."""
    done = [end.status == "COMPLETED" for end in ends]
    if sum(done) < required(config):
        return Ended("FAILED", None)
    outputs = {
        name: end.output if is_done else None for name, end, is_done in zip(config["branches"], ends, done, strict=True)
    }
    return Ended("COMPLETED", outputs)


def required(config: Mapping[str, Any]) -> int:
    """How many branches must complete (FJN-05 to FJN-08)."""
    number = len(config["branches"])
    match config.get("join_policy"):
        case "any":
            return 1
        case "majority":
            return number // 2 + 1
        case "n_of_m":
            return int(config["n_required"])
        case _:
            return number


def distinct(ends: Iterable[Ended]) -> list[Ended]:
    """Each end once, up to a few more than are followed."""
    found: dict[tuple[str, str], Ended] = {}
    for end in ends:
        found.setdefault((end.status, canonical(end.output)), end)
        if len(found) > MOST_CANDIDATES:
            break
    return list(found.values())
