"""Outcomes as JSON, for files and for the way from a worker to whoever collects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.verdict import Finding, Outcome


def to_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a JSON object."""
    data = asdict(outcome)
    for name in ("history", "scenario_file"):
        data[name] = str(data[name]) if data[name] is not None else None
    return data


def from_json(data: Mapping[str, Any]) -> Outcome:
    """The outcome that `to_json` made this of."""
    paths = {name: Path(data[name]) if data[name] is not None else None for name in ("history", "scenario_file")}
    findings = tuple(Finding(**{**one, "events": tuple(one["events"])}) for one in data["findings"])
    return Outcome(**{**data, **paths, "clauses": tuple(data["clauses"]), "findings": findings})


def write_lines(outcomes: Iterable[Outcome], path: Path) -> None:
    """One outcome a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(to_json(outcome)) for outcome in outcomes)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_lines(path: Path) -> list[Outcome]:
    """The outcomes of a file that `write_lines` wrote."""
    return [from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]
