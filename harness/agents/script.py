"""What an agent of the harness does with a call: one action per call, chosen by a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Ok:
    """Answer with this object as the JSON-RPC result."""

    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Echo:
    """Answer with the members of the input and one artifact whose text is the input as JSON."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Answer with a result in the state `failed` (or another one) that gives this message."""

    message: str = "scripted failure"
    state: str = "failed"


@dataclass(frozen=True, slots=True)
class RpcError:
    """Answer with a JSON-RPC error."""

    message: str = "scripted error"
    code: int = -32000


@dataclass(frozen=True, slots=True)
class HttpStatus:
    """Answer with an HTTP status; `retry_after` becomes the Retry-After header as it stands."""

    status: int
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"scripted status"


@dataclass(frozen=True, slots=True)
class Body:
    """Answer 200 with these bytes, whatever they are."""

    body: bytes = b"{not json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slow:
    """Wait this long, then do what `then` says."""

    seconds: float
    then: Action = Echo()


@dataclass(frozen=True, slots=True)
class Held:
    """Wait until the agent is released, then do what `then` says."""

    then: Action = Echo()


@dataclass(frozen=True, slots=True)
class Hang:
    """Never answer; ends when the caller goes away or the server stops."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection instead of answering."""


Action = Ok | Echo | Fail | RpcError | HttpStatus | Body | Slow | Held | Hang | Reset


class Script(Protocol):
    """Chooses the action of a call."""

    def action(self, nth_of_agent: int, nth_of_task: int, input_data: Any) -> Action:
        """The action of a call that is the n-th of its agent and the n-th of its task (both from 1)."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The n-th call gets the n-th action, and the last action goes on for ever. Counted per agent, or per task."""

    actions: Sequence[Action]
    per: Literal["agent", "task"] = "agent"

    def __post_init__(self) -> None:
        if not self.actions:
            raise ValueError("a script needs at least one action")

    def action(self, nth_of_agent: int, nth_of_task: int, input_data: Any) -> Action:  # noqa: ARG002
        nth = nth_of_agent if self.per == "agent" else nth_of_task
        return self.actions[min(nth, len(self.actions)) - 1]


def always(action: Action) -> Steps:
    """The same action for every call."""
    return Steps((action,))
