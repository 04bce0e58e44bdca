"""Generated work for a simulated world: definitions over the whole format, runs of them, and what clients do to these."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from tests.simulation.agents import ECHO, FRAGILE, GRUMPY, MUTE

Json = Any

POOL = 200


@dataclass(frozen=True)
class Act:
    """What a client does to a run: `cancel` or `retry` over the API, `cancel message` past it, `copy` of its messages.

    `after_seconds` counts from the start of the run; a retry waits for the run to have ended, too.
    """

    kind: str
    after_seconds: float


@dataclass(frozen=True)
class PlannedRun:
    """A run that is to be started: over the API or, if not, by a request on Kafka alone."""

    definition: int
    input_data: Json
    over_api: bool
    at_seconds: float
    acts: tuple[Act, ...] = ()


@dataclass(frozen=True)
class Shape:
    """The size of a world and which disorders it knows: a different few in each, so that each has its turn alone."""

    consumers: int
    bridges: int
    partitions: int
    calm: float
    tick_seconds: float
    most_faults: int
    faults: tuple[str, ...]
    cached_runs: int
    redelivery_seconds: int
    runs: tuple[PlannedRun, ...] = field(default=())


FAULTS = (
    "kill", "kill", "pause", "lost before", "lost after", "deadlock", "database down", "broker down", "copy", "join",
    "stop", "trouble", "skew", "refuse",
)  # fmt: skip


def shape(seed: int) -> Shape:
    """The world of a seed."""
    rng = random.Random(seed)
    runs = tuple(_run(rng) for _ in range(rng.choice([1, 2, 3, 5, 8])))
    most_faults = rng.choice([0, 1, 2, 3, 6, 10])
    return Shape(
        consumers=rng.choice([1, 2, 2, 3]),
        bridges=rng.choice([1, 1, 2]),
        partitions=rng.choice([1, 2, 3]),
        calm=rng.choice([0.5, 0.7, 0.85, 0.95]),
        tick_seconds=rng.choice([0.0, 1e-6, 1e-4, 2e-3]),
        most_faults=most_faults,
        faults=tuple(dict.fromkeys(rng.choices(FAULTS, k=rng.choice([1, 2, 4, 14])))),
        cached_runs=rng.choice([0, 1, 100, 100]),
        redelivery_seconds=rng.choice([0, 0, 5]),
        runs=runs,
    )


def _run(rng: random.Random) -> PlannedRun:
    kinds = rng.choices(
        [(), ("cancel",), ("retry",), ("cancel", "retry"), ("cancel message",), ("copy",), ("retry", "cancel"), ("cancel", "retry", "cancel", "retry")],
        [10, 2, 3, 3, 1, 1, 1, 1],
    )[0]  # fmt: skip
    acts = tuple(Act(kind, rng.choice([0.0, 0.005, 0.02, 0.1, 1.0])) for kind in kinds)
    start = rng.choice([0.0, 0.0, 0.01, 0.5])
    return PlannedRun(
        rng.randrange(POOL),
        {"n": rng.randrange(3), "items": [1, "b", {"k": rng.randrange(2)}][: rng.randrange(4)]},
        rng.random() < 0.8,
        start,
        acts,
    )


def without_faults(world: Shape) -> Shape:
    """The same work where nothing goes wrong."""
    return replace(world, calm=1.0, most_faults=0)


@lru_cache(maxsize=POOL)
def definition(number: int) -> Json:
    """The `number`-th definition of the pool."""
    return _Draft(random.Random(number * 7919 + 1), number).whole()


class _Draft:
    """A definition while it is drawn."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self._rng = rng
        self._number = number
        self._steps: dict[str, Json] = {}

    def whole(self) -> Json:
        chain: list[str] = []
        ended: list[str] = []
        for _ in range(self._rng.choice([1, 2, 2, 3, 3, 4])):
            step = self._step(tuple(ended), 0)
            chain.append(step)
            if self._steps[step]["type"] == "agent":
                ended.append(step)
        for step, following in zip(chain, [*chain[1:], None], strict=True):
            self._steps[step]["next_step"] = following
        return {"name": f"simulated-{self._number}", "start_step": chain[0], "steps": self._steps}

    def _step(self, ended: tuple[str, ...], depth: int, *, in_loop: bool = False) -> str:
        kind = self._rng.choices(
            ["agent", "parallel", "conditional", "loop", "fork_join"], [8, 2, 2, 2, 2] if depth < 2 else [1, 0, 0, 0, 0]
        )[0]
        step_id = f"s{len(self._steps)}"
        step: Json = {"id": step_id, "type": kind, "next_step": None}
        self._steps[step_id] = step
        if kind == "agent":
            step["agent_name"] = self._rng.choices([ECHO, GRUMPY, FRAGILE], [12, 1, 2 if depth == 0 else 0])[0]
            step["input_mapping"] = self._mapping(ended, in_loop)
            return step_id

        def child(*, looped: bool = False) -> str:
            return self._step(ended, depth + 1, in_loop=in_loop or looped)

        if kind == "parallel":
            step["parallel_steps"] = [child() for _ in range(self._rng.choice([2, 3]))]
            if self._rng.random() < 0.3:
                step["max_parallelism"] = self._rng.choice([1, 2])
        elif kind == "conditional":
            step["condition"] = {
                "expression": self._rng.choice(["${workflow.input.n} > 0", "len(${workflow.input.items}) == 2", "true"])
            }
            step["if_true_step"] = child()
            if self._rng.random() < 0.6:
                step["if_false_step"] = child()
        elif kind == "loop":
            mode = self._rng.choice(["sequential", "parallel"])
            # What stops at a failure with iterations side by side depends on the order of results.
            policy = self._rng.choice(
                ["continue", "collect"] if mode == "parallel" else ["stop", "continue", "collect"]
            )
            body = [child(looped=True) for _ in range(self._rng.choice([1, 2]))]
            step["loop_config"] = {
                "collection": "${workflow.input.items}", "loop_body": body, "execution_mode": mode, "on_error": policy,
            }  # fmt: skip
        else:
            branches: Json = {
                name: {"steps": [child() for _ in range(self._rng.choice([1, 2]))]} for name in ("left", "right")
            }
            if self._rng.random() < 0.25:
                branches["right"]["timeout_seconds"] = self._rng.choice([1, 3])
                self._silence(branches["right"]["steps"][0])
            step["fork_join_config"] = {
                "branches": branches,
                "join_policy": self._rng.choice(["all", "any", "majority"]),
            }
        return step_id

    def _silence(self, step_id: str) -> None:
        """What only a time-out ends: in every other definition."""
        if self._number % 2 == 0 and self._steps[step_id]["type"] == "agent":
            self._steps[step_id]["agent_name"] = MUTE

    def _mapping(self, ended: tuple[str, ...], in_loop: bool) -> Json:
        mapping: Json = {"step": f"s{len(self._steps)}"}
        for name in ("a", "b")[: self._rng.randrange(3)]:
            choices = [
                "${workflow.input.n}",
                "${workflow.input.items}",
                "n is ${workflow.input.n}",
                7,
                None,
                {"k": ["${workflow.input.n}"]},
            ]
            if ended:
                before = self._rng.choice(ended)
                choices += [f"${{{before}.output.x}}", f"${{{before}.output}}", f"${{{before}.output.items[1]}}"] * 2
            if in_loop:
                choices += ["${loop.item}", "${loop.index}"] * 2
            mapping[name] = self._rng.choice(choices)
        return mapping
