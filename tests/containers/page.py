"""A page of commands with what they print, read and followed as its reader would.

A block of language `console` holds commands after `$ `, each with the lines that it is to print; `...` in them stands
for anything, on the line or, alone on one, over any number of lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
