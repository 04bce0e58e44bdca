"""The two sample agents that a quick start calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from harness.agents.script import Action, Echo, Ok, Script, always


class TestAgent:
    """Answers with the one member `result`, a sentence that names what it was given."""

    __test__ = False

    def action(self, nth_of_agent: int, nth_of_task: int, input_data: Any) -> Action:  # noqa: ARG002
        return Ok({"result": f"test-agent was given {json.dumps(input_data, ensure_ascii=False)}"})


SAMPLES: Final[Mapping[str, Script]] = {"echo-agent": always(Echo()), "test-agent": TestAgent()}
"""Scripts by agent name; `echo-agent` answers with its input."""
