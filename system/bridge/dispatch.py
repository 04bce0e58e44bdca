"""From messages read to messages done: what is called, what is answered otherwise, and which offsets may be committed.

Every task read is settled in one of four ways, and only then does its offset count as done: its result is with Kafka,
its dead letter is with Kafka, the database has its result already, or its partition went to another member (then the
offset is not done, and the other reads it again).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from system import dead_letters
from system.adapters.clock import SystemClock
from system.bridge.jobs import Job, Ownership, Partition
from system.bridge.lanes import AgentCaller, AgentLookup, Lanes
from system.bridge.messages import (
    InvalidTaskError,
    Outcome,
    Task,
    bounded_result,
    decode_task,
    unpublishable,
)
from system.bridge.outgoing import Outgoing
from system.bridge.redelivery import AnsweredTasks, Key
from system.ports import Clock, Message, Publisher, Received

log = logging.getLogger(__name__)

# No topic refuses a message for being larger than this.
_SURELY_SMALL_BYTES = 10_000

PartitionName = tuple[str, int]
Mark = tuple[int, str, int, int]
"""(generation, topic, partition, next offset)"""


class Applied(Protocol):
    """Says which tasks' results the executor has applied."""

    async def among(self, keys: Sequence[Key]) -> set[Key]: ...


