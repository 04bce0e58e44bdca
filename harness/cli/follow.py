"""Watching a run until it has ended: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live

from harness.cli.display import run_view, step_line
from harness.client import TERMINAL, ApiClient, ApiUnreachable, Run, Step

_POLL_SECONDS = 0.15
_SLOWEST_POLL_SECONDS = 1.0
_UNREACHABLE_SECONDS = 15.0


class StillRunning(Exception):
    """The time for watching is over, and the run has not ended."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"the run {run['run_id']} is {run['status']}")
        self.run = run


class _Display(Protocol):
    def show(self, run: Run, steps: Sequence[Step]) -> None:
        """Show what is known now."""


class Nothing:
    """Shows nothing."""

    def show(self, run: Run, steps: Sequence[Step]) -> None:
        """Show nothing."""


class Lines:
    """A line for each change that is seen."""

    def __init__(self) -> None:
        self._seen: dict[object, str] = {}

    def show(self, run: Run, steps: Sequence[Step]) -> None:
        """Write a line for each status that has changed since the last call."""
        told = f": {run['error_message']}" if run["error_message"] else ""
        line = f"Status: {run['status']}{told}"
        # An end is told after the steps that led to it.
        if run["status"] not in TERMINAL:
            self._tell("run", run["status"], line)
        for index, step in enumerate(steps):
            self._tell(step.get("id", index), step["status"], step_line(step))
        self._tell("run", run["status"], line)

    def _tell(self, key: object, status: str, line: str) -> None:
        if self._seen.get(key) != status:
            self._seen[key] = status
            click.echo(line)


class Table:
    """A table that is drawn again at each change."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, run: Run, steps: Sequence[Step]) -> None:
        """Draw it."""
        self._live.update(run_view(run, steps), refresh=True)


def follow(api: ApiClient, run_id: str, timeout_seconds: float, *, quiet: bool = False) -> tuple[Run, list[Step]]:
    """Watch a run until it has ended, and give it with its steps.

    An API that goes away is waited for.

    Raises:
        StillRunning: it has not ended in time.
        ApiUnreachable: the API has been away for too long.
    """
    console = Console()
    with ExitStack() as shown:
        display: _Display = Nothing() if quiet else Lines()
        if not quiet and console.is_terminal:
            display = Table(shown.enter_context(Live(console=console, auto_refresh=False)))
        deadline = time.monotonic() + timeout_seconds
        pause_seconds = _POLL_SECONDS
        while True:
            run, steps = _read(api, run_id)
            display.show(run, steps)
            if run["status"] in TERMINAL:
                return run, steps
            if time.monotonic() >= deadline:
                raise StillRunning(run)
            time.sleep(min(pause_seconds, max(0.0, deadline - time.monotonic())))
            # A run of hours is not asked after seven times a second.
            pause_seconds = min(pause_seconds * 1.02, _SLOWEST_POLL_SECONDS)


def _read(api: ApiClient, run_id: str) -> tuple[Run, list[Step]]:
    deadline = time.monotonic() + _UNREACHABLE_SECONDS
    while True:
        try:
            # The run first: a run that has ended has all its steps in the answer that comes after it.
            run = api.run(run_id)
            return run, api.steps(run_id)
        except ApiUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_SLOWEST_POLL_SECONDS)
