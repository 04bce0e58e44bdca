"""What is asked of every contender: the same steps, the same agent, the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Shape = Literal["sequential"]
"""How the steps hang together. Others are to come; a contender says in `missing` what it cannot do."""


@dataclass(frozen=True)
class Workload:
    """A run: `steps` calls of the agent, each fed with what the one before gave back.

    `payload_bytes` is the length of the text that travels through all of them.
    """

    steps: int = 3
    payload_bytes: int = 32
    shape: Shape = "sequential"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.steps} {self.shape} step{'' if self.steps == 1 else 's'}, {self.payload_bytes} B payload"

    def input_data(self, number: int) -> dict[str, Any]:
        """The input of the run with this number; every one is different."""
        return {"message": f"{number:08d}".ljust(self.payload_bytes, ".")}

    def definition(self, name: str, agent_name: str) -> dict[str, Any]:
        """The workflow in the format of the contract (section 4)."""
        ids = [f"step{number}" for number in range(1, self.steps + 1)]
        steps = {}
        for index, step_id in enumerate(ids):
            source = f"${{{ids[index - 1]}.output.message}}" if index else "${workflow.input.message}"
            steps[step_id] = {
                "id": step_id,
                "type": "agent",
                "agent_name": agent_name,
                "input_mapping": {"message": source},
                "next_step": ids[index + 1] if index + 1 < len(ids) else None,
            }
        return {"name": name, "start_step": ids[0], "steps": steps}