class Dispatcher:
    """Belongs to one event loop; `marks`, `finished` and `held_bytes` may be read by another thread."""

    def __init__(
        self,
        *,
        publisher: Publisher,
        lookup: AgentLookup,
        caller: AgentCaller,
        applied: Applied,
        results_topic: str,
        agent_concurrency: int,
        max_message_bytes: int,
        on_broken: Callable[[BaseException], None],
        fraction: Callable[[], float] = random.random,
        clock: Clock | None = None,
    ) -> None:
        self._applied = applied
        self._clock = SystemClock() if clock is None else clock
        self._results_topic = results_topic
        self._max_message_bytes = max_message_bytes
        self._loop = asyncio.get_running_loop()
        self._outgoing = Outgoing(publisher, self._loop, on_broken=on_broken, after_poll=self._note_marks)
        self._lanes = Lanes(
            lookup=lookup,
            caller=caller,
            agent_concurrency=agent_concurrency,
            on_ended=self._settle,
            on_dropped=self._forget,
            on_paused=self._outgoing.settled.set,
            on_broken=on_broken,
            fraction=fraction,
        )
        self._partitions: dict[PartitionName, Partition] = {}
        self._jobs: dict[Key, Job] = {}
        self._answered = AnsweredTasks()
        self._risen: dict[Partition, int] = {}
        self._stopping = False
        self.marks: deque[Mark] = deque()
        self.finished = 0
        self._job_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What tasks in work and messages on their way to Kafka take."""
        return self._job_bytes + self._outgoing.unsettled_bytes

    # What comes in.

    def assigned(self, generation: int, end_offsets: Mapping[PartitionName, int]) -> None:
        """Partitions are this process's now."""
        for (topic, number), end_offset in end_offsets.items():
            self._partitions[topic, number] = Partition(topic, number, generation, end_offset)

    async def revoked(self, names: Sequence[PartitionName]) -> None:
        """Partitions are about to go: begin nothing more of them, and return once all that has begun is settled."""
        leaving = [self._partitions[name] for name in names if name in self._partitions]
        for partition in leaving:
            partition.ownership = Ownership.LEAVING
        begun = [job for job in self._jobs.values() if job.busy and any(p in leaving for p, _ in job.positions)]
        try:
            while begun := [job for job in begun if job.busy and self._jobs.get(job.key) is job]:
                self._outgoing.settled.clear()
                await self._outgoing.settled.wait()
        finally:
            self._note_marks()

    def released(self, names: Sequence[PartitionName]) -> None:
        """Partitions have gone; what ends now is published, and counts for nothing."""
        for name in names:
            gone = self._partitions.pop(name, None)
            if gone is not None:
                gone.ownership = Ownership.GONE

    def accept(self, batch: Sequence[Received]) -> None:
        """Take messages as they were read."""
        doubtful: list[Job] = []
        for received in batch:
            partition = self._partitions.get((received.topic, received.partition))
            if partition is None or self._stopping:
                self.finished += 1
                continue
            tracked = partition.watermark.begin(received.offset)
            job = self._job_for(received, [(partition, received.offset)] if tracked else [])
            if job is None:
                continue
            if received.offset < partition.end_offset:
                doubtful.append(job)
            else:
                self._lanes.queue(job)
        if doubtful:
            self._lanes.spawn(self._sift(doubtful))

    def _job_for(self, received: Received, positions: list[tuple[Partition, int]]) -> Job | None:
        """A new job, or None when the message was dealt with otherwise."""
        try:
            task = decode_task(received.value)
        except InvalidTaskError as error:
            self._set_aside(received, str(error), positions)
            return None
        key = (task.run_id, task.task_id)
        job = self._jobs.get(key)
        if job is not None and job.result is None:
            # The call in flight answers both; the message is counted when it ends.
            job.positions.extend(positions or [(_UNTRACKED, received.offset)])
            return None
        result = self._answered.get(key) if job is None else job.result
        if result is not None:
            # Also when Kafka has not acknowledged it yet: the executor may have read and ignored it, since the run was
            # cancelled, before it asked again.
            log.debug("publishing the result of a repeated task again", extra={"run_id": key[0], "task_id": key[1]})
            self._send_result(task, result, partial(self._finish, positions))
            return None
        size_bytes = len(received.value or b"")
        job = Job(key, task, size_bytes, self._loop.time())
        job.positions = positions or [(_UNTRACKED, received.offset)]
        self._jobs[key] = job
        self._job_bytes += size_bytes
        return job

    async def _sift(self, doubtful: list[Job]) -> None:
        """Let go of redelivered tasks whose results have been applied; the others are called."""
        applied = await self._applied.among([job.key for job in doubtful])
        for job in doubtful:
            if job.key in applied:
                self._close(job)
            else:
                self._lanes.queue(job)
        if applied:
            log.info("%d of %d redelivered tasks had their results applied already", len(applied), len(doubtful))
            self._note_marks()

    def _set_aside(self, received: Received, reason: str, positions: list[tuple[Partition, int]]) -> None:
        log.warning(
            "%s[%d]@%d is no valid task and goes to %s: %s",
            received.topic,
            received.partition,
            received.offset,
            dead_letters.topic_of(received.topic),
            reason,
        )
        letter = dead_letters.dead_letter(received, reason, self._clock.now())
        self._outgoing.send(letter, partial(self._finish, positions), dead_letters.without_value(letter))

    # What goes out.

    def _settle(self, job: Job, outcome: Outcome) -> None:
        """Publish the result of a task; its messages are done once Kafka has it."""
        job.busy = True
        task = job.task
        value = bounded_result(task, outcome, self._clock.now(), self._max_message_bytes)
        if outcome.error_message is not None:
            log.info("task failed: %s", outcome.error_message, extra={"run_id": task.run_id, "task_id": task.task_id})
        job.result = value
        self._send_result(task, value, partial(self._answer_published, job, value))

    def _send_result(self, task: Task, value: bytes, on_published: Callable[[], None]) -> None:
        key = task.run_id.encode()
        instead = None
        if len(value) > _SURELY_SMALL_BYTES:
            refused = unpublishable(task, "Kafka refused it", self._clock.now())
            instead = Message(self._results_topic, key, refused)
        self._outgoing.send(Message(self._results_topic, key, value), on_published, instead)

    def _answer_published(self, job: Job, value: bytes) -> None:
        self._answered.add(job.key, value)
        self._close(job)

    def _close(self, job: Job) -> None:
        """All effects of a job are durable."""
        del self._jobs[job.key]
        self._job_bytes -= job.size_bytes
        self._finish(job.positions)

    def _forget(self, job: Job) -> None:
        """A job that was not begun is left to the partition's next owner: its offset stays undone."""
        del self._jobs[job.key]
        self._job_bytes -= job.size_bytes
        self.finished += len(job.positions)

    def _finish(self, positions: Sequence[tuple[Partition, int]]) -> None:
        self.finished += max(1, len(positions))
        for partition, offset in positions:
            if partition is not _UNTRACKED:
                risen = partition.watermark.finish(offset)
                if risen is not None and partition.ownership is not Ownership.GONE:
                    self._risen[partition] = risen

    def _note_marks(self) -> None:
        """Hand offsets that are done to the thread that commits them."""
        risen, self._risen = self._risen, {}
        for partition, next_offset in risen.items():
            self.marks.append((partition.generation, partition.topic, partition.number, next_offset))

    # The end.

    async def drain(self, timeout_seconds: float) -> int:
        """Begin nothing more, and give what is in a call or on its way to Kafka this long to end.

        Returns:
            how many tasks are left undone; their offsets are not committed.
        """
        self._stopping = True
        self._lanes.stop()
        try:
            async with asyncio.timeout(timeout_seconds):
                while any(job.busy for job in self._jobs.values()) or self._outgoing.unsettled:
                    self._outgoing.settled.clear()
                    await self._outgoing.settled.wait()
        except TimeoutError:
            log.warning("calls in flight did not end within %.1f s", timeout_seconds)
        await self._lanes.cancel()
        self._note_marks()
        return len(self._jobs)


# Stands in for the partition of a message whose offset the low-watermark could not take.
_UNTRACKED = Partition("", 0, 0, 0)
_UNTRACKED.ownership = Ownership.OWNED
