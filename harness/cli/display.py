"""Runs and steps for a person's eyes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.client import Run, Step

_STYLES = {
    "PENDING": "yellow",
    "RUNNING": "cyan",
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "magenta",
    "SKIPPED": "dim",
}
_MARKS = {"PENDING": "·", "RUNNING": "▸", "COMPLETED": "✓", "FAILED": "✗", "CANCELLED": "⊘", "SKIPPED": "-"}
_MOST_STEPS = 30
_MOST_CHARACTERS = 200


def status_text(status: str) -> Text:
    """A status with its mark and colour."""
    return Text(f"{_MARKS.get(status, '?')} {status}", style=_STYLES.get(status, ""))


def took(started: str | None, ended: str | None) -> str:
    """How long something took, or takes until now; nothing when it has not begun."""
    if started is None:
        return ""
    begin = datetime.fromisoformat(started)
    end = datetime.fromisoformat(ended) if ended is not None else datetime.now(UTC)
    seconds = max(0.0, (end - begin).total_seconds())
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def short(value: Any) -> str:
    """A value as JSON, cut to what a line takes."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def run_view(
    run: Run, steps: Sequence[Step], *, outputs: bool = False, most_steps: int = _MOST_STEPS
) -> RenderableType:
    """A run and its newest steps, indented below what they are part of."""
    head = Text.assemble(
        status_text(run["status"]),
        f"  {run['run_id']}  ",
        (run["workflow_id"] or "", "bold"),
        f"  {took(run['created_at'], run['completed_at'] or run['cancelled_at'])}",
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("step", "agent", "status", "took", "output" if outputs else ""):
        table.add_column(title, overflow="fold")
    depths = _depths(steps)
    for step in steps[-most_steps:]:
        told = step["error_message"] or ""
        if not told and outputs and step["output_data"] is not None:
            told = short(step["output_data"])
        table.add_row(
            Text("  " * depths.get(step["step_id"], 0) + step["step_id"] + _branch(step)),
            Text(step["agent_name"] or ""),
            status_text(step["status"]),
            took(step["started_at"], step["completed_at"]),
            Text(told, style="red" if step["error_message"] else ""),
        )
    parts: list[RenderableType] = [head]
    if len(steps) > most_steps:
        done = sum(step["status"] == "COMPLETED" for step in steps)
        parts.append(Text(f"{len(steps)} step executions, {done} COMPLETED; the newest {most_steps}:", style="dim"))
    if steps:
        parts.append(table)
    if run["error_message"]:
        parts.append(Text(run["error_message"], style="red"))
    return Group(*parts)


def runs_view(runs: Sequence[Run]) -> RenderableType:
    """A table of runs."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("run", "workflow", "status", "created", "took"):
        table.add_column(title, no_wrap=title == "run", overflow="fold")
    for run in runs:
        table.add_row(
            Text(run["run_id"]),
            Text(run["workflow_id"] or ""),
            status_text(run["status"]),
            run["created_at"],
            took(run["created_at"], run["completed_at"] or run["cancelled_at"]),
        )
    return table


def step_line(step: Step) -> str:
    """A step's newest status as a plain line."""
    agent = f" ({step['agent_name']})" if step["agent_name"] else ""
    told = f": {step['error_message']}" if step["error_message"] else ""
    return f"  Step {step['step_id']}{_branch(step)}{agent}: {step['status']}{told}"


def _branch(step: Step) -> str:
    return f" [{step['branch_name']}]" if step["branch_name"] else ""


def _depths(steps: Sequence[Step]) -> dict[str, int]:
    """How deep each step lies in composite ones; a chain that leads in a circle ends where it closes."""
    parents = {step["step_id"]: step["parent_step_id"] for step in steps}
    depths = {}
    for step_id in parents:
        seen = {step_id}
        above = parents[step_id]
        while above is not None and above not in seen:
            seen.add(above)
            above = parents.get(above)
        depths[step_id] = len(seen) - 1
    return depths
