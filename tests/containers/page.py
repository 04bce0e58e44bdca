"""A page of commands with what they print, read and followed as its reader would.

A block of language `console` holds commands after `$ `, each with the lines that it is to print; `...` in them stands
for anything, on the line or, alone on one, over any number of lines. Commands share one shell, so that a variable set by
one is there for the next.
"""

from __future__ import annotations

import re
import selectors
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from markdown_it import MarkdownIt

_PROMPT = "$ "


@dataclass(frozen=True)
class Command:
    """A command of a page, at a line of it (from 1), and the text that it is to print."""

    line: int
    text: str
    expected: str


def commands(page: Path) -> Iterator[Command]:
    """The commands of a page, in order."""
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type != "fence":
            continue
        assert token.info.strip() == "console", f"{page.name}: a block of {token.info!r} is not followed by anybody"
        assert token.map is not None
        lines = token.content.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith(_PROMPT)]
        assert starts[:1] == [0], f"{page.name}:{token.map[0] + 1}: a block opens with a command"
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            yield Command(token.map[0] + 2 + start, lines[start][len(_PROMPT) :], "\n".join(lines[start + 1 : end]))


def agrees(expected: str, printed: str) -> bool:
    """Whether what was printed is what the page says; a page that says nothing takes anything."""
    if not expected:
        return True
    pattern = ""
    for line in expected.splitlines():
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part.rstrip()) for part in line.split("...")) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n") is not None or (expected == "..." and not printed.strip())


class Shell:
    """One shell that commands are typed into; a context manager that ends it."""

    _END = "\x1e"

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        # Apart from what is compared: progress is told there, in another form on a terminal than in a pipe.
        self.told_aside = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.told_aside,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self.told_aside.close()

    def type(self, command: str, timeout_seconds: float) -> tuple[int, str]:
        """Exit code and everything printed to standard output; the rest is in `told_aside`.

        Raises:
            TimeoutError: the command has not ended in time; says what it had printed.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\036%s\\036' $?\n".encode())
        process.stdin.flush()
        deadline = time.monotonic() + timeout_seconds
        printed = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while printed.count(self._END.encode()) < 2:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"{command!r} has not ended in {timeout_seconds:.0f} s; it printed {printed!r}")
                chunk = process.stdout.read1(65536)  # type: ignore[attr-defined]
                assert chunk, f"the shell ended in {command!r}, after {printed!r}"
                printed += chunk
        text, code, _ = printed.decode(errors="replace").split(self._END)
        return int(code), text
