"""Every agent's lane at work: which job is sent when, and again when, and to whom it ends.

A slow agent fills its own lane and no other. A job between two tries holds no place in its lane.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from system.bridge.agent import Agent
from system.bridge.breaker import Circuit
from system.bridge.calls import Trouble
from system.bridge.jobs import Job, Lane
from system.bridge.messages import Outcome, Task, failure

log = logging.getLogger(__name__)


class AgentCaller(Protocol):
    """Makes one try of a task."""

    async def call(self, agent: Agent, task: Task) -> Outcome | Trouble: ...


class AgentLookup(Protocol):
    """Finds agents by name; a text is the reason why there is none to call."""

    def fresh(self, name: str) -> Agent | str | None: ...

    async def get(self, name: str) -> Agent | str: ...


class Lanes:
    """Calls agents for jobs. Belongs to one event loop.

    `on_ended` takes a job and its outcome; `on_dropped` a job that was not begun and whose partition has gone;
    `on_paused` is called when a try has ended without an outcome.
    """

    def __init__(
        self,
        *,
        lookup: AgentLookup,
        caller: AgentCaller,
        agent_concurrency: int,
        on_ended: Callable[[Job, Outcome], None],
        on_dropped: Callable[[Job], None],
        on_paused: Callable[[], None],
        on_broken: Callable[[BaseException], None],
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self._lookup = lookup
        self._caller = caller
        self._agent_concurrency = agent_concurrency
        self._on_ended = on_ended
        self._on_dropped = on_dropped
        self._on_paused = on_paused
        self._on_broken = on_broken
        self._fraction = fraction
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane] = {}
        self._work_in_hand: set[asyncio.Task[None]] = set()
        self._stopping = False

    def queue(self, job: Job) -> None:
        """Call the job's agent for it, as soon as its lane allows."""
        lane = self._lanes.get(job.task.agent_name)
        if lane is None:
            lane = Lane(job.task.agent_name, self._agent_concurrency, self._loop.time)
            self._lanes[lane.name] = lane
        lane.waiting.append(job)
        self._pump(lane)

    def _pump(self, lane: Lane) -> None:
        """Begin what may begin in a lane, and fail what has waited for an open circuit for too long."""
        for job in lane.expired():
            if job.wanted:
                self._on_ended(job, failure(_circuit_open(lane, self._loop.time() - job.arrived_at)))
            else:
                self._on_dropped(job)
        while lane.active < lane.concurrency:
            taken = self._take(lane)
            if taken is None:
                break
            lane.active += 1
            self.spawn(self._work(lane, taken))
        wake_at = lane.wake_at()
        if wake_at is not None and lane.timer is None:
            lane.timer = self._loop.call_at(max(wake_at, self._loop.time() + 0.01), self._wake, lane)
        if lane.idle and self._lanes.get(lane.name) is lane:
            del self._lanes[lane.name]

    def _wake(self, lane: Lane) -> None:
        lane.timer = None
        self._pump(lane)

    def _take(self, lane: Lane) -> Job | None:
        while not self._stopping and lane.waiting:
            # Whoever is not ours any more must not use up the probe of a half-open circuit.
            if not lane.waiting[0].wanted:
                self._on_dropped(lane.waiting.popleft())
                continue
            return lane.take()
        return None

    async def _work(self, lane: Lane, job: Job | None) -> None:
        """One of a lane's places: serves jobs until none may be taken."""
        try:
            while job is not None:
                await self._try(lane, job)
                job = self._take(lane)
        finally:
            lane.active -= 1
        self._pump(lane)

    async def _try(self, lane: Lane, job: Job) -> None:
        agent = self._lookup.fresh(lane.name)
        if agent is None:
            agent = await self._lookup.get(lane.name)
        if isinstance(agent, str):
            self._note_answered(lane)
            self._on_ended(job, failure(agent))
            return
        lane.agent = agent
        job.busy = True
        ended = await self._caller.call(agent, job.task)
        if isinstance(ended, Outcome):
            self._note_answered(lane)
            self._on_ended(job, ended)
            return
        job.busy = False
        self._on_paused()
        job.tries += 1
        if job.tries <= agent.retry.max_retries:
            pause = agent.retry.pause_seconds(job.tries, self._fraction(), ended.retry_after_seconds)
            log.debug("%s; trying again in %.3f s", ended.message, pause, extra={"task_id": job.task.task_id})
            lane.pausing += 1
            self._loop.call_later(pause, self._again, lane, job)
            return
        if ended.broken:
            self._note_failed(lane)
        else:
            self._note_answered(lane)
        times = "once" if job.tries == 1 else f"{job.tries} times"
        self._on_ended(job, failure(f"{ended.message} (tried {times})"))

    def _again(self, lane: Lane, job: Job) -> None:
        lane.pausing -= 1
        if not self._stopping:
            lane.waiting.appendleft(job)
            self._pump(lane)

    def _note_answered(self, lane: Lane) -> None:
        closed = lane.breaker.circuit is Circuit.CLOSED
        lane.breaker.answered()
        if not closed:
            log.info("the circuit of an agent is closed again", extra={"agent_name": lane.name})
            # One probe is in flight; all the other places of the lane are empty.
            self._loop.call_soon(self._pump, lane)

    def _note_failed(self, lane: Lane) -> None:
        before = lane.breaker.circuit
        lane.breaker.failed()
        if lane.breaker.circuit is Circuit.OPEN and before is not Circuit.OPEN:
            log.warning(
                "the circuit of an agent is open after %d failed tasks",
                lane.breaker.failures,
                extra={"agent_name": lane.name},
            )

    def stop(self) -> None:
        """Begin nothing more; calls in flight go on."""
        self._stopping = True

    async def cancel(self) -> None:
        """Break calls off that are in flight."""
        for work in self._work_in_hand:
            work.cancel()
        await asyncio.gather(*self._work_in_hand, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work that `cancel` ends, and whose mistakes break the bridge."""
        task = self._loop.create_task(work)
        self._work_in_hand.add(task)
        task.add_done_callback(self._work_ended)

    def _work_ended(self, task: asyncio.Task[None]) -> None:
        self._work_in_hand.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_broken(error)


def _circuit_open(lane: Lane, seconds: float) -> str:
    return (
        f"agent {lane.name!r} was not called: its circuit is open after {lane.breaker.failures} failed tasks in a row,"
        f" and the task has waited for {seconds:.1f} s, as long as its retries may take"
    )
