"""Functions that stand in for the consumer's own where it reads, writes and sends; see `replacements`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from sqlalchemy import text

from tests.mutants.patching import Change, PatchError

Function = Callable[..., Any]

# The moment between two effects is made as wide as a slow disk or network makes it, so that a scenario can look into it.
_WIDE_SECONDS = 0.4

_KNOWN_FIELDS = frozenset(
    (
        "run_id", "workflow_plan", "input_data", "timestamp", "message_type", "resume_from_step", "cancelled_by", "reason",
        "task_id", "status", "output_data", "correlation_id", "error_message",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A patch that gives a module a name which other patches use; the name must be free."""

    module: str
    name: str
    make: Callable[[], Any]

    def apply(self) -> list[Change]:
        import importlib

        module: ModuleType = importlib.import_module(self.module)
        if self.name in vars(module):
            raise PatchError(f"{self.module}:{self.name} exists already; give the mutant's name another spelling")
        made = self.make()
        setattr(module, self.name, made)
        return [_Addition(module, self.name, None, made)]


class _Addition(Change):
    def undo(self) -> None:
        delattr(self.owner, self.name)


def committing_first(take: Function) -> Function:
    """`ConsumerLoop._take` that lets offsets be committed before it works on what it read."""

    def replaced(self: Any, received: Sequence[Any], stop: Any) -> None:
        for message in received:
            self._subscription.done(message.topic, message.partition, message.offset + 1)
        time.sleep(_WIDE_SECONDS)
        take(self, received, stop)

    return replaced


def keeping_the_first_request(take: Function) -> Function:
    """`ConsumerLoop._take` that loses all execution requests of a batch but the first."""

    def replaced(self: Any, received: Sequence[Any], stop: Any) -> None:
        topic = self._settings.execution_topic
        requests = [message for message in received if message.topic == topic]
        take(self, [message for message in received if message.topic != topic or message is requests[0]], stop)

    return replaced


def going_back_to_what_is_invalid(take: Function) -> Function:
    """`ConsumerLoop._take` that reads a partition again from the first message in it that is not valid."""
    from system.consumer.messages import InvalidMessage

    def replaced(self: Any, received: Sequence[Any], stop: Any) -> None:
        blocked: set[tuple[str, int]] = set()
        good = []
        for message in received:
            place = (message.topic, message.partition)
            try:
                if place not in blocked:
                    self._readers[message.topic](message)
                    good.append(message)
            except InvalidMessage:
                blocked.add(place)
                self._subscription.seek(message.topic, message.partition, message.offset)
        if good:
            take(self, good, stop)

    return replaced


def refusing_unknown_fields(read: Function) -> Function:
    """`messages._object` that refuses an object with a field that no message has."""
    from system.consumer.messages import InvalidMessage

    def replaced(value: bytes | None) -> tuple[dict[str, Any], bool]:
        data, is_doubtful = read(value)
        unknown = sorted(data.keys() - _KNOWN_FIELDS)
        if unknown:
            raise InvalidMessage(f"unknown fields: {', '.join(unknown)}")
        return data, is_doubtful

    return replaced


def sending_first(which: str) -> Callable[[Function], Function]:
    """A maker of `Executor._write` that sends `tasks` or `updates` before it writes rows."""

    def make(write: Function) -> Function:
        def replaced(self: Any, folded: Sequence[Any], on_sent: Callable[[], None]) -> None:
            early = [message for one in folded for message in getattr(one, which)]
            for one in folded:
                getattr(one, which).clear()
            for message in early:
                self._publisher.publish(message, lambda _: None)
            if early:
                self._publisher.flush(5)
                time.sleep(_WIDE_SECONDS)
            write(self, folded, on_sent)

        return replaced

    return make


def waiting_while_a_run_is_running(take: Function) -> Function:
    """`ConsumerLoop._take` that puts an execution request back for as long as another run is RUNNING."""
    busy = text("SELECT 1 FROM workflow_runs WHERE status = 'RUNNING' LIMIT 1")

    def replaced(self: Any, received: Sequence[Any], stop: Any) -> None:
        topic = self._settings.execution_topic
        with self._engine.connect() as connection:
            is_free = connection.execute(busy).first() is None
        put_back: set[int] = set()
        taken = []
        for message in received:
            if message.topic == topic and not is_free:
                if message.partition not in put_back:
                    self._subscription.seek(message.topic, message.partition, message.offset)
                put_back.add(message.partition)
                continue
            is_free = is_free and message.topic != topic
            taken.append(message)
        if taken:
            take(self, taken, stop)

    return replaced


def keeping_timers_in_memory(write_rare: Function) -> Function:
    """`ConsumerStore._write_rare` that keeps timers in the process instead of in rows."""

    def replaced(self: Any, connection: Any, changes: Sequence[Any], cleared: Sequence[Any]) -> None:
        known = self.__dict__.setdefault("_timers_in_memory", {})
        for run_id, kind, path in cleared:
            known.pop((run_id, kind, path), None)
        for change in changes:
            for kind, path in change.timers_cleared:
                known.pop((change.state.run_id, kind, path), None)
            for (kind, path), due_at in change.timers_set.items():
                known[change.state.run_id, kind, path] = due_at
            change.timers_set = {}
        write_rare(self, connection, changes, cleared)

    return replaced


def timers_from_memory(due_timers: Function) -> Function:
    """`ConsumerStore.due_timers` that finds them in the process."""

    def replaced(self: Any, now: Any, limit: int) -> list[tuple[str, str, str]]:
        known = self.__dict__.setdefault("_timers_in_memory", {})
        return [key for key, due_at in known.items() if due_at <= now][:limit]

    return replaced


def telling_of_late_results(fold: Function) -> Function:
    """`Executor._fold` that publishes an update for each result of a run that has ended."""
    from system.consumer import messages
    from system.consumer.messages import AgentResult
    from system.ports import Message

    step_of = text("SELECT step_id FROM step_executions WHERE task_id = :task_id LIMIT 1")

    def replaced(self: Any, held: Any, items: Sequence[Any], now: Any) -> Any:
        folded = fold(self, held, items, now)
        for item in items:
            if isinstance(item.content, AgentResult) and held.state.status in ("COMPLETED", "FAILED", "CANCELLED"):
                with self._store._engine.connect() as connection:
                    step_id = connection.execute(step_of, {"task_id": item.content.task_id}).scalar_one_or_none()
                if step_id is not None:
                    value = messages._update(item.run_id, step_id, step_id, "COMPLETED", now, {})
                    topic = self._limits.monitoring_topic
                    self._publisher.publish(Message(topic, item.run_id.encode(), value), lambda _: None)
        return folded

    return replaced
