"""What a batch consists of: for each message or timer the run it is about and what it brings."""

from __future__ import annotations

from dataclasses import dataclass

from system.consumer.messages import AgentResult, CancellationRequest, ExecutionRequest
from system.ports import Received


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that is due: kind `branch` with its path, or `run` with an empty one."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The run has waited long for a result: its tasks in flight are published again."""


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work. `received` is the message that brought it, None for timers."""

    run_id: str
    content: ExecutionRequest | CancellationRequest | AgentResult | Timer | Unanswered
    received: Received | None = None
