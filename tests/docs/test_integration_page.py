"""docs/API_EXECUTOR_INTEGRATION.md tells of every topic and message, and of errors that the script does report."""

from __future__ import annotations

import re

import contract
from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "API_EXECUTOR_INTEGRATION.md"
_TEXT = PAGE.read_text(encoding="utf-8")


def test_every_topic_is_told_with_its_schema() -> None:
    """As asyncapi.yaml has them."""
    rows = dict(re.findall(r"^\| `([\w.]+)` \|.*\| `(\w+)` \|$", _TEXT, re.MULTILINE))
    channels = contract.asyncapi()["channels"].values()
    assert set(rows) == {channel["address"] for channel in channels}
    assert set(rows.values()) == {
        name for name in contract.SCHEMAS if name.rpartition("_")[2] in ("request", "task", "result", "update")
    }


def test_every_message_has_an_example() -> None:
    """That is validated against its schema."""
    shown = {block.arguments[0] for block in blocks(PAGE) if block.kind == "message"}
    assert shown == set(re.findall(r"^\| `[\w.]+` \|.*\| `(\w+)` \|$", _TEXT, re.MULTILINE))


def test_the_errors_of_the_script_are_its_own() -> None:
    """What the table quotes stands in the script, with a name in the place of its variable."""
    script = (ROOT / "test_api_executor_integration.py").read_text(encoding="utf-8")
    table = _TEXT.partition("| it says | look at |")[2].partition("\n\n")[0]
    quoted = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(quoted) == 4
    for text in quoted:
        assert text.replace("orchestrator.tasks.http", "{topic}") in script
