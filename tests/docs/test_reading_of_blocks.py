"""No block of a page escapes, and each kind of check is able to fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import KINDS, Unmarked, blocks
from tests.docs.checks import PageRun
from tests.docs.likeness import difference, unlike
from tests.docs.live import Shell, Up


def _page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```yaml\na: 1\n```\n", "page.md:1: what is to be done"),
        ("```\nplain\n```\n", "no language"),
        ("text\n\n```json\n{}\n```\n", "page.md:3: what is to be done"),
        ("- item\n\n  ```text\n  inside a list\n  ```\n", "page.md:3: what is to be done"),
        ("<!-- check: cheese -->\n```yaml\na: 1\n```\n", "'cheese' is no kind"),
        ("<!-- not run: -->\n```bash\nls\n```\n", "a reason was expected"),
        ("<!-- not run: because -->\n<!-- check: shell -->\n```bash\nls\n```\n", "2 marks"),
        ("text\n\n    indented code\n", "escapes the check"),
        (
            "<!-- no block of this page is run: it takes a ship -->\n\n<!-- check: shell -->\n```sh\nls\n```\n",
            "says nothing",
        ),
    ],
)
def test_a_block_that_nobody_speaks_for_is_an_error(tmp_path: Path, text: str, told: str) -> None:
    """With its place, and what can be said."""
    with pytest.raises(Unmarked, match=told):
        blocks(_page(tmp_path, text))


def test_blocks_are_read_with_their_marks(tmp_path: Path) -> None:
    """Kind and arguments from the comment or the language, the reason, the line and the heading."""
    page = _page(
        tmp_path,
        "# One\n\n```bash\nls\n```\n\n## Two\n\n<!-- check: mistake a.yaml 'x: 1' 'x: 2' -->\n```text\nm\n```\n\n"
        "<!-- not run: takes a whole day -->\n```console\n$ sleep 86400\n```\n",
    )
    first, second, third = blocks(page)
    assert (first.kind, first.line, first.heading) == ("shell", 3, "One")
    assert (second.kind, second.arguments, second.heading) == ("mistake", ("a.yaml", "x: 1", "x: 2"), "Two")
    assert (third.kind, third.not_run) == (None, "takes a whole day")


def test_a_page_may_say_that_none_of_it_is_run(tmp_path: Path) -> None:
    """With a reason, which every block of it then has."""
    page = _page(tmp_path, "# One\n\n<!-- no block of this page is run: it takes a ship -->\n\n```\nx\n```\n")
    assert [block.not_run for block in blocks(page)] == ["it takes a ship"]


def test_every_kind_has_a_check() -> None:
    """And no check is without a kind."""
    checks = {name.removeprefix("_check_") for name in vars(PageRun) if name.startswith("_check_")}
    assert checks == set(KINDS)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[PageRun]:
    """The run of a page, with no system behind it."""

    def none() -> Up:
        raise AssertionError("no system is wanted here")

    made = PageRun("page", tmp_path / "runs", none)
    (tmp_path / "runs").mkdir()
    yield made
    made.end()


_TASK = (
    '<!-- check: message agent_task -->\n```json\n{"run_id": "run-3f0c9a52-6b1e-4d7a-9c55-0a8e2f7b4d11", "task_id": "t",'
    ' "agent_name": "a", "input_data": {}, "correlation_id": "c", "timestamp": "2026-03-04T10:15:30Z"}\n```\n'
)
_REFUSED = "<!-- check: refused -->\n```yaml\nname: x\nstart_step: a\nsteps: {}\n```\n"
_SCENARIO = (
    "<!-- check: scenario scenarios/a/b.yaml -->\n```yaml\nguarantee: A run of one step ends.\nclauses: [CMP-01]\n"
    "workflows: {main: {start_step: a, steps: {a: {id: a, agent_name: w}}}}\nagents: {w: [{ok: {}}]}\n"
    "timeline: [{execute: {as: r}}]\nexpect: {eventually: [{run: r, is: COMPLETED}]}\n```\n"
)


@pytest.mark.parametrize(
    "text",
    [
        "```yaml\nname: x\nstart_step: a\nsteps: {b: {id: b, agent_name: w}}\n```\n",
        "<!-- check: refused -->\n```yaml\nname: x\nstart_step: a\nsteps: {a: {id: a, agent_name: w}}\n```\n",
        f"{_REFUSED}<!-- check: errors -->\n```text\n/steps: wrong\n```\n",
        _TASK.replace('"task_id": "t",', ""),
        _TASK.replace('"task_id"', '"further": 1, "task_id"'),
        _TASK + '<!-- check: call -->\n```json\n{"jsonrpc": "2.0"}\n```\n',
        _SCENARIO.replace("is: COMPLETED", "is: COMPLETE"),
        f'{_SCENARIO}<!-- check: mistake scenarios/a/b.yaml "as: r" "az: r" -->\n```text\nwrong\n```\n',
        f'{_SCENARIO}<!-- check: mistake scenarios/a/b.yaml "as: r" "as: r" -->\n```text\nwrong\n```\n',
        "## `kill`\n\n<!-- check: pieces -->\n```yaml\n- kill: consumers\n```\n",
        "<!-- check: pieces -->\n```yaml\n- {run: r, iz: COMPLETED}\n```\n",
        "<!-- check: pieces -->\n```yaml\n- count: many\n```\n",
        "<!-- check: pieces -->\n```yaml\ntimeline: [{kill: consumers}]\n```\n",
        "```yaml\nname: x\nroles: {consumer: {command: [run]}}\n```\n",
        "<!-- check: up -->\n```console\n$ plumbline down\n```\n",
        "<!-- check: output -->\n```text\nof nothing\n```\n",
    ],
)
def test_what_is_wrong_on_a_page_is_found(tmp_path: Path, run: PageRun, text: str) -> None:
    """The last block is wrong in one place; those before it are right."""
    *before, last = blocks(_page(tmp_path, text))
    for block in before:
        run.check_once(block)
    with pytest.raises(Exception):  # noqa: B017 - the kind of error is that of the part that is asked
        run.check_once(last)


def test_what_is_right_on_a_page_is_let_pass(tmp_path: Path, run: PageRun) -> None:
    """The same blocks, without what was made wrong."""
    for block in blocks(_page(tmp_path, f"{_REFUSED}\n{_TASK}\n{_SCENARIO}\n## `kill`\n\n")):
        run.check_once(block)


def test_the_shell_remembers_and_tells_every_failure(tmp_path: Path) -> None:
    """A variable lives on to the next block, and a command that fails in the midst of one is not hidden by the last."""
    shell = Shell(tmp_path, {"PATH": "/usr/bin:/bin"})
    try:
        assert shell.run("X=1\n").exit_code == 0
        assert shell.run("echo $X\n").out == "1\n"
        assert shell.run("false\ntrue\n").exit_code == 1
        assert shell.run("until true; do false; done\n").exit_code == 0
        assert shell.run("exit_code_of_nothing\n").exit_code == 127
    finally:
        shell.end()


def test_ids_times_and_ports_are_the_only_differences_let_pass() -> None:
    """In JSON, and in lines of text."""
    shown = {"run_id": "run-3f0c9a52-6b1e-4d7a-9c55-0a8e2f7b4d11", "at": "2026-03-04T10:15:30.250Z", "n": 1}
    found = {"run_id": "run-5c1a7f0e-9d3b-4a62-8f14-2b7c6d5e4f30", "at": "2026-11-25T02:23:08Z", "n": 1}
    assert difference(shown, found) is None
    assert difference(shown, {**found, "n": 2}) == "/n: shown is 1, found 2"
    assert difference(shown, {**found, "n": True}) is not None
    assert difference(shown, {**found, "more": 1}) is not None
    assert difference([1], [1, 2]) is not None
    assert unlike("at 127.0.0.1:8000\n…\nend\n", "at 127.0.0.1:41\nanything\nat all\nend\n") is None
    assert unlike("one\ntwo\n", "one\n") is not None
    assert unlike("one\n", "one\ntwo\n") is not None
