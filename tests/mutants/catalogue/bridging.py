"""Functions that stand in for the bridge's own; see `replacements`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

Function = Callable[..., Any]

_FIELDS = frozenset(("run_id", "task_id", "agent_name", "input_data", "correlation_id", "timestamp"))


def one_call_at_a_time(call: Function) -> Function:
    """`Caller.call` that waits for the call before it."""
    turns: list[asyncio.Lock] = []

    async def replaced(self: Any, agent: Any, task: Any) -> Any:
        if not turns:
            turns.append(asyncio.Lock())
        async with turns[0]:
            return await call(self, agent, task)

    return replaced


def done_when_read(accept: Function) -> Function:
    """`Dispatcher.accept` that takes the offsets of what it was given for done."""

    def replaced(self: Any, batch: Sequence[Any]) -> None:
        accept(self, batch)
        for received in batch:
            partition = self._partitions.get((received.topic, received.partition))
            if partition is not None:
                risen = partition.watermark.finish(received.offset)
                if risen is not None:
                    self._risen[partition] = risen
        self._note_marks()

    return replaced


def refusing_unknown_fields(decode: Function) -> Function:
    """`decode_task` that refuses an object with a field beyond the schema."""
    from system.bridge.messages import InvalidTaskError

    def replaced(value: bytes | None) -> Any:
        task = decode(value)
        unknown = sorted(json.loads(value or b"{}").keys() - _FIELDS)
        if unknown:
            raise InvalidTaskError(f"unknown fields: {', '.join(unknown)}")
        return task

    return replaced
