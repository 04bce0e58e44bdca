"""What came of scenarios, told to people and written to files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from harness import report
from harness.runner import records
from harness.runner.logs import logs_beside
from harness.subject import Subject
from harness.verdict import Outcome

HISTORIES: Final = "histories"
"""The folder of histories below that of the results."""

_MOST_FINDINGS = 10


def told(outcome: Outcome, again: str) -> str:
    """Why an outcome is red, where to look, and how to run it again."""
    lines = [f"{outcome.scenario}: {outcome.verdict.upper()}", f"  guarantee: {outcome.guarantee}"]
    lines.append(f"  clauses:   {', '.join(outcome.clauses)}")
    if outcome.verdict == "passed" and outcome.known_failure is not None:
        lines.append(
            f"  passed, though the subject's file lists it as a known failure ({outcome.known_failure}): take it off that list"
        )
    elif not outcome.findings:
        lines.append(f"  reason:    {outcome.reason}")
    for finding in outcome.findings[:_MOST_FINDINGS]:
        events = f" [events {', '.join(map(str, finding.events))}]" if finding.events else ""
        run = f" (run {finding.run})" if finding.run else ""
        lines.append(f"  ✗ {finding.clause} {finding.checker}: {finding.anomaly}{run}{events}")
        lines += [f"      {line}" for line in finding.explanation.splitlines()]
    if len(outcome.findings) > _MOST_FINDINGS:
        lines.append(f"  ✗ … and {len(outcome.findings) - _MOST_FINDINGS} more findings")
    if outcome.history is not None:
        lines.append(f"  history:   {outcome.history}")
        if (logs := logs_beside(outcome.history)).is_dir():
            lines.append(f"  logs:      {logs}")
        lines.append(f"  judge it:  plumbline judge {outcome.history}")
    lines.append(f"  again:     {again}")
    return "\n".join(lines)


def clear(directory: Path) -> None:
    """Remove the histories of an earlier session, and the logs beside them."""
    for history in (directory / HISTORIES).glob("*.jsonl"):
        history.unlink(missing_ok=True)
        shutil.rmtree(logs_beside(history), ignore_errors=True)


def write(outcomes: Sequence[Outcome], subject: Subject, directory: Path, again: Callable[[Outcome], str]) -> None:
    """Write `outcomes.jsonl` and the report; `again` gives the command that runs a scenario again."""
    records.write_lines(outcomes, directory / "outcomes.jsonl")
    report.write(outcomes, subject, directory, again=again)
