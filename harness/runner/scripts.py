"""The scripts of a scenario's agents, as the agent server plays them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from harness.agents import Action, Body, Fail, Hang, Held, HttpStatus, Ok, Reset, RpcError, Slow
from harness.scenario import matchers
from harness.scenario.model import Agent


class ScenarioScript:
    """The n-th call gets the n-th entry, and the last entry stays. `hold` makes every call wait, whatever its entry."""

    def __init__(self, entries: Sequence[Mapping[str, Any]], per: Literal["agent", "task"]) -> None:
        self._entries = entries
        self._per = per
        self.is_held = False

    @classmethod
    def of(cls, agent: Agent, entries: Sequence[Mapping[str, Any]]) -> ScenarioScript:
        """The script of an agent, from its entries with everything filled in."""
        return cls(entries, agent.per)

    def action(self, nth_of_agent: int, nth_of_task: int, input_data: Any) -> Action:
        """The action of a call (see `harness.agents.Script`)."""
        nth = nth_of_agent if self._per == "agent" else nth_of_task
        action = action_of(self._entries[min(nth, len(self._entries)) - 1], input_data)
        return Held(action) if self.is_held and not isinstance(action, Held) else action


def action_of(entry: Mapping[str, Any], input_data: Any) -> Action:
    """The action that an entry of a script stands for."""
    ((word, argument),) = entry.items()
    match word:
        case "ok":
            return Ok(argument)
        case "echo":
            return Ok({"echo": input_data})
        case "fail":
            return Fail(argument)
        case "rpc_error":
            return RpcError(argument["message"], argument.get("code", -32000))
        case "status":
            return _status(argument)
        case "body":
            return Body(argument.encode("utf-8", "surrogatepass"))
        case "slow":
            return Slow(argument["seconds"], action_of(argument.get("then", {"echo": True}), input_data))
        case "held":
            return Held(action_of(argument, input_data))
        case "hang":
            return Hang()
        case "reset":
            return Reset()
        case "if":
            fits = matchers.matches(argument["input"], input_data, {}) is None
            return action_of(argument["then"] if fits else argument["else"], input_data)
    raise ValueError(f"no agent can do {word!r}")


def _status(argument: Any) -> HttpStatus:
    if isinstance(argument, Mapping):
        after = argument.get("retry_after_seconds")
        return HttpStatus(int(argument["code"]), retry_after=None if after is None else f"{after:g}")
    return HttpStatus(int(argument))
