"""Mistakes put into the reference on purpose: what the simulation is worth is how many of them it finds, and how soon."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from system.consumer.work import Item
from system.simulation.database import consumer_statements, statements
from tests.mutants.catalogue import entry
from tests.mutants.patching import Change, Edit, Patch, Wrap

Function = Callable[..., Any]


@dataclass(frozen=True)
class Mistake:
    """A mistake: its name, what is wrong, and the patches that make it."""

    name: str
    wrong: str
    patches: tuple[Patch, ...]


@dataclass(frozen=True)
class Statement:
    """A statement of the stand-in replaced, where the real mistake would be one in SQL."""

    name: str
    work: Function

    def apply(self) -> list[Change]:
        return [_set(consumer_statements, self.name, self.work)]


@dataclass(frozen=True)
class Known:
    """What a statement's text leads to, replaced."""

    title: str
    work: Function

    def apply(self) -> list[Change]:
        text = next(text for text, (title, _) in statements.BY_TEXT.items() if title == self.title)
        change = _Item(statements.BY_TEXT, text, statements.BY_TEXT[text], (self.title, self.work))
        statements.BY_TEXT[text] = (self.title, self.work)
        return [change]


class _Item(Change):
    def undo(self) -> None:
        self.owner[self.name] = self.old


def _set(owner: Any, name: str, new: Any) -> Change:
    change = Change(owner, name, getattr(owner, name), new)
    setattr(owner, name, new)
    return change


def _committing_first(take: Function) -> Function:
    def replaced(self: Any, received: Sequence[Any], stop: Any) -> None:
        for message in received:
            self._subscription.done(message.topic, message.partition, message.offset + 1)
        take(self, received, stop)

    return replaced


def _publishing_first(write: Function) -> Function:
    def replaced(self: Any, folded: Sequence[Any], on_sent: Any) -> None:
        for one in folded:
            for message in (*one.updates, *one.tasks):
                self._publisher.publish(message, lambda _: None)
        write(self, folded, on_sent)

    return replaced


def _removed_at_once(send: Function) -> Function:
    def replaced(self: Any, entry_id: int, messages: Any, on_sent: Any = lambda: None) -> None:
        send(self, entry_id, messages, on_sent)
        self._delivered.append(entry_id)

    return replaced


def _random_ids(_: Function) -> Function:
    def replaced(run_id: str, path: str, attempt: int) -> str:
        return f"{random.getrandbits(128):032x}"

    return replaced


def _without_cancellation_messages(execute: Function) -> Function:
    def replaced(self: Any, items: Sequence[Item], *more: Any) -> None:
        execute(self, [item for item in items if type(item.content).__name__ != "CancellationRequest"] or items, *more)

    return replaced


def _marks_of_any_generation(store_marks: Function) -> Function:
    def replaced(self: Any) -> None:
        marks = self._dispatcher.marks
        while marks:
            _, topic, partition, next_offset = marks.popleft()
            self._subscription.done(topic, partition, next_offset)

    return replaced


def _applied_late(received: Function) -> Function:
    def replaced(progress: Any, event: Any) -> Any:
        if progress.status == "CANCELLED" and event.succeeded and event.task_id in progress.in_flight:
            path = progress.in_flight[event.task_id]
            progress.complete(path, event.output)
            return None
        return received(progress, event)

    return replaced


def _nothing(_: Function) -> Function:
    def replaced(self: Any, *more: Any) -> None:
        return None

    return replaced


def _sweeping_nothing(_: Function) -> Function:
    def replaced(self: Any, only: Any = None, *, takeover_seconds: Any = None) -> list[int]:
        return []

    return replaced


def _unfenced(run: Any, row: Any) -> bool:
    return True


def _no_turns(tx: Any, given: Any) -> Any:
    return ("?column?",), [], 0


def _skipping_due(_: Any, __: Any) -> Any:
    return ("run_id", "kind", "path"), [], 0


