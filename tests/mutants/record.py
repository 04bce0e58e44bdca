"""What came of each trial, kept in a file of JSON lines as it comes, so that a session that was interrupted can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tests.mutants.tally import Exposure, Fate, Judged


class RecordError(Exception):
    """A file that holds no results of a session; says which line."""


def append(path: Path, found: Fate | Exposure) -> None:
    """Add one result at the end of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": type(found).__name__, **asdict(found)}, ensure_ascii=False) + "\n")


def read(path: Path) -> dict[str, Fate | Exposure]:
    """Name → what came of it; of several results of one name the last. A line that was cut off at the end is left out.

    Raises:
        RecordError: another line is no result.
    """
    found: dict[str, Fate | Exposure] = {}
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if not line or number == len(lines):
            continue
        try:
            one = _made(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"{path}:{number}: expected a result of an earlier session, found {line[:60]!r}"
            ) from error
        found[one.mutant if isinstance(one, Fate) else one.name] = one
    return found


def _made(data: dict[str, Any]) -> Fate | Exposure:
    kind = data.pop("kind")
    if kind == "Exposure":
        data["judged"] = tuple(map(_judged, data["judged"]))
        return Exposure(**data)
    if kind != "Fate":
        raise ValueError(kind)
    data["tried"] = tuple(map(_judged, data["tried"]))
    data["killer"] = None if data["killer"] is None else _judged(data["killer"])
    data["roles"] = tuple(data["roles"])
    return Fate(**data)


def _judged(data: Mapping[str, Any]) -> Judged:
    lists = {field.name for field in fields(Judged)} & {"clauses", "broken"}
    return Judged(**{key: tuple(value) if key in lists else value for key, value in data.items()})
