"""The quick start works as it stands on its page, top to bottom."""

from __future__ import annotations

import os
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.page import Command, agrees, commands
from tests.docs.live import Shell

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"
COMMAND_SECONDS = 240.0
# Some effects come a moment after the command that asks for them has ended (a log line, an agent's registration).
PATIENCE_SECONDS = 60.0


def test_a_page_is_read_command_by_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n\n```console\n$ one\n$ two\nsaid\n...\n```\n")
    assert list(commands(page)) == [Command(4, "one", ""), Command(5, "two", "said\n...")]


@pytest.mark.parametrize(
    ("expected", "printed", "agree"),
    [
        ("", "anything\n", True),
        ("a", "a\n", True),
        ("a", "b\n", False),
        ("a...c", "abc\n", True),
        ("a...c", "ab\n", False),
        ("a\n...\nc", "a\nb\nb\nc\n", True),
        ("a\n...\nc", "a\nc\n", True),
        ("a\n...\nc", "a\nb\n", False),
        ("...", "", True),
        ("(1 row)", "(2 rows)\n", False),
    ],
)
def test_what_is_printed_is_compared(expected: str, printed: str, agree: bool) -> None:
    assert agrees(expected, printed) is agree


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    started = Shell(tmp_path, dict(os.environ))
    yield started
    started.end()


def test_a_shell_keeps_its_variables_and_tells_exit_codes(shell: Shell) -> None:
    first, second = shell.run("X=1; echo a | grep a", 10), shell.run("echo $X; pwd >/dev/null; (exit 3)", 10)
    assert (first.exit_code, first.out) == (0, "a\n")
    assert (second.exit_code, second.out) == (3, "1\n")
    with pytest.raises(TimeoutError, match="did not end"):
        shell.run("sleep 30", 0.2)


@pytest.mark.timeout(1500)
def test_every_command_of_the_page_does_what_the_page_says(
    project: Path, docker_compose: list[str], tmp_path: Path
) -> None:
    environment = {**os.environ, "PATH": f"{_tools(tmp_path, docker_compose)}:{os.environ['PATH']}"}
    shell = Shell(project, environment)
    try:
        for command in commands(PAGE):
            _follow(shell, command)
    finally:
        shell.end()


def _follow(shell: Shell, command: Command) -> None:
    is_look = command.text.split()[0] == "curl" or " logs " in command.text or " ps" in command.text
    deadline = time.monotonic() + (PATIENCE_SECONDS if is_look else 0.0)
    while True:
        ran = shell.run(command.text, COMMAND_SECONDS)
        if ran.exit_code == 0 and agrees(command.expected, ran.out):
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    pytest.fail(
        f"{PAGE.name}:{command.line}: `{command.text}` ended with {ran.exit_code} and printed\n{ran.out}\n"
        f"where the page says\n{command.expected}\nAside it told:\n{ran.err}"
    )


def _tools(folder: Path, docker_compose: list[str]) -> Path:
    """A folder with `python` and `pip` in an environment of its own, and `docker-compose` where only the plugin is there."""
    venv.create(folder / "environment", with_pip=True)
    tools = folder / "environment" / "bin"
    if docker_compose != ["docker-compose"]:
        shim = tools / "docker-compose"
        shim.write_text('#!/bin/sh\nexec docker compose "$@"\n')
        shim.chmod(0o755)
    return tools
