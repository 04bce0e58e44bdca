"""How a start tells what it is doing: a bar on a terminal, plain lines elsewhere, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

_MEBIBYTE = 1024 * 1024
_LINE_EVERY_SECONDS = 2.0

Advance = Callable[[int], None]
"""Called, from any thread, with the number of bytes that have arrived since the last call."""


def unseen(_byte_count: int) -> None:
    """An :data:`Advance` for downloads that nobody watches."""


class ProgressDisplay(Protocol):
    """Where a start reports what it does."""

    def say(self, text: str) -> None:
        """Tell one step that a person may want to know of."""

    def download(self, what: str, total_bytes: int) -> AbstractContextManager[Advance]:
        """Show a download for as long as the context lasts."""


class SilentProgress:
    """Says nothing; for tests and for callers with a display of their own."""

    def say(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def download(self, what: str, total_bytes: int) -> Iterator[Advance]:  # noqa: ARG002
        """Show nothing."""
        yield unseen


class LineProgress:
    """Plain lines, a few for each download; for logs and pipes."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Write the text as a line."""
        print(text, file=self._stream, flush=True)

    @contextmanager
    def download(self, what: str, total_bytes: int) -> Iterator[Advance]:
        """Write a line at the start, every two seconds, and at the end."""
        total = f"{total_bytes / _MEBIBYTE:.1f} MiB"
        self.say(f"Downloading {what} ({total})")
        lock = threading.Lock()
        started = spoke = time.monotonic()
        arrived = 0

        def advance(byte_count: int) -> None:
            nonlocal arrived, spoke
            with lock:
                arrived += byte_count
                now = time.monotonic()
                if now - spoke >= _LINE_EVERY_SECONDS:
                    spoke = now
                    self.say(f"  {arrived / _MEBIBYTE:.1f} of {total}")

        yield advance
        self.say(f"  done, {total} in {time.monotonic() - started:.1f} s")


class BarProgress:
    """A bar that moves, for a terminal."""

    def __init__(self, stream: IO[str]) -> None:
        self._console = Console(file=stream)

    def say(self, text: str) -> None:
        """Write the text as a line."""
        self._console.print(text, highlight=False, markup=False)

    @contextmanager
    def download(self, what: str, total_bytes: int) -> Iterator[Advance]:
        """Show the bar until the context ends."""
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(f"Downloading {what}", total=total_bytes)
            yield lambda byte_count: bar.advance(task, byte_count)


def progress_to(stream: IO[str]) -> ProgressDisplay:
    """The display that suits the stream: a bar on a terminal, plain lines otherwise."""
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)
