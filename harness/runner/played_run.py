"""One run, executed as the contract says it, for the executor that the harness plays."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.oracle import conditions
from harness.oracle.composites import Ended, fork_join_end, loop_end, parallel_end
from harness.oracle.plan import Plan
from harness.oracle.references import NotJudged, Reference, Unresolvable, resolve
from harness.oracle.values import MISSING

Path = tuple[str | int, ...]
_NAMESPACE = uuid.UUID("6d0d1a9e-5f0e-4b57-9f43-1f6f0c0f2f11")


@dataclass(frozen=True)
class Place:
    """Where a step runs: the outputs that it can see, and its iteration."""

    path: Path
    outputs: Mapping[str, Any]
    loop: Mapping[str, Any] = field(default_factory=dict)

    def inside(self, *parts: str | int, **loop: Any) -> Place:
        """A place below this one."""
        return replace(self, path=(*self.path, *parts), loop=loop or self.loop)

    def seeing(self, outputs: Mapping[str, Any]) -> Place:
        """The same place with more to see."""
        return replace(self, outputs={**self.outputs, **outputs})


@dataclass(frozen=True)
class Step:
    """An execution of an agent's step."""

    id: str
    name: str
    agent: str
    path: Path
    task_id: str
    input: Any


Ask = Callable[[Step], Awaitable[Ended]]
"""Publishes the step's task and gives its end; for FAILED, `output` is the message."""


