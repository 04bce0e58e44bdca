"""The grid of a session as the report's page, and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.faults.grid.cells import Result
from harness.faults.points import ABOUT, KINDS, Point
from harness.report.grid import GridRow, GridTable, GridTrial, html
from harness.report.model import SubjectReport
from harness.report.writing import now, shown
from harness.subject import Subject

FORMAT: Final = "plumbline-faults-1"


def command(subject_file: Path, result: Result) -> str:
    """The command that repeats a cell's trial alone."""
    file = result.outcome.scenario_file
    return (
        f"plumbline check {shown(subject_file)} --scenarios {shown(file) if file is not None else 'SCENARIO'} --jobs 1"
    )


def write(
    results: Sequence[Result], subject: Subject, notes: Mapping[str, Sequence[str]], directory: Path, report: Path
) -> None:
    """Write `faults.json` into the directory, and the page. Raises OSError."""
    by_workflow: dict[str, list[Result]] = {}
    for result in results:
        by_workflow.setdefault(result.cell.workflow, []).append(result)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "faults.json").write_text(
        json.dumps(_summary(by_workflow, subject), indent=1) + "\n", encoding="utf-8"
    )
    tables = [_table(name, found, subject, notes.get(name, ())) for name, found in by_workflow.items()]
    about = SubjectReport(
        subject.name, now(), (), subject.description.description, shown(subject.description.path), tuple(subject.roles)
    )
    report.parent.mkdir(parents=True, exist_ok=True)
    text = html(f"Fault points of {subject.name}", about, tables, report.parent)
    report.write_text(text, encoding="utf-8", errors="backslashreplace")


def _table(name: str, results: Sequence[Result], subject: Subject, notes: Sequence[str]) -> GridTable:
    cells: dict[Point, dict[str, list[GridTrial]]] = {}
    for result in sorted(results, key=lambda one: one.cell.is_again):
        fault = result.cell.fault
        label = f"again at {fault.then.at}" if fault.then is not None else "once"
        note = f" after {result.tries} tries" if result.tries > 1 else ""
        trial = GridTrial(label, result.outcome, command(subject.description.path, result), note)
        cells.setdefault(fault.at, {}).setdefault(fault.do, []).append(trial)
    points = sorted(cells, key=lambda point: (point.role, point.boundary, point.of or "", point.nth))
    rows = [GridRow(point.role, str(point).partition(" ")[2], cells[point]) for point in points]
    kinds = [kind for kind in KINDS if any(kind in row.cells for row in rows)]
    return GridTable(f"Workflow {name}", {kind: ABOUT[kind] for kind in kinds}, rows, notes)


def _summary(by_workflow: Mapping[str, Sequence[Result]], subject: Subject) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "subject": subject.name,
        "made": now(),
        "workflows": {
            name: {
                "counts": Counter(result.outcome.verdict for result in results),
                "cells": [
                    {
                        "key": result.cell.key,
                        "fault": result.cell.fault.written(),
                        "verdict": result.outcome.verdict,
                        "reason": result.outcome.reason,
                        "findings": [f"{one.clause} {one.anomaly}" for one in result.outcome.findings],
                        "tries": result.tries,
                        "seconds": result.outcome.seconds,
                        "history": str(result.outcome.history) if result.outcome.history is not None else None,
                        "scenario": str(result.outcome.scenario_file),
                    }
                    for result in results
                ],
            }
            for name, results in by_workflow.items()
        },
    }
