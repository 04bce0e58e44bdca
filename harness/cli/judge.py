"""``plumbline judge``: run the checkers on histories that were kept."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.checkers import Crash, check_all
from harness.history import History, HistoryError, read_history
from harness.history.file import encode
from harness.verdict import Finding

_MOST_SHOWN = 240


@click.command()
@click.argument("histories", metavar="HISTORY...", nargs=-1, required=True, type=click.Path(path_type=Path))
def judge(histories: tuple[Path, ...]) -> None:
    """Judge HISTORY files by every checker, and print each finding with the events that prove it.

    \b
    Exit codes:
      0  no checker has found anything
      1  there are findings
      2  a file is no history
      3  a checker crashed; its traceback is printed, and there is no verdict on that history
    """
    read: list[tuple[Path, History]] = []
    for path in histories:
        try:
            read.append((path, read_history(path)))
        except (OSError, UnicodeDecodeError, HistoryError) as error:
            raise click.UsageError(_unreadable(path, error)) from None
    number = 0
    has_crashed = False
    for path, history in read:
        findings, crashes = check_all(history)
        number += len(findings)
        has_crashed = has_crashed or bool(crashes)
        _show(path, history, findings, crashes)
    sys.exit(3 if has_crashed else 1 if number else 0)


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, HistoryError):
        return str(error)
    reason = getattr(error, "strerror", None) or error
    return f"{path}: expected a history (JSON lines), but it cannot be read: {reason}"


def _show(path: Path, history: History, findings: list[Finding], crashes: list[Crash]) -> None:
    begin = history.begin
    scenario = "" if begin is None or begin["scenario"] is None else f" ({begin['scenario']})"
    click.echo(f"{path}{scenario}: {len(history)} events, {len(findings)} findings")
    for finding in findings:
        click.echo(_printable(f"✗ {finding.clause} {finding.anomaly} [{finding.checker}]: {finding.explanation}"))
        for seq in finding.events:
            line = encode(history.events[seq])
            click.echo(_printable(f"    {line if len(line) <= _MOST_SHOWN else line[: _MOST_SHOWN - 1] + '…'}"))
    for crash in crashes:
        click.echo(f"! the checker {crash.checker} crashed, so that there is no verdict:\n{crash.traceback}", err=True)


def _printable(text: str) -> str:
    """Histories may hold lone surrogates, which no terminal takes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