class PlayedRun:
    """What is done is kept by path, so that going on after a retry asks for nothing twice."""

    def __init__(self, run_id: str, plan: Plan, input_data: Any, ask: Ask) -> None:
        self.id = run_id
        self._plan = plan
        self._input = input_data
        self._ask = ask
        self._done: dict[Path, Ended] = {}
        self._attempts: dict[Path, int] = {}

    def resume_from(self, step: str) -> None:
        """Forget the step and all after it."""
        chain = self._plan.chain
        again = set(chain[chain.index(step) :]) if step in chain else set()
        for path in [path for path in self._done if path[0] in again]:
            del self._done[path]
            self._attempts[path] = self._attempts.get(path, 0) + 1

    async def go_on(self) -> str | None:
        """Execute what is not done; None when the last step is COMPLETED, else why the run FAILED."""
        for path, end in list(self._done.items()):
            if end.status != "COMPLETED":
                del self._done[path]
                self._attempts[path] = self._attempts.get(path, 0) + 1
        seen: dict[str, Any] = {}
        for step in self._plan.chain:
            end, outputs = await self._step(step, Place((step,), seen))
            if end.status != "COMPLETED":
                return f"step {step}: {end.output}"
            seen |= outputs
        return None

    async def _step(self, step: str, place: Place) -> tuple[Ended, dict[str, Any]]:
        """How a step ends, and the outputs that those after it can see."""
        data = self._plan.steps[step]
        inner: dict[str, Any] = {}
        try:
            given = resolve(data.get("input_mapping") or {}, self._plan.steps, self._lookup(place))
            match self._plan.kind(step):
                case "parallel":
                    end, inner = await self._parallel(data, place)
                case "conditional":
                    end, inner = await self._conditional(data, place)
                case "loop":
                    end = await self._loop(data["loop_config"], place)
                case "fork_join":
                    end, inner = await self._fork_join(data["fork_join_config"], place)
                case _:
                    end = await self._agent(step, data, place, given)
        except Unresolvable as unresolvable:
            end = Ended("FAILED", f"the reference {unresolvable} leads to nothing")
        except NotJudged as several:
            end = Ended("FAILED", f"the harness cannot play this: {several}")
        if end.status == "COMPLETED":
            inner[step] = end.output
        return end, inner

    async def _agent(self, step: str, data: Mapping[str, Any], place: Place, given: Any) -> Ended:
        if place.path not in self._done:
            attempt = self._attempts.get(place.path, 0)
            task_id = str(uuid.uuid5(_NAMESPACE, json.dumps([self.id, place.path, attempt])))
            asked = Step(step, data.get("name") or step, data["agent_name"], place.path, task_id, given)
            self._done[place.path] = await self._ask(asked)
        return self._done[place.path]

    async def _parallel(self, data: Mapping[str, Any], place: Place) -> tuple[Ended, dict[str, Any]]:
        steps = data["parallel_steps"]
        places = asyncio.Semaphore(data.get("max_parallelism") or len(steps))

        async def one(step: str) -> tuple[Ended, dict[str, Any]]:
            async with places:
                return await self._step(step, place.inside(step))

        found = await asyncio.gather(*map(one, steps))
        end = parallel_end(steps, [end for end, _ in found])
        return _told(end, [end for end, _ in found]), _joined(found)

    async def _conditional(self, data: Mapping[str, Any], place: Place) -> tuple[Ended, dict[str, Any]]:
        node = conditions.parse(data["condition"]["expression"], self._plan.steps)
        is_true, _ = conditions.evaluate(node, self._lookup(place))
        branch = data.get("if_true_step" if is_true else "if_false_step")
        output = {
            "condition_result": is_true,
            "branch_taken": "then" if is_true else "else",
            "branch_step_id": branch,
            "branch_output": None,
        }
        if branch is None:
            return Ended("COMPLETED", output), {}
        end, inner = await self._step(branch, place.inside(branch))
        if end.status != "COMPLETED":
            return end, inner
        return Ended("COMPLETED", {**output, "branch_output": end.output}), inner

    async def _loop(self, config: Mapping[str, Any], place: Place) -> Ended:
        items = resolve(config["collection"], self._plan.steps, self._lookup(place))
        if not isinstance(items, list):
            return Ended("FAILED", "the collection is not a list")
        items = items[: config.get("max_iterations") or len(items)]
        is_parallel = config.get("execution_mode") == "parallel"
        stops = (config.get("on_error") or "stop") == "stop"
        places = asyncio.Semaphore((config.get("max_parallelism") or len(items) or 1) if is_parallel else 1)
        has_failed = False

        async def one(index: int, item: Any) -> tuple[str, Ended] | None:
            nonlocal has_failed
            async with places:
                if has_failed and stops:
                    return None
                words = {"item": item, "index": index, "total": len(items)}
                words |= {"is_first": index == 0, "is_last": index == len(items) - 1}
                last, end, _ = await self._sequence(config["loop_body"], place.inside(index, **words))
                has_failed = has_failed or end.status != "COMPLETED"
                return last, end

        found = await asyncio.gather(*(one(index, item) for index, item in enumerate(items)))
        ran = [one for one in found if one is not None]
        end = loop_end(config, ran)
        if end.status == "COMPLETED" and config.get("on_error") == "collect":
            for entry, (_, ended) in zip(end.output["iterations"], ran, strict=True):
                if ended.status != "COMPLETED":
                    entry["error_message"] = ended.output
        return _told(end, [ended for _, ended in ran])

    async def _fork_join(self, config: Mapping[str, Any], place: Place) -> tuple[Ended, dict[str, Any]]:
        async def one(name: str, branch: Mapping[str, Any]) -> tuple[Ended, dict[str, Any]]:
            seconds = branch.get("timeout_seconds") or config.get("branch_timeout_seconds")
            try:
                async with asyncio.timeout(seconds):
                    _, end, inner = await self._sequence(branch["steps"], place.inside(name))
            except TimeoutError:
                return Ended("FAILED", f"branch {name} timed out"), {}
            return end, inner

        found = await asyncio.gather(*(one(name, branch) for name, branch in config["branches"].items()))
        ends = [end for end, _ in found]
        return _told(fork_join_end(config, ends), ends), _joined(found)

    async def _sequence(self, steps: list[str], place: Place) -> tuple[str, Ended, dict[str, Any]]:
        seen: dict[str, Any] = {}
        end, last = Ended("COMPLETED", None), ""
        for step in steps:
            last = step
            end, inner = await self._step(step, place.inside(step).seeing(seen))
            seen |= inner
            if end.status != "COMPLETED":
                break
        return last, end, seen

    def _lookup(self, place: Place) -> Callable[[Reference], Any]:
        def look_up(reference: Reference) -> Any:
            if reference.source == "input":
                return self._input
            known = place.loop if reference.source == "loop" else place.outputs
            return known.get(reference.name, MISSING)

        return look_up


def _told(end: Ended, inner: list[Ended]) -> Ended:
    """A composite that FAILED says what failed in it."""
    if end.status == "COMPLETED":
        return end
    return Ended(
        "FAILED", next((str(one.output) for one in inner if one.status != "COMPLETED"), "its policy is not met")
    )


def _joined(found: list[tuple[Ended, dict[str, Any]]]) -> dict[str, Any]:
    return {name: output for _, inner in found for name, output in inner.items()}