_LOOP, _EXECUTOR = "system.consumer.loop:ConsumerLoop", "system.consumer.executor:Executor"
_OUTBOX, _FOLDING = "system.outbox:Outbox", "system.consumer.folding:Folding"
_DISPATCHER = "system.bridge.dispatch:Dispatcher"

OWN = (
    Mistake("offset before rows", "Offsets are committed when messages are read.", (Wrap(f"{_LOOP}._take", _committing_first),)),
    Mistake("publish before commit", "Messages are sent before the rows that they tell of are there.", (Wrap(f"{_EXECUTOR}._write", _publishing_first),)),
    Mistake("no fencing", "A change is written whatever the row says by now.", (Statement("_is_as_seen", _unfenced),)),
    Mistake("entry removed before acknowledgement", "An entry of the outbox goes before Kafka has it.", (Wrap(f"{_OUTBOX}.send", _removed_at_once),)),
    Mistake(
        "late result applied",
        "A result that comes after the cancellation completes its step.",
        (Wrap("system.engine.decide:_result_received", _applied_late),),
    ),
    Mistake("random task ids", "A step gets another task_id each time that it is decided on.", (Wrap("system.engine.state:task_id", _random_ids),)),
    Mistake("retry restarts", "A retry begins at the first step.", (
        Edit(f"{_FOLDING}._request", "resume = self._held.resume_from_step or request.resume_from_step", "resume = definition.start_step if state.generation else None"),)),
    Mistake("timers are not looked at", "Nobody asks for timers that are due.", (Known("due timers", _skipping_due),)),
    Mistake("memory believed after a failure", "What was decided is kept although nobody knows whether it was written.", (
        Wrap(f"{_EXECUTOR}.forget", _nothing), Edit(f"{_EXECUTOR}._decide", "if not folded[run_id].change and run_id in self._cached", "if False"),)),
    Mistake("dead owners not swept", "What a dead process left in the outbox is sent by nobody.", (Wrap(f"{_LOOP}._sweep", _nothing), Wrap(f"{_EXECUTOR}._await_others", _nothing), Wrap(f"{_OUTBOX}.sweep", _sweeping_nothing))),
    Mistake("turns not taken", "A cancellation and the request of its run do not wait for each other.", (Known("take turns", _no_turns),)),
    Mistake("old marks committed", "The bridge commits offsets of an assignment that is over.", (Wrap("system.bridge.intake:Intake._store_marks", _marks_of_any_generation),)),
    Mistake("result on its way answers a later copy", "A task that comes again while its result is not acknowledged gets none.", (
        Edit(f"{_DISPATCHER}._job_for", "if job is not None and job.result is None:", "if job is not None:"),)),
    Mistake("conflicts ignored", "A change that met another one is dropped.", (
        Edit(f"{_EXECUTOR}._until_no_conflict", "self._cached.pop(run_id, None)", "self._cached.pop(run_id, None)\n                on_sent()\n                return"),)),
)  # fmt: skip

_BORROWED = (
    "copy-of-a-request-starts-again", "time-outs-die-with-their-process", "offset-committed-before-the-result", "cancellation-messages-ignored",
    "task-after-cancellation", "early-cancellation-forgotten", "old-cancellation-cancels-the-retry", "new-attempt-for-what-was-in-flight",
    "same-attempt-after-a-retry", "completed-steps-again-after-a-death", "random-ids-after-a-death", "runs-of-the-dead-are-strangers",
    "rows-stay-running", "updates-backwards", "cancelled-steps-stay-open", "one-failure-fails-all", "input-of-another-run",
    "loop-index-from-one", "completed-over-cancelled", "cancelled-while-pending-revived", "plan-of-the-last-request",
)  # fmt: skip


def all_mistakes() -> list[Mistake]:
    """Our own, and those of the suite's catalogue that the simulated parts can show."""
    borrowed = [entry(name) for name in _BORROWED]
    return [*OWN, *(Mistake(one.name, getattr(one, "wrong", ""), one.patches) for one in borrowed)]
