"""What failed in explorations, kept from one to the next: it is tried first, and forgotten once it has passed often enough."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import contract
from harness.exploration.shrinking import Signature
from harness.generation import Case

FORMAT: Final = "plumbline-failure-1"
DIRECTORY: Final = Path(".plumbline") / "failures"
"""Below the current folder; it ignores itself for git."""

PASSES: Final = 10
_MOST_KEPT: Final = 200


class UnusableFailure(ValueError):
    """A file of the database that is none; says which, and what to do."""


@dataclass(frozen=True)
class Kept:
    """A case that failed: how it failed, when it was last seen to, and how often it has passed since."""

    case: list[Any]
    signature: list[list[str]]
    failed_at: str
    passes: int = 0
    format: str = FORMAT


class FailureDatabase:
    """The failures of one subject, by its name and the contract's version: a file for each, named by its case."""

    def __init__(self, directory: Path, subject: str, *, passes: int = PASSES) -> None:
        """`passes`: so often in a row a case passes before it is forgotten."""
        if passes < 1:
            raise ValueError(f"expected a number of passes of 1 or more, found {passes}")
        self._root = directory
        self._folder = directory / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', subject)}-contract-{contract.VERSION}"
        self._passes = passes

    def cases(self) -> list[Case]:
        """What is to be tried first, what failed last at the head; 200 at most. Raises UnusableFailure."""
        kept = sorted(((self._read(path).failed_at, path) for path in self._folder.glob("*.json")), reverse=True)
        return [Case.of_key(json.dumps(self._read(path).case)) for _, path in kept[:_MOST_KEPT]]

    def failed(self, case: Case, signature: Signature) -> None:
        """Keep a case that failed; one that is kept already begins anew."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(case, Kept(json.loads(case.key), sorted(map(list, signature)), now))

    def passed(self, case: Case) -> bool:
        """Note that a case passed; whether it is forgotten now. One that is not kept is none of ours."""
        path = self._path(case)
        if not path.exists():
            return False
        kept = self._read(path)
        if kept.passes + 1 >= self._passes:
            path.unlink()
            return True
        self._write(case, replace(kept, passes=kept.passes + 1))
        return False

    def _path(self, case: Case) -> Path:
        return self._folder / f"{hashlib.sha256(case.key.encode()).hexdigest()[:24]}.json"

    def _write(self, case: Case, kept: Kept) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        ignored = self._root / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")
        path = self._path(case)
        # Whoever is stopped in the midst of it leaves the file of before.
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(kept), ensure_ascii=True, indent=1), encoding="utf-8")
        unfinished.replace(path)

    def _read(self, path: Path) -> Kept:
        try:
            data: Any = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data, Mapping) or data.get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            kept = Kept(**data)
            Case.of_key(json.dumps(kept.case))
        except (OSError, ValueError, TypeError) as error:
            raise UnusableFailure(
                f"{path}: expected a failure of an earlier exploration, but {error}; remove it"
            ) from error
        return kept
