"""The fenced blocks of a Markdown page, each with what is to be done about it.

What a block is said to be stands in a comment right above it:

    <!-- check: KIND ARGUMENTS -->     it is checked as this kind
    <!-- not run: REASON -->           it is shown only
    <!-- no block of this page is run: REASON -->      anywhere on a page: all of it is shown only

Without a comment the language decides, where it can: shell, Python, SQL, and whole scenarios, workflows and subjects.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]

KINDS = {
    "shell": "a shell script, run on a live system; what it prints is not looked at",
    "console": "commands after `$ `, run on a live system, and what they print; `exit=N` where they do not end with 0",
    "up": "the command that starts the live system",
    "answer": "the JSON that the command before it got over REST, with this HTTP status",
    "output": "what the command before it printed",
    "python": "a Python program, run on a live system",
    "sql": "statements that the live system's database takes, and that give rows",
    "workflow": "a definition that the schema and the engine take",
    "refused": "a definition that is refused",
    "errors": "what the refused definition before it is told, a line for each mistake",
    "outcome": "what comes of a run of the definition before it with this `input`: `status`, and where they are shown "
    "`error_message`, `outputs` and `inputs` of steps",
    "message": "a message of the contract's schema of this name",
    "call": "the request that the bridge makes to an agent for the task shown before it",
    "reply": "an agent's answer to the call shown before it",
    "scenario": "a scenario file of this path, or a part of one",
    "mistake": "what `scenario check` tells of that file, with the first text in it replaced by the second",
    "pieces": "acts, conditions and the like, as the heading above says, or whole keys of a scenario",
    "subject": "a subject file",
}
_BY_LANGUAGE = {"bash": "shell", "sh": "shell", "console": "console", "python": "python", "sql": "sql"}
# Written by a program, from the examples in the schema of scenarios.
_OF_PIECES = "scenario-format.md"
_DIRECTIVE = "{toctree}"
_WHOLE_PAGE = re.compile(r"<!--\s*no block of this page is run\s*:\s*(.{8,}?)\s*-->", re.DOTALL)
_COMMENT = re.compile(r"<!--\s*(check|not run)\s*:\s*(.*?)\s*-->\s*", re.DOTALL)


class Unmarked(Exception):
    """A block of which nobody says what is to be done; tells where, and what can be said."""


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is that of its fence, from 1; `heading` the nearest one above it."""

    page: Path
    line: int
    language: str
    text: str
    heading: str
    kind: str | None
    arguments: tuple[str, ...]
    not_run: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page.name}:{self.line}"


def pages() -> list[Path]:
    """Every page whose blocks are checked, in the order in which that is done."""
    return [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *sorted((ROOT / "docs").glob("*.md")),
    ]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order.

    Raises:
        Unmarked: for the first block that is neither of a known kind nor marked as shown only.
    """
    return list(_read(page, page.read_text(encoding="utf-8")))


def _read(page: Path, text: str) -> Iterator[Block]:
    comments = ""
    heading = ""
    whole = _WHOLE_PAGE.search(text)
    tokens = MarkdownIt("commonmark").parse(text)
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = tokens[number + 1].content
        elif token.type == "html_block":
            comments += token.content
            continue
        elif token.type == "code_block":
            raise Unmarked(
                f"{page.name}:{_line(token)}: code that is indented escapes the check; put it between fences"
            )
        elif token.type == "fence" and token.info.strip() != _DIRECTIVE:
            yield _block(page, token, heading, comments, whole[1] if whole else None)
        comments = ""


def _line(token: Token) -> int:
    assert token.map is not None
    return token.map[0] + 1


def _block(page: Path, token: Token, heading: str, comments: str, not_run: str | None) -> Block:
    place = f"{page.name}:{_line(token)}"
    language = token.info.strip()
    marks = _COMMENT.findall(comments)
    kind, arguments = None, ()
    if len(marks) > 1:
        raise Unmarked(f"{place}: the block has {len(marks)} marks; one is enough")
    if not_run is not None:
        if marks:
            raise Unmarked(f"{place}: no block of this page is run, as it says itself, so a mark here says nothing")
    elif marks and marks[0][0] == "not run":
        not_run = marks[0][1]
        if len(not_run) < 8:
            raise Unmarked(f"{place}: a reason was expected after `not run:`, found {not_run!r}")
    elif marks:
        kind, *arguments = shlex.split(marks[0][1]) or [""]
        if kind not in KINDS:
            raise Unmarked(f"{place}: {kind!r} is no kind of block; the kinds are {', '.join(KINDS)}")
    else:
        if page.name == _OF_PIECES and language == "yaml":
            kind = "pieces"
        else:
            kind = _BY_LANGUAGE.get(language) or _by_content(language, token.content)
        if kind is None:
            raise Unmarked(
                f"{place}: what is to be done about this block of {language or 'no language'}? Write above it "
                f"<!-- check: KIND --> or <!-- not run: REASON -->. The kinds are {', '.join(KINDS)}"
            )
    return Block(page, _line(token), language, token.content, heading, kind, tuple(arguments), not_run)


def _by_content(language: str, text: str) -> str | None:
    """The kind of a whole file that says itself what it is."""
    if language not in ("yaml", "json"):
        return None
    keys = set(re.findall(r'^(?:  )?"?(\w+)"?:', text, re.MULTILINE))
    if {"guarantee", "clauses", "timeline"} <= keys:
        return "scenario"
    if {"name", "start_step", "steps"} <= keys:
        return "workflow"
    if {"name", "roles"} <= keys:
        return "subject"
    return None
