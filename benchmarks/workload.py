"""What is asked of every contender: the same steps, the same agent, the same bytes, the same outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Shape = Literal["sequential", "parallel", "loop"]
"""How the steps hang together: one after the other, all at once, or one body for each item of a list, in its order."""

SHAPES: Final[tuple[Shape, ...]] = ("sequential", "parallel", "loop")
_COMPOSITE = "all"


@dataclass(frozen=True)
class Workload:
    """A run: `steps` calls of the agent.

    Sequential steps are each fed with what the one before gave back. Those of the other shapes are fed with the run's
    input and their number, and the run gives back all that they gave, in that order.
    `payload_bytes` is the length of the text that travels through all of them.
    """

    steps: int = 3
    payload_bytes: int = 32
    shape: Shape = "sequential"

    def __post_init__(self) -> None:
        """Raises ValueError for what no workflow is."""
        if self.shape == "parallel" and self.steps < 2:
            raise ValueError(f"a parallel step has two branches at least (contract, section 4), found {self.steps}")

    @property
    def title(self) -> str:
        """For people."""
        plural = "" if self.steps == 1 else "s"
        what = {
            "sequential": f"{self.steps} sequential step{plural}",
            "parallel": f"{self.steps} parallel branches",
            "loop": f"a loop of {self.steps} iteration{plural}",
        }[self.shape]
        return f"{what}, {_bytes(self.payload_bytes)} payload"

    @property
    def slug(self) -> str:
        """For names of files."""
        return f"{self.shape}-{self.steps}-{self.payload_bytes}B"

    def input_data(self, number: int) -> dict[str, Any]:
        """The input of the run with this number; every one is different."""
        given: dict[str, Any] = {"message": f"{number:08d}".ljust(self.payload_bytes, ".")}
        return {**given, "items": list(range(self.steps))} if self.shape == "loop" else given

    def inputs_of_calls(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """By call, what the agent is asked. Raises ValueError for sequential steps, of which only the first is known."""
        if self.shape == "sequential":
            raise ValueError("a sequential step is fed by the one before; only branches and iterations are known ahead")
        numbers = given["items"] if self.shape == "loop" else range(self.steps)
        return [{"message": given["message"], "number": number} for number in numbers]

    def expected_output(self, given: Mapping[str, Any]) -> Any:
        """What a run with this input gives back, since the agent gives back what it is given."""
        return dict(given) if self.shape == "sequential" else self.inputs_of_calls(given)

    def definition(self, name: str, agent_name: str) -> dict[str, Any]:
        """The workflow in the format of the contract (section 4)."""
        ids = self._call_ids()
        if self.shape == "sequential":
            sources = ["${workflow.input.message}", *(f"${{{one}.output.message}}" for one in ids)]
            mappings: list[dict[str, Any]] = [{"message": source} for source in sources[: len(ids)]]
            following: list[str | None] = [*ids[1:], None]
        else:
            numbers: list[Any] = ["${loop.item}"] if self.shape == "loop" else list(range(self.steps))
            mappings = [{"message": "${workflow.input.message}", "number": number} for number in numbers]
            following = [None] * len(ids)
        steps: dict[str, Any] = {
            step_id: {
                "id": step_id,
                "type": "agent",
                "agent_name": agent_name,
                "input_mapping": mapping,
                "next_step": next_step,
            }
            for step_id, mapping, next_step in zip(ids, mappings, following, strict=True)
        }
        if self.shape != "sequential":
            steps[_COMPOSITE] = {"id": _COMPOSITE, "next_step": None, **self._composite(ids)}
        return {"name": name, "start_step": _COMPOSITE if _COMPOSITE in steps else ids[0], "steps": steps}

    @property
    def last_step(self) -> str:
        """The step of the definition whose output is the run's."""
        return self._call_ids()[-1] if self.shape == "sequential" else _COMPOSITE

    def output_of(self, last_output: Mapping[str, Any]) -> Any:
        """The output of the definition's last step (contract, section 4) in the form of :meth:`expected_output`."""
        if self.shape == "parallel":
            return [last_output.get(step_id) for step_id in self._call_ids()]
        if self.shape == "loop":
            return [iteration["output_data"] for iteration in last_output["iterations"]]
        return dict(last_output)

    def _call_ids(self) -> list[str]:
        return ["step1"] if self.shape == "loop" else [f"step{number}" for number in range(1, self.steps + 1)]

    def _composite(self, ids: list[str]) -> dict[str, Any]:
        if self.shape == "parallel":
            return {"type": "parallel", "parallel_steps": ids}
        config = {"collection": "${workflow.input.items}", "loop_body": ids, "on_error": "stop"}
        return {"type": "loop", "loop_config": {**config, "execution_mode": "sequential"}}


FURTHER: Final = (
    Workload(steps=1),
    Workload(steps=10),
    Workload(steps=50),
    Workload(steps=10, shape="parallel"),
    Workload(steps=100, shape="loop"),
    Workload(payload_bytes=1_000),
    Workload(payload_bytes=100_000),
)
"""What is measured besides the one workload that all measures are told of in full."""


def _bytes(count: int) -> str:
    return f"{count // 1000} kB" if count >= 1000 and count % 1000 == 0 else f"{count} B"
