"""An event loop of a process on the simulated machine: real asyncio, virtual time, no sockets and no threads."""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from system.simulation.machine import Happening, Killed, Process, Timer


class _NoSelector:
    def select(self, _: float | None) -> list[Any]:
        return []

    def close(self) -> None: ...


class MachineLoop(asyncio.BaseEventLoop):
    """Goes through its ready callbacks once each time its turn comes; `to_thread` makes threads of the machine."""

    def __init__(self, process: Process, on_failed: Callable[[BaseException], None]) -> None:
        super().__init__()
        self._selector = _NoSelector()
        self._process = process
        self._machine = process.machine
        self._on_failed = on_failed
        self._inside = False
        self._turn = Happening(process, f"{process.name}: event loop", self._pass)
        self._timer: Timer | None = None
        process.at_death.append(self._die)

    def time(self) -> float:
        return 1000.0 + self._machine.seconds

    @contextmanager
    def running(self) -> Iterator[None]:
        """As inside a callback of the loop."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
            events._set_running_loop(before)
            self._arrange()

    def _pass(self) -> None:
        with self.running():
            self._run_once()  # type: ignore[attr-defined]

    def _arrange(self) -> None:
        """Have a turn when there is something to do."""
        if self._inside or not self._process.alive:
            return
        if self._ready:  # type: ignore[attr-defined]
            self._machine.make_ready(self._turn)
            return
        scheduled = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            # What was cancelled must not make the clock move; the loop's own bookkeeping is kept right.
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            handle = scheduled[0]
            heapq.heappop(scheduled)
            handle._scheduled = False
        if not scheduled:
            return
        due = scheduled[0]._when - 1000.0
        if self._timer is not None and self._timer.runnable is not None:
            if self._timer.due <= due and self._timer.due > self._machine.seconds:
                return
            self._timer.runnable = None
        self._timer = self._machine.at(max(due, self._machine.seconds), self._turn)

    def _call_soon(self, callback: Any, args: Any, context: Any) -> Any:
        handle = super()._call_soon(callback, args, context)  # type: ignore[misc]
        self._arrange()
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        self._arrange()
        return handle

    def _process_events(self, event_list: Any) -> None: ...

    def _write_to_self(self) -> None: ...

    def run_in_executor(self, _: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        future = self.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:
                self.call_soon_threadsafe(settle, None, error)
            else:
                self.call_soon_threadsafe(settle, result, None)

        self._machine.start(self._process, f"{self._process.name}/thread", work, self._on_failed)
        return future

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._process.alive:
            # Python finds out now and then that nobody took an answer which was on its way when the process was killed.
            return
        error = context.get("exception")
        self._on_failed(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))

    def _die(self) -> None:
        for task in asyncio.all_tasks(self):
            # Nobody is told that they were pending: the process that they were part of is no more.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(Killed, RuntimeError):
                task.get_coro().close()
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        self._closed = True
